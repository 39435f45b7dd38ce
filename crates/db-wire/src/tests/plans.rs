//! Behind a pooler that keeps statements for its clients, by their text and on several server connections.

use super::named;
use super::peers::{NOTHING, Peers};
use crate::TransactionStatus;
use crate::rules::Rules;

const STALE: &str = "E 0A000 RevalidateCachedQuery";
const PREPARE: [&str; 3] = ["P s1 select v from t", "D s1", "S"];
const RUN: [&str; 3] = ["B s1", "E", "S"];
const WITHOUT_NAME: [&str; 5] = ["P - select v from t", "B -", "D -", "E", "S"];
const ANEW_WITHOUT_NAME: [&str; 5] = ["P - select v from t", "D -", "B -", "E", "S"];

fn kept() -> Rules {
    Rules {
        shared_session: true,
        ..named()
    }
}

/// A connection that has prepared the text, as an int4.
fn prepared() -> Peers {
    let mut peers = Peers::new(kept());
    peers.learns("s1", "select v from t", "T v:23");
    peers
}

/// case F2: the pooler prepares a known text on server connections that have not had it yet. So the plan there may
/// be newer than the description that the client was given. No row of it passes.
#[test]
fn each_run_is_described_and_no_row_of_another_description_passes() {
    let mut peers = prepared();
    assert_eq!(peers.client(&RUN), ["B s1", "D -", "E", "S"]);
    let told = peers.server(&["2", "T v:23", "D one", "C SELECT 1", "Z I"]);
    assert_eq!(told, ["2", "D one", "C SELECT 1", "Z I"]);
    peers.client(&RUN);
    let told = peers.server(&["2", "T v:700", "D one", "C SELECT 1", "Z I"]);
    assert_eq!(told, ["2", "E 0A000", "Z I"]);
    // What the client has stored stays wrong, so the connection is replaced. The work must not be retried
    // silently: a float4 would be read as the int4 that it states.
    assert!(peers.observed.is_outdated());
    assert_eq!(peers.observed.stale_statements(), 0);
    // The same holds for a pipeline of another shape.
    let mut peers = prepared();
    let asked = peers.client(&["B s1>p", "B s1>q", "S"]);
    assert_eq!(asked, ["D s1", "B s1>p", "B s1>q", "S"]);
    assert_eq!(
        peers.server(&["t", "T v:700", "2", "2", "Z I"]),
        ["E 0A000", "Z I"]
    );
}

/// The pooler would run its old plan for the text, whatever the session has changed since: an overloaded function, a
/// type, a domain.
#[test]
fn after_a_change_of_an_object_no_text_has_a_name() {
    for (tag, nameless) in [("C CREATE FUNCTION", true), ("C INSERT 0 1", false)] {
        let mut peers = prepared();
        peers.client(&["Q insert into t"]);
        peers.server(&[tag, "Z I"]);
        let mut asked = peers.client(&RUN);
        if nameless {
            assert_eq!(asked.remove(0), "C s1");
            assert_eq!(asked, WITHOUT_NAME);
        } else {
            assert_eq!(asked, ["B s1", "D -", "E", "S"]);
        }
    }
    let mut peers = prepared();
    peers.client(&["Q create function f()"]);
    peers.server(&["C CREATE FUNCTION", "Z I"]);
    let asked = peers.client(&["P s2 select w from t", "D s2", "S"]);
    assert_eq!(asked, ["C s1", "P - select w from t", "D -", "S"]);
}

/// If it were prepared again with a name, this server connection would refuse it for ever.
#[test]
fn a_text_whose_plan_is_kept_stale_is_run_without_a_name() {
    let mut peers = prepared();
    peers.client(&RUN);
    assert_eq!(peers.server(&[STALE, "Z I"]), NOTHING);
    let mut asked = peers.asked();
    assert_eq!(asked.remove(0), "C s1");
    assert_eq!(asked, ANEW_WITHOUT_NAME);
    let told = peers.server(&[
        "3",
        "1",
        "t",
        "T v:23,w:25",
        "2",
        "D one,two",
        "C SELECT 1",
        "Z I",
    ]);
    assert_eq!(told, ["2", "D one", "C SELECT 1", "Z I"]);
    assert_eq!(
        (peers.observed.errors(), peers.observed.stale_statements()),
        (0, 0)
    );
    // It stays unnamed, even if a client prepares it under another name.
    assert_eq!(peers.client(&RUN), WITHOUT_NAME);
    let told = peers.server(&["1", "2", "T v:700", "D one", "C SELECT 1", "Z I"]);
    assert_eq!(told, ["2", "E 0A000", "Z I"]);
    for told in [&["E 0A000", "Z I"][..], &["1", "t", "T", "Z I"]] {
        let asked = peers.client(&["P s2 select v from t", "D s2", "S"]);
        assert_eq!(asked, ["P - select v from t", "D -", "S"]);
        assert_eq!(peers.server(&["1", "t", "T v:700", "Z I"]), told);
    }
    assert_eq!(peers.client(&["B s2", "E", "S"]), WITHOUT_NAME);
}

