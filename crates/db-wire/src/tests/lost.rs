//! The end of a connection while a request is unanswered.

use super::named;
use super::peers::{NOTHING, Peers};
use crate::conversation::lost::connection_lost;
use crate::conversation::replies::server_sent;

const UNKNOWN: [&str; 1] = ["E 08007"];

fn peers() -> Peers {
    let mut peers = Peers::new(named());
    peers.learns("s1", "update t", "n");
    peers.learns("s2", "select 1", "T a:23");
    peers
}

/// What the client is told when the connection ends.
fn at_the_end(peers: &mut Peers) -> Vec<String> {
    connection_lost(&mut peers.conversation);
    assert!(peers.observed.is_closed());
    let told = peers.told();
    // It is told only once.
    connection_lost(&mut peers.conversation);
    assert_eq!(peers.told(), NOTHING);
    told
}

/// Only a client that cannot know whether its request took effect is told that the outcome is
/// unknown.
#[test]
fn what_may_have_taken_effect_is_told_as_unknown() {
    for request in [
        &["B s1", "E", "S"][..],
        &["Q delete from t"],
        &["Q select 1; delete from t"],
        &["P - delete from t", "B -", "E", "S"],
    ] {
        let mut peers = peers();
        peers.client(request);
        assert_eq!(at_the_end(&mut peers), UNKNOWN, "{request:?}");
        let error = peers.observed.last_error().unwrap();
        assert!(error.is_fatal() && error.sqlstate().code() == "08007");
    }
    for request in [
        &["B s2", "E", "S"][..],
        &["Q select 1"],
        &["P s9 delete from t", "D s9", "S"],
    ] {
        let mut peers = peers();
        peers.client(request);
        assert_eq!(at_the_end(&mut peers), NOTHING, "{request:?}");
    }
    assert_eq!(at_the_end(&mut peers()), NOTHING);
}

/// In a transaction the end of the connection is a rollback, until COMMIT has been sent.
#[test]
fn in_a_transaction_only_commit_is_unknown() {
    for (held, commits) in [(true, false), (false, false), (false, true)] {
        let mut peers = peers();
        peers.local(&["Q BEGIN"]);
        peers.client(&["B s1", "E", "S"]);
        if !held {
            peers.server(&["1", "2", "C BEGIN", "2", "C UPDATE 1", "Z T"]);
            peers.client(&[if commits {
                "Q COMMIT"
            } else {
                "Q delete from t"
            }]);
        }
        let told = at_the_end(&mut peers);
        assert_eq!(told.len(), usize::from(commits), "{told:?}");
    }
}

/// An error that came before the end is the answer. Nothing goes into the middle of a message.
#[test]
fn an_answer_that_has_begun_is_left_alone() {
    let mut failed = peers();
    failed.client(&["B s1", "E", "S"]);
    failed.server(&["E 57P01 ProcessInterrupts"]);
    assert_eq!(at_the_end(&mut failed), NOTHING);

    let mut cut = Peers::new(named());
    cut.learns("s1", "update t returning a", "T a:23");
    cut.client(&["B s1", "E", "S"]);
    cut.server(&["2"]);
    let mut row = *b"D\0\0\0\x0f\0\x01\0\0";
    let kept = server_sent(&mut cut.conversation, &mut row).unwrap();
    assert_eq!(kept, row.len());
    assert_eq!(at_the_end(&mut cut), NOTHING);
}

/// A pooler adds its own words to the server's, perhaps in the same packet. The server's are the answer.
#[test]
fn what_a_pooler_adds_to_a_fatal_error_changes_nothing() {
    for cut in [false, true] {
        let mut peers = peers();
        peers.client(&["B s1", "E", "S"]);
        let words = ["F 57P01 ProcessInterrupts", "F 08P01 -"];
        let told = match cut {
            false => peers.server(&words),
            true => words.map(|one| peers.server(&[one])).concat(),
        };
        assert_eq!(told, ["E 57P01"]);
        let last = peers.observed.last_error().unwrap();
        assert_eq!(last.sqlstate().code(), "57P01");
        assert_eq!(at_the_end(&mut peers), NOTHING);
    }
}

/// An error proves the outcome of a request if it comes from the server itself, or if ReadyForQuery
/// follows.
#[test]
fn last_words_of_others_than_the_server_prove_nothing() {
    let commit = &["Q COMMIT"][..];
    let autocommit = &["B s1", "E", "S"][..];
    for (request, words, told, at_last) in [
        (autocommit, "F 08P01 -", &UNKNOWN[..], &NOTHING[..]),
        (autocommit, "E 08P01 -", &NOTHING, &UNKNOWN),
        (
            autocommit,
            "F 57P01 ProcessInterrupts",
            &["E 57P01"],
            &NOTHING,
        ),
        (commit, "E 23503 ri_ReportViolation", &NOTHING, &UNKNOWN),
        (commit, "F 57P01 ProcessInterrupts", &UNKNOWN, &NOTHING),
        (commit, "F 25P03 ProcessInterrupts", &["E 25P03"], &NOTHING),
    ] {
        let mut peers = peers();
        if request == commit {
            peers.local(&["Q BEGIN"]);
            peers.client(autocommit);
            peers.server(&["1", "2", "C BEGIN", "2", "C UPDATE 1", "Z T"]);
        }
        peers.client(request);
        assert_eq!(peers.server(&[words]), told, "{words}");
        assert_eq!(at_the_end(&mut peers), at_last, "{words}");
    }
    let mut answered = peers();
    answered.client(autocommit);
    assert_eq!(answered.server(&["E 08P01 -", "Z I"]), ["E 08P01", "Z I"]);
    assert_eq!(at_the_end(&mut answered), NOTHING);
}
