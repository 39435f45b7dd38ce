//! Transactions whose BEGIN the client announces instead of sending it.

use std::sync::atomic::{AtomicBool, Ordering};

use super::peers::{NOTHING, Peers};
use super::{named, shared};
use crate::TransactionStatus;
use crate::observed::Observed;
use crate::rules::{Naming, Rules};

const SELECT: &str = "select v from t where id = $1";
const READ: &str = "BEGIN TRANSACTION READ ONLY";
/// Enough for both threads to meet at every step.
const ROUNDS: u32 = 100_000;

fn peers(rules: Rules) -> (Peers, Rules) {
    let mut peers = Peers::new(rules.clone());
    peers.learns("s1", SELECT, "T v:23");
    peers.learns("s2", "update t set v = $1", "n");
    (peers, rules)
}

fn committed() -> Rules {
    Rules {
        read_committed_by_default: true,
        ..named()
    }
}

/// It goes out with the first statement, like a BEGIN that was sent, and the client sends COMMIT.
#[test]
fn an_announced_begin_goes_out_with_the_first_statement() {
    let (mut peers, rules) = peers(named());
    assert!(peers.observed.begin_with_next(&rules, "BEGIN"));
    assert_eq!(peers.status(), TransactionStatus::InTransaction);
    let asked = peers.client(&["B s2", "E", "S"]);
    assert_eq!(asked, ["P - BEGIN", "B -", "E", "B s2", "E", "S"]);
    peers.server(&["1", "2", "C BEGIN", "2", "C UPDATE 1", "Z T"]);
    assert_eq!(peers.status(), TransactionStatus::InTransaction);
    assert!(!peers.observed.end_unbegun());
    assert_eq!(peers.client(&["Q COMMIT"]), ["Q COMMIT"]);
    peers.server(&["C COMMIT", "Z I"]);
    assert_eq!(peers.status(), TransactionStatus::Idle);
}

/// Neither BEGIN nor COMMIT is ever sent for queries that need no transaction, nor if nothing runs.
#[test]
fn a_transaction_that_the_server_never_knew_ends_without_a_request() {
    for queries in 0..3 {
        let (mut peers, rules) = peers(committed());
        for _ in 0..2 {
            assert!(peers.observed.begin_with_next(&rules, READ));
            for _ in 0..queries {
                assert_eq!(peers.client(&["B s1", "E", "S"]), ["B s1", "E", "S"]);
                assert!(!peers.observed.end_unbegun(), "a query is unanswered");
                peers.server(&["2", "D one", "C SELECT 1", "Z I"]);
            }
            assert_eq!(peers.status(), TransactionStatus::InTransaction);
            assert!(peers.observed.end_unbegun());
            assert!(!peers.observed.end_unbegun(), "it has ended");
            assert_eq!(peers.status(), TransactionStatus::Idle);
        }
        // What comes next is in no transaction.
        assert_eq!(peers.client(&["B s2", "E", "S"]), ["B s2", "E", "S"]);
        peers.server(&["2", "C UPDATE 1", "Z I"]);
        assert_eq!(peers.status(), TransactionStatus::Idle);
    }
}

/// A transaction that has failed is ended by the client's ROLLBACK.
#[test]
fn a_transaction_that_has_failed_is_not_ended_by_announcement() {
    let (mut peers, rules) = peers(committed());
    peers.observed.begin_with_next(&rules, READ);
    peers.client(&["B s1", "E", "S"]);
    peers.server(&["2", "E 22012", "Z I"]);
    assert_eq!(peers.status(), TransactionStatus::Failed);
    assert!(!peers.observed.end_unbegun());
    assert_eq!(peers.local(&["Q ROLLBACK"]), ["C ROLLBACK", "Z I"]);
    // Nothing has run in this one, and it is rolled back all the same.
    peers.observed.begin_with_next(&rules, "BEGIN");
    assert_eq!(peers.local(&["Q ROLLBACK"]), ["C ROLLBACK", "Z I"]);
    assert_eq!(peers.status(), TransactionStatus::Idle);
}

/// tokio-postgres closes statements whenever they are dropped, and waits for no answer.
#[test]
fn a_close_of_the_earlier_holder_changes_nothing() {
    let (mut peers, rules) = peers(committed());
    peers.observed.begin_with_next(&rules, READ);
    assert_eq!(peers.local(&["C s2", "S"]), ["3", "Z T"]);
    assert_eq!(peers.client(&["B s1", "E", "S"]), ["B s1", "E", "S"]);
    peers.server(&["2", "D one", "C SELECT 1", "Z I"]);
    assert!(peers.observed.end_unbegun());
    assert_eq!(peers.local(&["C s1", "S"]), ["3", "Z I"]);
    assert_eq!(peers.status(), TransactionStatus::Idle);
}

#[test]
fn a_begin_that_the_wire_would_not_hold_back_is_sent_by_the_client() {
    let observing = Rules {
        observes_only: true,
        ..named()
    };
    let at_once = Rules {
        defer_begin: false,
        ..named()
    };
    for (rules, text) in [
        (observing, "BEGIN"),
        (at_once, "BEGIN"),
        (named(), "BEGIN; select 1"),
    ] {
        let (peers, rules) = peers(rules);
        assert!(!peers.observed.begin_with_next(&rules, text), "{text}");
        assert_eq!(peers.status(), TransactionStatus::Idle);
    }
    let (mut peers, rules) = peers(named());
    peers.client(&["Q BEGIN; select 1"]);
    peers.server(&["C BEGIN", "C SELECT 1", "Z T"]);
    assert!(!peers.observed.begin_with_next(&rules, "BEGIN"));
}

/// Behind a pooler the settings are in BEGIN's batch, and a timeout of the transaction's own comes after them.
#[test]
fn the_settings_of_a_pooled_transaction_go_with_an_announced_begin() {
    let rules = shared(Naming::Unnamed);
    let mut peers = Peers::new(rules.clone());
    let begin = "BEGIN; SET LOCAL statement_timeout = 5";
    assert!(peers.observed.begin_with_next(&rules, begin));
    assert!(peers.observed.own_timeout().is_some());
    let announced = peers.client(&["Q update t"]);
    let mut sent = Peers::new(rules);
    assert_eq!(sent.local(&[&format!("Q {begin}")]), ["C BEGIN", "Z T"]);
    assert_eq!(announced, sent.client(&["Q update t"]));
    assert_ne!(announced, NOTHING);
}

/// A statement that an earlier holder dropped may be closed at the very moment of an announcement.
#[test]
fn a_request_that_is_handled_meanwhile_takes_no_announcement_away() {
    let observed = Observed::default();
    observed.answered_locally(b'I');
    let (rules, over) = (named(), AtomicBool::new(false));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                observed.take_announced();
                observed.begin_is_held(true);
            }
        });
        for round in 0..ROUNDS {
            let begun = observed.begin_with_next(&rules, "BEGIN");
            let within = observed.transaction_status();
            let ended = observed.end_unbegun();
            let after = observed.transaction_status();
            over.store(round == ROUNDS - 1 || !(begun && ended), Ordering::Relaxed);
            assert!(begun && ended, "round {round}");
            let expected = (TransactionStatus::InTransaction, TransactionStatus::Idle);
            over.fetch_or((within, after) != expected, Ordering::Relaxed);
            assert_eq!((within, after), expected, "round {round}");
        }
    });
}
