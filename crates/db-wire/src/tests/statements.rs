//! Statements are prepared once, by text. What happens when the server has lost or changed them.

use super::named;
use super::peers::{NOTHING, Peers};
use crate::conversation::replies::server_sent;
use crate::rules::Rules;

const UPDATE: &str = "update t set n = 1";

/// The second time the same text costs neither Parse nor Describe, whatever its name.
#[test]
fn a_known_text_is_answered_without_the_server() {
    let mut peers = Peers::new(named());
    let asked = peers.client(&["P s1 update t", "D s1", "S"]);
    assert_eq!(asked, ["P s1 update t", "D s1", "S"]);
    assert_eq!(
        peers.server(&["1", "t", "n", "Z I"]),
        ["1", "t", "n", "Z I"]
    );
    assert_eq!(peers.client(&["B s1", "E", "S"]), ["B s1", "E", "S"]);
    let done = peers.server(&["2", "C UPDATE 1", "Z I"]);
    assert_eq!(done, ["2", "C UPDATE 1", "Z I"]);
    assert_eq!(peers.local(&["C s1", "S"]), ["3", "Z I"]);

    assert_eq!(
        peers.local(&["P s2 update t", "D s2", "S"]),
        ["1", "t", "n", "Z I"]
    );
    assert_eq!(peers.client(&["B s2", "E", "S"]), ["B s1", "E", "S"]);
    peers.server(&["2", "C UPDATE 1", "Z I"]);
    assert_eq!(peers.observed.statements(), 2);
    assert!(!peers.observed.is_working());
}

/// Bad input: two conversations on one connection keep their order, local answers included.
#[test]
fn a_local_answer_waits_its_turn_behind_the_servers() {
    let mut peers = Peers::new(named());
    peers.learns("s1", UPDATE, "n");
    assert_eq!(peers.client(&["Q select 1"]), ["Q select 1"]);
    assert_eq!(
        peers.local(&["P s2 update t set n = 1", "D s2", "S"]),
        NOTHING
    );
    assert_eq!(peers.client(&["Q select 2"]), ["Q select 2"]);
    let answers = peers.server(&["C SELECT 1", "Z I", "C SELECT 2", "Z I"]);
    assert_eq!(
        answers,
        [
            "C SELECT 1",
            "Z I",
            "1",
            "t",
            "n",
            "Z I",
            "C SELECT 2",
            "Z I"
        ]
    );
}

/// The wire's own answer does not go into the middle of a message that arrives in pieces.
#[test]
fn a_local_answer_waits_for_the_end_of_a_notification() {
    let mut peers = Peers::new(named());
    peers.learns("s1", UPDATE, "n");
    let mut notification = super::peers::backend("A 1234channel payload");
    let mut second = notification.split_off(9);
    let first = notification.len();
    assert_eq!(
        server_sent(&mut peers.conversation, &mut notification),
        Ok(first)
    );
    assert_eq!(peers.local(&["C s1", "S"]), NOTHING);
    assert_eq!(
        server_sent(&mut peers.conversation, &mut second),
        Ok(second.len())
    );
    assert_eq!(peers.told(), ["3", "Z I"]);
}

/// An evicted text is closed. A name that is still held is parsed again when it is used.
#[test]
fn the_cache_is_bounded_and_held_names_stay_good() {
    let rules = Rules {
        statement_cache: 1,
        ..named()
    };
    let mut peers = Peers::new(rules);
    peers.learns("s1", "update a", "n");
    peers.learns("s2", "update b", "n");
    let asked = peers.client(&["B s1", "E", "S"]);
    assert_eq!(asked, ["C s1", "P s1 update a", "B s1", "E", "S"]);
    let told = peers.server(&["3", "1", "2", "C UPDATE 1", "Z I"]);
    assert_eq!(told, ["2", "C UPDATE 1", "Z I"]);
    // Now `update a` is in the cache again, and the other is not.
    let asked = peers.client(&["B s2", "E", "S"]);
    assert_eq!(asked, ["C s2", "P s2 update b", "B s2", "E", "S"]);
    peers.server(&["3", "1", "2", "C UPDATE 1", "Z I"]);
    // The same holds for a portal of an evicted statement.
    let asked = peers.client(&["B s1>p", "S"]);
    assert_eq!(asked, ["C s1", "P s1 update a", "D s1", "B s1>p", "S"]);
    assert_eq!(
        peers.server(&["3", "1", "t", "n", "2", "Z I"]),
        ["2", "Z I"]
    );
}

