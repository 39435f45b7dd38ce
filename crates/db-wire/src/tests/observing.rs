//! `wire = "observe"`: every statement passes as it is.

use super::peers::Peers;
use super::shared;
use crate::rules::{Naming, Rules};
use crate::sql::residue::Residue;
use crate::{Command, TransactionStatus};
use std::sync::{Arc, Mutex};

fn observing() -> Rules {
    Rules {
        observes_only: true,
        reset: Some("RESET ALL".into()),
        read_committed_by_default: true,
        ..shared(Naming::Unnamed)
    }
}

/// BEGIN, a statement that a pooler cannot run, COMMIT, a text that is prepared again: the wire holds
/// nothing back, renames, refuses and answers nothing, and puts nothing before them.
#[test]
fn every_request_passes_as_it_is() {
    let mut peers = Peers::new(observing());
    for (request, answer) in [
        (&["Q BEGIN READ ONLY"][..], &["C BEGIN", "Z T"][..]),
        (
            &["P s1 select 1", "D s1", "S"],
            &["1", "t", "T a:23", "Z T"],
        ),
        (&["B s1", "E", "S"], &["2", "D 1", "C SELECT 1", "Z T"]),
        (
            &["P s2 select 1", "D s2", "S"],
            &["1", "t", "T a:23", "Z T"],
        ),
        (&["C s1", "S"], &["3", "Z T"]),
        (&["Q COMMIT"], &["C COMMIT", "Z I"]),
        (&["Q listen c"], &["C LISTEN", "Z I"]),
        (&["Q set datestyle = 'German'"], &["C SET", "Z I"]),
        (
            &["P - update t", "B -", "D -", "E", "S"],
            &["1", "2", "n", "C UPDATE 1", "Z I"],
        ),
    ] {
        peers.steering.commit_with_next();
        assert_eq!(peers.client(request), request);
        let told = peers.server(answer);
        assert_eq!(told.len(), answer.len(), "{request:?}: {told:?}");
    }
    assert_eq!(peers.observed.boundaries(), 2);
    assert_eq!(peers.observed.residue(), Residue::Undoable);
}

/// The wire still sees texts, times, errors and the status, and whether a statement is unbounded or may be
/// committed.
#[test]
fn it_goes_on_observing() {
    let mut peers = Peers::new(observing());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    peers
        .steering
        .set_watcher(Box::new(move |command: &Command<'_>| {
            let text = String::from_utf8_lossy(command.sql).into_owned();
            log.lock().unwrap().push((text, command.rows));
        }));
    peers.client(&["P s1 update t", "D s1", "S"]);
    peers.server(&["1", "t", "n", "Z I"]);
    peers.client(&["B s1", "E", "S"]);
    assert!(peers.observed.is_working_unbounded());
    peers.server(&["2", "C UPDATE 3", "Z I"]);
    peers.client(&["P s2 COMMIT", "D s2", "S"]);
    peers.server(&["1", "t", "n", "Z I"]);
    peers.client(&["B s2", "E", "S"]);
    assert!(peers.observed.is_committing());
    peers.server(&["2", "E 42601", "Z E"]);
    assert_eq!(peers.status(), TransactionStatus::Failed);
    let expected = [("update t".to_owned(), 3), ("COMMIT".to_owned(), 0)];
    assert_eq!(*seen.lock().unwrap(), expected);
    // The pool's own reset stays, and leaves the session clean.
    peers.server(&["Z I"]);
    peers.client(&["Q set a = 1"]);
    peers.server(&["C SET", "Z I"]);
    peers.client(&["Q RESET ALL"]);
    peers.server(&["C RESET", "Z I"]);
    assert_eq!(peers.observed.residue(), Residue::Nothing);
}