/// A connection that has never seen the text gets the old plan of another client.
#[test]
fn a_text_that_is_stale_before_it_is_known_is_prepared_without_a_name() {
    let mut peers = Peers::new(kept());
    peers.client(&PREPARE);
    assert_eq!(peers.server(&["1", "t", STALE, "Z I"]), NOTHING);
    let asked = peers.asked();
    assert_eq!(asked, ["C s1", "P - select v from t", "D -", "S"]);
    let told = peers.server(&["3", "1", "t", "T v:700", "Z I"]);
    assert_eq!(told, ["1", "t", "T", "Z I"]);
    assert_eq!(peers.client(&RUN), WITHOUT_NAME);
    assert_eq!(peers.observed.errors(), 0);
}

/// In a transaction nothing is retried silently. The next attempt runs without the name.
#[test]
fn a_transaction_that_meets_a_stale_plan_fails_once() {
    for known in [true, false] {
        let mut peers = match known {
            true => prepared(),
            false => Peers::new(kept()),
        };
        peers.local(&["Q BEGIN"]);
        let asked = match known {
            true => peers.client(&RUN),
            false => peers.client(&PREPARE),
        };
        assert_eq!(asked[..3], ["P - BEGIN", "B -", "E"]);
        let answer: &[&str] = match known {
            true => &["1", "2", "C BEGIN", "t", STALE, "Z E"],
            false => &["1", "2", "C BEGIN", "1", "t", STALE, "Z E"],
        };
        assert_eq!(peers.server(answer), ["E 0A000", "Z E"]);
        assert_eq!(peers.observed.stale_statements(), 1);
        assert_eq!(peers.status(), TransactionStatus::Failed);
        peers.client(&["Q ROLLBACK"]);
        peers.server(&["C ROLLBACK", "Z I"]);
        let asked = peers.client(&PREPARE);
        assert_eq!(asked[..], ["C s1", "P - select v from t", "D -", "S"]);
    }
}

/// A statement whose name is lost is described with its second try: by then the session may be another one.
#[test]
fn a_second_try_is_described_with_its_run() {
    let mut peers = prepared();
    peers.client(&RUN);
    peers.server(&["E 26000", "Z I"]);
    let asked = peers.asked();
    assert_eq!(asked[1..], ["P - select v from t", "D -", "B -", "E", "S"]);
    let answer = ["3", "1", "t", "T v:700", "2", "D one", "C SELECT 1", "Z I"];
    let told = peers.server(&answer);
    assert_eq!(told, ["E 0A000", "Z I"]);
}

/// varchar is read like text, and a user-defined type that was created again is read correctly once the client
/// gets the new description.
#[test]
fn what_is_read_alike_passes_and_what_was_made_anew_is_asked_for_again() {
    let mut peers = Peers::new(kept());
    peers.learns("s1", "select v from t", "T v:25");
    peers.client(&RUN);
    let told = peers.server(&["2", "T v:1043", "D one", "C SELECT 1", "Z I"]);
    assert_eq!(told, ["2", "D one", "C SELECT 1", "Z I"]);
    let mut peers = Peers::new(kept());
    peers.learns("s1", "select v from t", "T v:16400");
    peers.client(&RUN);
    let told = peers.server(&["2", "T v:16500", "D one", "C SELECT 1", "Z I"]);
    assert_eq!(told, ["2", "E 0A000", "Z I"]);
    assert!(peers.observed.is_outdated());
    assert_eq!(peers.observed.stale_statements(), 1);
}