/// Bad input: a statement that the server refuses leaves no trace in the cache.
#[test]
fn a_refused_statement_leaves_no_trace() {
    let mut peers = Peers::new(named());
    for name in ["s1", "s2"] {
        let messages = [
            format!("P {name} selec"),
            format!("D {name}"),
            "S".to_owned(),
        ];
        let sent: Vec<_> = messages.iter().map(String::as_str).collect();
        assert_eq!(peers.client(&sent), messages);
        assert_eq!(peers.server(&["E 42601", "Z I"]), ["E 42601", "Z I"]);
    }
    assert_eq!(
        peers.observed.last_error().unwrap().sqlstate().code(),
        "42601"
    );
    // The wire does not know the names, so they pass as they are.
    let asked = peers.client(&["B s1", "E", "S"]);
    assert_eq!(asked, ["B s1", "E", "S"]);
    assert_eq!(peers.server(&["E 26000", "Z I"]), ["E 26000", "Z I"]);
}

/// Nothing has run, and the client does not notice.
#[test]
fn a_plan_that_changed_its_result_is_prepared_again_and_repeated() {
    let mut peers = Peers::new(named());
    peers.learns("s1", "select * from t", "T a:23");
    peers.client(&["B s1", "E", "S"]);
    assert_eq!(
        peers.server(&["E 0A000 RevalidateCachedQuery", "Z I"]),
        NOTHING
    );
    assert_eq!(peers.asked(), ["C s1", "P s1 select * from t", "D s1", "S"]);
    // Requests that come now must not overtake the second try.
    assert_eq!(peers.client(&["Q select 2"]), NOTHING);
    assert_eq!(
        peers.server(&["3", "1", "t", "T a:23,b:25", "Z I"]),
        NOTHING
    );
    assert_eq!(peers.asked(), ["B s1", "E", "S"]);
    // tokio-postgres refuses a row that has more values than the description has columns.
    let told = peers.server(&["2", "D one,two", "D 3,4", "C SELECT 2", "Z I"]);
    assert_eq!(told, ["2", "D one", "D 3", "C SELECT 2", "Z I"]);
    assert_eq!(peers.asked(), ["Q select 2"]);
    assert_eq!(
        (peers.observed.errors(), peers.observed.stale_statements()),
        (0, 0)
    );
    // The old description is not given to anybody else.
    peers.server(&["C SELECT 1", "Z I"]);
    let asked = peers.client(&["P s2 select * from t", "D s2", "S"]);
    assert_eq!(asked, ["P s2 select * from t", "D s2", "S"]);
}

/// The server has lost the names, as after DISCARD ALL. The other statements are prepared again too.
#[test]
fn a_name_that_the_server_does_not_know_is_prepared_again_and_repeated() {
    let mut peers = Peers::new(named());
    peers.learns("s1", "update a", "n");
    peers.learns("s2", "update b", "n");
    peers.client(&["B s1", "E", "S"]);
    assert_eq!(peers.server(&["E 26000", "Z I"]), NOTHING);
    let asked = peers.asked();
    // Either name may still exist: without the Close a Parse would fail (42P05).
    assert_eq!(asked, ["C s1", "C s2", "P s1 update a", "D s1", "S"]);
    peers.server(&["3", "3", "1", "t", "n", "Z I"]);
    assert_eq!(peers.asked(), ["B s1", "E", "S"]);
    assert_eq!(
        peers.server(&["2", "C UPDATE 1", "Z I"]),
        ["2", "C UPDATE 1", "Z I"]
    );
    let asked = peers.client(&["B s2", "E", "S"]);
    assert_eq!(asked, ["P s2 update b", "B s2", "E", "S"]);
    peers.server(&["1", "2", "C UPDATE 1", "Z I"]);
    // The wire saw that they were discarded, so it does not even try them.
    peers.client(&["Q DISCARD ALL"]);
    peers.server(&["C DISCARD ALL", "Z I"]);
    let asked = peers.client(&["B s2", "E", "S"]);
    assert_eq!(asked, ["C s1", "C s2", "P s2 update b", "B s2", "E", "S"]);
}

