use super::*;
use crate::sql::tokens::Sql;

fn traits() -> Traits {
    Traits::of(Sql::of(b"select 1"))
}

const A: &[u8] = b"select 1\0\0\0";
const B: &[u8] = b"select 2\0\0\0";

fn learn(statements: &mut StatementCache, name: &[u8], tail: &[u8]) -> StatementId {
    let id = statements.create(name, tail, traits());
    let record = statements.get_mut(id).unwrap();
    record.prepared = true;
    record.description = Some(b"t".as_slice().into());
    statements.remember(id);
    id
}

#[test]
fn a_text_is_prepared_once_and_known_by_every_name() {
    let mut statements = StatementCache::new(2, Naming::Named, false);
    let id = learn(&mut statements, b"s1", A);
    statements.release(b"s1");
    assert_eq!(statements.adopt(b"s2", A), Some(id));
    assert_eq!(statements.named(b"s2"), Some(id));
    assert_eq!(statements.named(b"s1"), None);
    assert_eq!(statements.adopt(b"s3", B), None);
    assert_eq!(&*statements.get(id).unwrap().tail, A);
    assert!(statements.take_to_close().is_empty());
}

#[test]
fn the_least_recently_used_text_leaves_and_is_closed() {
    let mut statements = StatementCache::new(1, Naming::Named, false);
    learn(&mut statements, b"s1", A);
    statements.release(b"s1");
    learn(&mut statements, b"s2", B);
    assert_eq!(statements.take_to_close(), [Box::from(&b"s1"[..])]);
    assert_eq!(statements.adopt(b"s3", A), None);
}

#[test]
fn a_name_that_is_held_keeps_its_text_when_the_cache_lets_it_go() {
    let mut statements = StatementCache::new(1, Naming::Named, false);
    let id = learn(&mut statements, b"s1", A);
    learn(&mut statements, b"s2", B);
    assert_eq!(statements.named(b"s1"), Some(id));
    let record = statements.get(id).unwrap();
    assert!(!record.prepared && record.description.is_some());
    statements.release(b"s1");
    assert!(statements.get(id).is_none());
}

#[test]
fn forgetting_leaves_held_names_good_and_asks_for_the_rest_to_be_closed() {
    let mut statements = StatementCache::new(4, Naming::Named, false);
    let held = learn(&mut statements, b"s1", A);
    learn(&mut statements, b"s2", B);
    statements.release(b"s2");
    statements.forget_all();
    assert_eq!(statements.adopt(b"s3", A), None);
    assert_eq!(statements.named(b"s1"), Some(held));
    assert!(statements.get(held).unwrap().prepared);
    assert_eq!(statements.take_to_close(), [Box::from(&b"s2"[..])]);
}

/// The client holds a name for a text with a constant, which the server read under settings that are over.
#[test]
fn a_text_that_cannot_be_kept_is_parsed_again_under_the_name_that_is_held() {
    let mut statements = StatementCache::new(4, Naming::Named, false);
    let traits = Traits::of(Sql::of(b"select 'now'::date"));
    let constant = statements.create(b"s1", b"select 'now'::date\0\0\0", traits);
    let plain = learn(&mut statements, b"s2", B);
    statements.forget_since(statements.clock());
    assert!(!statements.get(constant).unwrap().prepared);
    assert!(statements.get(plain).unwrap().prepared);
    assert_eq!(statements.take_to_close(), [Box::from(&b"s1"[..])]);
}

#[test]
fn without_a_cache_only_held_names_are_known() {
    let mut statements = StatementCache::new(0, Naming::Named, false);
    let id = learn(&mut statements, b"s1", A);
    assert_eq!(statements.adopt(b"s2", A), None);
    assert_eq!(statements.named(b"s1"), Some(id));
    statements.release(b"s1");
    assert_eq!(statements.take_to_close(), [Box::from(&b"s1"[..])]);
}

/// A text that the server refused leaves nothing behind, nor does an earlier record in the same
/// place.
#[test]
fn a_refused_text_leaves_no_trace_and_its_place_no_confusion() {
    let mut statements = StatementCache::new(4, Naming::Named, false);
    let refused = statements.create(b"s1", A, traits());
    statements.refuse(refused, false);
    assert!(statements.take_to_close().is_empty());
    assert_eq!(statements.named(b"s1"), None);
    let next = learn(&mut statements, b"s2", B);
    assert!(statements.get(refused).is_none());
    statements.forget(refused);
    assert_eq!(statements.adopt(b"s3", B), Some(next));
    assert_eq!(statements.records.len(), 1);
}

/// If nothing is prepared with a name, nothing is closed, however many texts come and go.
#[test]
fn unnamed_statements_are_never_closed() {
    let mut statements = StatementCache::new(1, Naming::Unnamed, false);
    for tail in [A, B, A, B] {
        let id = statements.create(b"s1", tail, traits());
        statements.get_mut(id).unwrap().description = Some(b"t".as_slice().into());
        statements.remember(id);
    }
    assert!(statements.take_to_close().is_empty());
}

/// A name that was not lost must not be prepared twice (42P05).
#[test]
fn after_a_loss_every_name_is_closed_before_it_is_prepared_again() {
    let mut statements = StatementCache::new(4, Naming::Named, false);
    let id = learn(&mut statements, b"s1", A);
    statements.names_lost();
    assert!(!statements.get(id).unwrap().prepared);
    assert_eq!(statements.take_to_close(), [Box::from(&b"s1"[..])]);
}
