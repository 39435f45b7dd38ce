//! COPY: its rows belong to no request of their own.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::named;
use super::peers::{NOTHING, Peers};
use crate::command::Command;

/// A COPY by a simple query, even as the first statement of a transaction: its rows are not held back.
#[test]
fn copy_in_by_a_simple_query_passes() {
    let mut peers = Peers::new(named());
    peers.local(&["Q BEGIN"]);
    assert_eq!(
        peers.client(&["Q copy t from stdin"]),
        ["Q BEGIN;copy t from stdin"]
    );
    assert_eq!(peers.client(&["d early"]), NOTHING);
    assert_eq!(peers.server(&["C BEGIN", "G \0\0\0"]), ["G"]);
    assert_eq!(peers.asked(), ["d"]);
    assert_eq!(peers.client(&["d row", "d row", "c"]), ["d", "d", "c"]);
    assert_eq!(peers.client(&["Q select 1"]), NOTHING);
    assert_eq!(peers.server(&["C COPY 3", "Z T"]), ["C COPY 3", "Z T"]);
    assert_eq!(peers.asked(), ["Q select 1"]);
}

/// A COPY by Execute, as tokio-postgres sends it: the server ignores the Sync before the rows, and answers
/// the one after them. Otherwise the wire would wait for an answer to each Sync, and delay every later
/// answer of its own.
#[test]
fn copy_in_by_execute_is_one_exchange() {
    for end in ["c", "f no"] {
        let mut peers = Peers::new(named());
        peers.learns("s1", "copy t from stdin", "n");
        peers.client(&["B s1", "E", "S"]);
        assert_eq!(peers.server(&["2", "G \0\0\0"]), ["2", "G"]);
        assert_eq!(peers.client(&["d row"]), ["d"]);
        assert_eq!(peers.client(&[end, "S"]), [&end[..1], "S"]);
        assert!(peers.observed.is_working());
        assert_eq!(peers.server(&["C COPY 1", "Z I"]), ["C COPY 1", "Z I"]);
        assert!(!peers.observed.is_working());
        assert_eq!(peers.local(&["C s1", "S"]), ["3", "Z I"]);
    }
    // If the COPY is refused before it begins, both are answered.
    let mut peers = Peers::new(named());
    peers.learns("s1", "copy t from stdin", "n");
    peers.client(&["B s1", "E", "S"]);
    assert_eq!(
        peers.server(&["2", "E 42501", "Z I"]),
        ["2", "E 42501", "Z I"]
    );
    assert_eq!(peers.client(&["f no", "S"]), ["f", "S"]);
    assert_eq!(peers.server(&["Z I"]), ["Z I"]);
    assert_eq!(peers.local(&["C s1", "S"]), ["3", "Z I"]);
}

/// diesel-async has no COPY: it reports the server's readiness for rows as an error, and goes on. The
/// server would then take the next statement for a row.
#[test]
fn a_copy_that_its_client_abandons_is_ended_before_the_next_request() {
    let mut peers = Peers::new(named());
    peers.local(&["Q BEGIN"]);
    peers.client(&["Q copy t from stdin"]);
    peers.server(&["C BEGIN", "G \0\0\0"]);
    assert_eq!(peers.client(&["Q select 1"]), ["f"]);
    // The transaction in which it began is over when that is answered. What follows waits as usual.
    assert_eq!(peers.server(&["E 57014", "Z E"]), ["E 57014", "Z E"]);
    assert_eq!(peers.asked(), ["Q select 1"]);

    let mut peers = Peers::new(named());
    peers.learns("s1", "copy t from stdin", "n");
    peers.client(&["B s1", "E", "S"]);
    peers.server(&["2", "G \0\0\0"]);
    let next = ["P s2 update t", "D s2", "S"];
    assert_eq!(peers.client(&next), ["f", "S"]);
    // PgBouncer loses requests that were sent before the end of a COPY.
    assert_eq!(peers.server(&["E 57014", "Z I"]), ["E 57014", "Z I"]);
    assert_eq!(peers.asked(), next);
    let told = peers.server(&["1", "t", "n", "Z I"]);
    assert_eq!(told, ["1", "t", "n", "Z I"]);
    // A client that says goodbye gets no answer.
    peers.client(&["Q copy t from stdin"]);
    peers.server(&["G \0\0\0"]);
    assert_eq!(peers.client(&["X"]), ["X"]);
}