/// Where the new description does not fit the old, no row passes.
#[test]
fn a_second_try_with_another_result_is_an_error() {
    let mut peers = Peers::new(named());
    peers.learns("s1", "select * from t", "T a:23");
    peers.client(&["B s1", "E", "S"]);
    peers.server(&["E 0A000 RevalidateCachedQuery", "Z I"]);
    let told = peers.server(&["3", "1", "t", "T a:700", "Z I"]);
    assert_eq!(told, ["E 0A000", "Z I"]);
    assert_eq!(peers.observed.stale_statements(), 0);
    assert!(peers.observed.is_outdated());
    assert!(!peers.observed.is_working());
    // There is no third try, not even after an error of the second.
    peers.learns("s2", "select * from u", "T a:23");
    peers.client(&["B s2", "E", "S"]);
    peers.server(&["E 26000", "Z I"]);
    let told = peers.server(&["3", "E 42P01", "Z I"]);
    assert_eq!(told, ["E 42P01", "Z I"]);
}

/// The transaction is attempted again, with the text prepared again. The client is told once that the
/// result has changed, before it misreads a row.
#[test]
fn a_text_whose_result_has_changed_is_refused_once_when_it_is_prepared_anew() {
    let mut peers = Peers::new(named());
    peers.learns("s1", "select v from t", "T v:23");
    peers.client(&["Q BEGIN"]);
    peers.client(&["B s1", "E", "S"]);
    let stale = ["1", "2", "C BEGIN", "E 0A000 RevalidateCachedQuery", "Z E"];
    peers.server(&stale);
    assert_eq!(peers.observed.stale_statements(), 1);
    peers.client(&["Q ROLLBACK"]);
    peers.server(&["C ROLLBACK", "Z I"]);
    peers.client(&["C s1", "S"]);
    let anew = ["P s2 select v from t", "D s2", "S"];
    peers.client(&anew);
    let told = peers.server(&["3", "1", "t", "T v:700", "Z I"]);
    // First the Close, which the wire has answered itself.
    assert_eq!(told, ["3", "Z I", "E 0A000", "Z I"]);
    assert_eq!(peers.observed.stale_statements(), 1);
    // A client that asks again has been told already.
    peers.client(&["P s3 select v from t", "D s3", "S"]);
    let told = peers.server(&["3", "1", "t", "T v:700", "Z I"]);
    assert_eq!(told, ["1", "t", "T", "Z I"]);
}

/// No second try for a statement after which something else was sent, in a transaction, or with a part of
/// its answer passed on.
#[test]
fn nothing_is_repeated_where_that_could_be_seen() {
    let stale = "E 0A000 RevalidateCachedQuery";
    let mut peers = Peers::new(named());
    peers.learns("s1", UPDATE, "n");
    peers.client(&["B s1", "E", "S"]);
    peers.client(&["Q select 2"]);
    let told = peers.server(&[stale, "Z I", "C SELECT 1", "Z I"]);
    assert_eq!(told, ["E 0A000", "Z I", "C SELECT 1", "Z I"]);

    // Even a lone Parse counts: its answer would come before the answer of the second try.
    let mut peers = Peers::new(named());
    peers.learns("s1", UPDATE, "n");
    peers.client(&["B s1", "E", "S", "P s2 update u", "D s2", "S"]);
    let told = peers.server(&[stale, "Z I", "1", "t", "n", "Z I"]);
    assert_eq!(told, ["E 0A000", "Z I", "1", "t", "n", "Z I"]);

    let mut peers = Peers::new(named());
    peers.learns("s1", UPDATE, "n");
    peers.client(&["Q begin; select 1"]);
    peers.server(&["C BEGIN", "C SELECT 1", "Z T"]);
    peers.client(&["B s1", "E", "S"]);
    assert_eq!(peers.server(&[stale, "Z E"]), ["E 0A000", "Z E"]);
    assert_eq!(peers.observed.stale_statements(), 1);

    let mut peers = Peers::new(named());
    peers.learns("s1", UPDATE, "n");
    peers.client(&["B s1", "E", "S"]);
    assert_eq!(peers.server(&["2", stale, "Z I"]), ["2", "E 0A000", "Z I"]);
    assert_eq!(peers.asked(), NOTHING);
}

/// A 26000 from the client's own EXECUTE or DEALLOCATE says nothing about the wire's names.
#[test]
fn another_statements_missing_name_loses_none_of_ours() {
    let mut peers = Peers::new(named());
    peers.learns("s1", UPDATE, "n");
    peers.client(&["Q deallocate own_name"]);
    assert_eq!(peers.server(&["E 26000", "Z I"]), ["E 26000", "Z I"]);
    assert_eq!(peers.client(&["B s1", "E", "S"]), ["B s1", "E", "S"]);
}

