//! Statements that are parsed again under the name that the client holds.

use super::named;
use super::peers::{NOTHING, Peers};

/// Columns were added to the table of a statement that diesel keeps: each run has the columns that the client was told
/// of, even a run that the server does not describe again.
#[test]
fn every_run_of_a_text_with_added_columns_is_cut() {
    let mut peers = Peers::new(named());
    peers.learns("s1", "select * from t", "T a:23");
    peers.client(&["B s1", "E", "S"]);
    assert_eq!(
        peers.server(&["E 0A000 RevalidateCachedQuery", "Z I"]),
        NOTHING
    );
    assert_eq!(peers.asked(), ["C s1", "P s1 select * from t", "D s1", "S"]);
    assert_eq!(
        peers.server(&["3", "1", "t", "T a:23,b:25", "Z I"]),
        NOTHING
    );
    assert_eq!(peers.asked(), ["B s1", "E", "S"]);
    let told = peers.server(&["2", "D one,two", "C SELECT 1", "Z I"]);
    assert_eq!(told, ["2", "D one", "C SELECT 1", "Z I"]);
    assert_eq!(peers.client(&["B s1", "E", "S"]), ["B s1", "E", "S"]);
    let told = peers.server(&["2", "D one,two", "C SELECT 1", "Z I"]);
    assert_eq!(told, ["2", "D one", "C SELECT 1", "Z I"]);
    // The wire refuses a pipeline of another shape, and does not cut its rows.
    assert_eq!(peers.client(&["B s1>p", "B s1>q", "S"])[0], "D s1");
    let told = peers.server(&["t", "T a:23,b:25", "2", "2", "Z I"]);
    assert_eq!(told, ["E 0A000", "Z I"]);
}

/// A Parse that fails with its transaction has prepared nothing.
#[test]
fn a_text_that_could_not_be_parsed_again_is_parsed_at_its_next_use() {
    let mut peers = Peers::new(named());
    peers.learns("s1", "savepoint a", "n");
    peers.client(&["Q set local time zone 5"]);
    peers.server(&["C SET", "Z T"]);
    let again = ["P s1 savepoint a", "B s1", "E", "S"];
    assert_eq!(
        peers.client(&["B s1", "E", "S"]),
        [&["C s1"][..], &again].concat()
    );
    assert_eq!(peers.server(&["3", "E 25P02", "Z E"]), ["E 25P02", "Z E"]);
    peers.client(&["Q select 1"]);
    peers.server(&["C SELECT 1", "Z T"]);
    let asked = peers.client(&["B s1", "E", "S"]);
    assert_eq!(asked[asked.len() - 4..], again);
}

/// A rollback to a savepoint undoes a SET, whether it is sent as a simple query or kept by diesel.
#[test]
fn a_setting_that_a_savepoint_takes_back_is_followed() {
    const RUN: [&str; 3] = ["B s1", "E", "S"];
    const AGAIN: [&str; 5] = ["P s1 select 'now'::date", "B s1", "D -", "E", "S"];
    for kept in [false, true] {
        let mut peers = Peers::new(named());
        peers.learns("s1", "select 'now'::date", "T a:1082");
        peers.learns("s2", "rollback to a", "n");
        peers.client(&["Q set local time zone 5"]);
        peers.server(&["C SET", "Z T"]);
        assert_eq!(peers.client(&RUN), [&["C s1", "C s2"], &AGAIN[..]].concat());
        peers.server(&["3", "3", "1", "2", "T a:1082", "D one", "C SELECT 1", "Z T"]);
        assert_eq!(peers.client(&RUN), RUN);
        peers.server(&["2", "D one", "C SELECT 1", "Z T"]);
        if kept {
            peers.client(&["B s2", "E", "S"]);
            peers.server(&["1", "2", "C ROLLBACK", "Z T"]);
        } else {
            peers.client(&["Q rollback to a"]);
            peers.server(&["C ROLLBACK", "Z T"]);
        }
        let asked = peers.client(&RUN);
        assert_eq!(asked[asked.len() - 5..], AGAIN, "kept: {kept}");
    }
}