#[test]
fn copy_out_passes() {
    let mut peers = Peers::new(named());
    peers.client(&["Q copy t to stdout"]);
    let answers = ["H \0\0\0", "d row", "d row", "c", "C COPY 2", "Z I"];
    assert_eq!(
        peers.server(&answers),
        ["H", "d", "d", "c", "C COPY 2", "Z I"]
    );
    assert_eq!(peers.local(&["Q BEGIN"]), ["C BEGIN", "Z T"]);
}

/// At the end of the rows, PgBouncer forgets what the client has asked meanwhile.
#[test]
fn nothing_is_asked_before_the_rows_of_a_copy_have_ended() {
    let mut peers = Peers::new(named());
    peers.client(&["Q copy t to stdout"]);
    assert_eq!(peers.server(&["H \0\0\0", "d row"]), ["H", "d"]);
    assert_eq!(peers.client(&["Q select 1"]), NOTHING);
    assert_eq!(
        peers.server(&["d row", "c", "C COPY 2", "Z I"]),
        ["d", "c", "C COPY 2", "Z I"]
    );
    assert_eq!(peers.asked(), ["Q select 1"]);
}

/// What a watcher was told: how many rows, and whether time passed before the rows and during them.
type Seen = Arc<Mutex<Vec<(u64, bool, bool)>>>;

fn watched() -> (Peers, Seen) {
    let peers = Peers::new(named());
    let seen = Seen::default();
    let noted = Arc::clone(&seen);
    peers
        .steering
        .set_watcher(Box::new(move |command: &Command<'_>| {
            let streams = command.executing < command.duration;
            let executes = !command.executing.is_zero();
            let mut noted = noted.lock().unwrap();
            noted.push((command.rows, executes, streams));
        }));
    (peers, seen)
}

/// Time passes.
fn tick() {
    let now = Instant::now();
    while now.elapsed().is_zero() {}
}

/// For COPY TO the time is divided at its first row, and not at the announcement of rows. For COPY FROM it
/// is divided where the server is ready for rows. Each of several commands in one query has its own
/// division.
#[test]
fn the_time_of_a_copy_is_parted_where_its_rows_begin() {
    let (mut peers, seen) = watched();
    let out = "Q copy (select 1) to stdout; copy (select 1 where false) to stdout";
    peers.client(&[out]);
    tick();
    peers.server(&["H \0\0\0", "d row", "d row", "c"]);
    tick();
    peers.server(&["C COPY 2", "H \0\0\0", "c"]);
    tick();
    peers.server(&["C COPY 0", "Z I"]);
    assert_eq!(*seen.lock().unwrap(), [(2, true, true), (0, true, false)]);

    for sent in ["simple", "extended"] {
        let (mut peers, seen) = watched();
        match sent {
            "simple" => peers.client(&["Q copy t from stdin"]),
            _ => {
                peers.learns("s1", "copy t from stdin", "n");
                peers.client(&["B s1", "E", "S"])
            }
        };
        tick();
        let mut ready = vec!["G \0\0\0"];
        if sent == "extended" {
            ready.insert(0, "2");
        }
        peers.server(&ready);
        peers.client(&["d row", "d row", "d row", "c"]);
        tick();
        peers.server(&["C COPY 3", "Z I"]);
        assert_eq!(*seen.lock().unwrap(), [(3, true, true)], "{sent}");
    }
    // A COPY that is refused has no rows.
    let (mut peers, seen) = watched();
    peers.client(&["Q copy t from stdin"]);
    tick();
    peers.server(&["E 42501", "Z I"]);
    assert_eq!(*seen.lock().unwrap(), [(0, true, false)]);
}