/// When a search_path, a role or a table changes, the wire forgets every description. It forgets them
/// again when the transaction ends or goes back to a savepoint.
#[test]
fn what_changes_the_meaning_of_names_forgets_descriptions() {
    let again = ["P s2 update t set n = 1", "D s2", "S"];
    let known = |peers: &mut Peers| {
        let asked = peers.client(&again);
        if !asked.is_empty() {
            peers.server(&["1", "t", "n", "Z T"]);
        } else {
            peers.told();
        }
        asked.is_empty()
    };
    for change in [
        "set local search_path to b",
        "alter table t add c int",
        "select x() into temp y",
    ] {
        let mut peers = Peers::new(named());
        peers.learns("s1", UPDATE, "n");
        peers.client(&["Q begin; select 1"]);
        peers.server(&["C BEGIN", "C SELECT 1", "Z T"]);
        assert!(known(&mut peers), "{change}");
        peers.client(&["Q savepoint x"]);
        peers.server(&["C SAVEPOINT", "Z T"]);
        peers.client(&[&format!("Q {change}")]);
        peers.server(&["C SET", "Z T"]);
        assert!(!known(&mut peers), "{change}");
        assert!(known(&mut peers), "{change}");
        peers.client(&["Q rollback to x"]);
        peers.server(&["C ROLLBACK", "Z T"]);
        assert!(!known(&mut peers), "{change}");
        peers.client(&["Q rollback"]);
        peers.server(&["C ROLLBACK", "Z I"]);
        assert!(!known(&mut peers), "{change}");
    }
}

/// A Flush makes the server answer before the Sync: one answer, one exchange.
#[test]
fn a_flush_passes_and_its_sync_belongs_to_it() {
    let mut peers = Peers::new(named());
    peers.learns("s1", UPDATE, "n");
    peers.local(&["P s2 update t set n = 1", "D s2", "S"]);
    assert_eq!(peers.client(&["B s2", "E", "H"]), ["B s1", "E", "H"]);
    assert!(peers.observed.is_working());
    assert_eq!(peers.server(&["2", "C UPDATE 1"]), ["2", "C UPDATE 1"]);
    assert_eq!(peers.client(&["B s2", "E", "S"]), ["B s1", "E", "S"]);
    let told = peers.server(&["2", "C UPDATE 1", "Z I"]);
    assert_eq!(told, ["2", "C UPDATE 1", "Z I"]);
    assert!(!peers.observed.is_working());
    // A transaction that has not begun yet begins with the Flush.
    peers.local(&["Q BEGIN"]);
    let asked = peers.client(&["B s2", "E", "H"]);
    assert_eq!(asked, ["P - BEGIN", "B -", "E", "B s1", "E", "H"]);
    assert_eq!(peers.client(&["S"]), ["S"]);
    let told = peers.server(&["1", "2", "C BEGIN", "2", "C UPDATE 1", "Z T"]);
    assert_eq!(told, ["2", "C UPDATE 1", "Z T"]);
}

/// A statement that runs before its description has come is not prepared a second time.
#[test]
fn a_statement_run_before_its_description_has_come_is_prepared_once() {
    let mut peers = Peers::new(named());
    peers.client(&["P s1 update t", "D s1", "S"]);
    assert_eq!(peers.client(&["B s1", "E", "S"]), ["B s1", "E", "S"]);
    let told = peers.server(&["1", "t", "n", "Z I", "2", "C UPDATE 1", "Z I"]);
    assert_eq!(told, ["1", "t", "n", "Z I", "2", "C UPDATE 1", "Z I"]);
}

/// `statement_cache = 0` leaves every statement to its client.
#[test]
fn without_a_cache_everything_passes() {
    let mut peers = Peers::new(Rules::default());
    for name in ["s1", "s2"] {
        let messages = [
            format!("P {name} update t"),
            format!("D {name}"),
            "S".to_owned(),
        ];
        let sent: Vec<_> = messages.iter().map(String::as_str).collect();
        assert_eq!(peers.client(&sent), messages);
        peers.server(&["1", "t", "n", "Z I"]);
        let bind = format!("B {name}");
        assert_eq!(peers.client(&[&bind, "E", "S"]), [&bind, "E", "S"]);
        peers.server(&["2", "C UPDATE 1", "Z I"]);
        let close = format!("C {name}");
        assert_eq!(peers.client(&[&close, "S"]), [&close, "S"]);
        peers.server(&["3", "Z I"]);
    }
    assert_eq!(peers.client(&["Q BEGIN"]), ["Q BEGIN"]);
}
