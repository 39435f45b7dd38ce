//! What the wire notes about a changed session, and the session's reset.

use super::peers::{NOTHING, Peers};
use super::{named, shared, unnamed};
use crate::rules::{Naming, Rules};
use crate::sql::residue::Residue;

fn resetting(rules: Rules) -> Rules {
    Rules {
        reset: Some("RESET ALL;DISCARD TEMP".into()),
        ..rules
    }
}

fn residue(peers: &Peers) -> Residue {
    peers.observed.residue()
}

/// A text marks the session each time it runs, under any name.
#[test]
fn a_text_marks_the_session_when_it_runs() {
    for rules in [named(), unnamed()] {
        let mut peers = Peers::new(resetting(rules));
        peers.learns("s1", "select app.evil($1)", "n");
        peers.learns("s2", "update t", "n");
        assert_eq!(residue(&peers), Residue::Nothing);
        peers.client(&["B s2", "E", "S"]);
        assert_eq!(residue(&peers), Residue::Nothing);
        peers.client(&["B s1", "E", "S"]);
        assert_eq!(residue(&peers), Residue::Undoable);
        peers.observed.session_is_clean();
        peers.local(&["P s3 select app.evil($1)", "D s3", "S"]);
        assert_eq!(residue(&peers), Residue::Nothing);
        peers.client(&["B s1", "E", "S"]);
        assert_eq!(residue(&peers), Residue::Undoable);
        peers.client(&["Q prepare a as select 1"]);
        assert_eq!(residue(&peers), Residue::Lasting);
        peers.client(&["Q listen c"]);
        assert_eq!(residue(&peers), Residue::Lasting);
    }
}

/// Texts that the wire keeps no record of mark it too: without a cache, unnamed, in a pipeline, or
/// by number.
#[test]
fn a_text_that_is_not_kept_marks_the_session_too() {
    let mut peers = Peers::new(resetting(Rules {
        statement_cache: 0,
        ..named()
    }));
    peers.client(&["P s1 select app.evil($1)", "D s1", "S"]);
    peers.server(&["1", "t", "n", "Z I"]);
    assert_eq!(residue(&peers), Residue::Nothing);
    for _ in 0..2 {
        peers.client(&["B s1", "E", "S"]);
        peers.server(&["2", "C SELECT 1", "Z I"]);
        assert_eq!(residue(&peers), Residue::Undoable);
        peers.observed.session_is_clean();
    }
    peers.client(&["C s1", "S"]);
    peers.server(&["3", "Z I"]);
    peers.client(&["P s1 select 1", "D s1", "S", "B s1", "E", "S"]);
    assert_eq!(residue(&peers), Residue::Nothing);
    for request in [
        &["P - set a = 1", "B -", "E", "S"][..],
        &["P s5 set a = 1", "H", "B s5", "E", "S"],
        &["F 1", "S"],
    ] {
        let mut peers = Peers::new(resetting(named()));
        peers.client(request);
        assert_eq!(residue(&peers), Residue::Undoable, "{request:?}");
    }
}

/// Failure case F4: after the reset, the wire still knows what it knew before the session was
/// changed, and has forgotten what it learnt in between. The reset counts as nobody's statement.
#[test]
fn the_reset_forgets_what_was_described_in_the_changed_session() {
    let mut peers = Peers::new(resetting(named()));
    peers.learns("s1", "update t", "n");
    peers.local(&["C s1", "S"]);
    peers.client(&["Q select app.evil(1)"]);
    peers.server(&["C SELECT 1", "Z I"]);
    peers.learns("s2", "update u", "n");
    peers.local(&["C s2", "S"]);
    let (before, query) = (peers.observed.statements(), "Q RESET ALL;DISCARD TEMP");
    assert_eq!(peers.client(&[query]), [query]);
    assert!(peers.observed.is_working());
    let told = peers.server(&["C RESET", "C DISCARD TEMP", "Z I"]);
    assert_eq!(told, ["C RESET", "C DISCARD TEMP", "Z I"]);
    assert_eq!(residue(&peers), Residue::Nothing);
    assert_eq!(peers.observed.statements(), before);
    assert!(!peers.observed.is_working());
    let known = peers.local(&["P s3 update t", "D s3", "S"]);
    assert_eq!(known, ["1", "t", "n", "Z I"]);
    let asked = peers.client(&["P s4 update u", "D s4", "S"]);
    assert_eq!(asked, ["C s2", "P s4 update u", "D s4", "S"]);
}

#[test]
fn a_reset_that_fails_leaves_the_session_marked() {
    let mut peers = Peers::new(resetting(named()));
    peers.client(&["Q set a = 1"]);
    peers.server(&["C SET", "Z I"]);
    peers.client(&["Q RESET ALL;DISCARD TEMP"]);
    assert_eq!(peers.server(&["C RESET", "E 57014", "Z I"]).len(), 3);
    assert_eq!(residue(&peers), Residue::Undoable);
}

/// case R32: refused before the server sees it, unless the profile lets it through.
#[test]
fn a_set_on_a_shared_session_is_refused() {
    let mut peers = Peers::new(Rules {
        refuses_set: true,
        ..shared(Naming::Unnamed)
    });
    let told = peers.local(&["Q set statement_timeout = 1"]);
    assert_eq!(told, ["E 0A000", "Z I"]);
    let told = peers.local(&["P s1 set role x", "D s1", "S"]);
    assert_eq!(told, ["E 0A000", "Z I"]);
    let sent = peers.observed.last_error().unwrap();
    assert!(sent.message().contains("SET LOCAL"), "{sent}");
    peers.local(&["Q BEGIN"]);
    assert_ne!(peers.client(&["Q set local a = 1"]), NOTHING);
    let mut peers = Peers::new(shared(Naming::Unnamed));
    assert_ne!(peers.client(&["Q set statement_timeout = 1"]), NOTHING);
}

/// The error of one holder does not concern the next one.
#[test]
fn the_last_error_is_forgotten_with_its_borrower() {
    let mut peers = Peers::new(named());
    peers.client(&["Q select 1/0"]);
    peers.server(&["E 22012", "Z I"]);
    assert!(peers.observed.last_error().is_some());
    peers.observed.forget_error();
    assert!(peers.observed.last_error().is_none());
    peers.client(&["Q select 1/0"]);
    peers.server(&["E 22012", "Z I"]);
    assert_eq!(peers.observed.errors(), 2);
    assert!(peers.observed.last_error().is_some());
}
