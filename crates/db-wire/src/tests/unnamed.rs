//! Behind a pooler that has not been proven to keep names.

use super::peers::{NOTHING, Peers};
use super::{named, unnamed};
use crate::TransactionStatus;

const SELECT: &str = "select * from t";

/// Everything goes in one Sync, without a name.
#[test]
fn everything_goes_in_one_batch_without_a_name() {
    let mut peers = Peers::new(unnamed());
    let asked = peers.client(&["P s1 select * from t", "D s1", "S"]);
    assert_eq!(asked, ["P - select * from t", "D -", "S"]);
    let told = peers.server(&["1", "t", "T a:23", "Z I"]);
    assert_eq!(told, ["1", "t", "T", "Z I"]);
    for _ in 0..2 {
        let asked = peers.client(&["B s1", "E", "S"]);
        assert_eq!(asked, ["P - select * from t", "B -", "D -", "E", "S"]);
        let told = peers.server(&["1", "2", "T a:23", "D one", "C SELECT 1", "Z I"]);
        assert_eq!(told, ["2", "D one", "C SELECT 1", "Z I"]);
    }
    assert_eq!(
        peers.local(&["P s2 select * from t", "D s2", "S"]),
        ["1", "t", "T", "Z I"]
    );
    // A portal takes its statement along. There cannot be two unnamed statements.
    let asked = peers.client(&["B s1>p", "S"]);
    assert_eq!(asked, ["P - select * from t", "D -", "B ->p", "S"]);
    peers.server(&["1", "2", "T a:23", "Z I"]);
    peers.learns("s3", "update t", "n");
    assert_eq!(peers.local(&["B s1>p", "B s3>q", "S"]), ["E 0A000", "Z I"]);
    assert_eq!(peers.local(&["C s1", "S"]), ["3", "Z I"]);
}

/// Otherwise an int4 that became a float4 would read as 1065353216.
#[test]
fn a_row_of_another_description_never_passes() {
    let mut peers = Peers::new(unnamed());
    peers.learns("s1", SELECT, "T a:23");
    peers.client(&["B s1", "E", "S"]);
    let told = peers.server(&["1", "2", "T a:700", "D one", "D two", "C SELECT 2", "Z I"]);
    assert_eq!(told, ["2", "E 0A000", "Z I"]);
    assert_eq!(
        peers.observed.last_error().unwrap().sqlstate().code(),
        "0A000"
    );
    assert_eq!(peers.observed.stale_statements(), 0);
    // The text is forgotten, so the next name is described again.
    let asked = peers.client(&["P s2 select * from t", "D s2", "S"]);
    assert_eq!(asked, ["P - select * from t", "D -", "S"]);
    assert_eq!(
        peers.server(&["1", "t", "T a:700", "Z I"]),
        ["1", "t", "T", "Z I"]
    );
    peers.client(&["B s2", "E", "S"]);
    let told = peers.server(&["1", "2", "T a:700", "D one", "C SELECT 1", "Z I"]);
    assert_eq!(told, ["2", "D one", "C SELECT 1", "Z I"]);
}

/// Rows of a server that answers in the wrong order are not decoded either.
#[test]
fn a_row_without_a_description_never_passes() {
    for answer in [
        &["2", "D one", "C SELECT 1", "Z I"][..],
        &["1", "t", "D one", "T a:23", "2", "C SELECT 1", "Z I"],
        &["D one", "1", "2", "T a:23", "D two", "C SELECT 1", "Z I"],
        &["C SELECT 1", "Z I"],
    ] {
        let mut peers = Peers::new(unnamed());
        peers.learns("s1", SELECT, "T a:23");
        peers.client(&["B s1", "E", "S"]);
        let told = peers.server(answer);
        assert!(
            !told.iter().any(|message| message.starts_with('D')),
            "{told:?}"
        );
        assert_eq!(told[told.len() - 2..], ["E 0A000", "Z I"], "{answer:?}");
    }
}

/// The client is told that the statement failed, so that its transaction has to fail as well.
#[test]
fn a_statement_called_failed_fails_its_transaction() {
    for (end, refused) in [("Q COMMIT", 1), ("Q ROLLBACK", 0)] {
        let mut peers = Peers::new(unnamed());
        peers.learns("s1", SELECT, "T a:23");
        peers.local(&["Q BEGIN"]);
        peers.client(&["B s1", "E", "S"]);
        let told = peers.server(&[
            "1",
            "2",
            "C BEGIN",
            "1",
            "2",
            "T a:25",
            "D one",
            "C SELECT 1",
            "Z T",
        ]);
        assert_eq!(told, ["2", "E 0A000", "Z E"]);
        assert_eq!(peers.status(), TransactionStatus::Failed);
        assert_eq!(
            peers.local(&["Q insert into t values (1)"]),
            ["E 25P02", "Z E"]
        );
        assert_eq!(peers.client(&[end]), ["Q ROLLBACK"]);
        assert_eq!(peers.server(&["C ROLLBACK", "Z I"]), ["C ROLLBACK", "Z I"]);
        assert_eq!(peers.observed.refused_commits(), refused);
        assert_eq!(peers.status(), TransactionStatus::Idle);
    }
    // After going back to a savepoint, the transaction is healthy again.
    let mut peers = Peers::new(unnamed());
    peers.learns("s1", SELECT, "T a:23");
    peers.local(&["Q BEGIN"]);
    peers.client(&["Q savepoint a"]);
    peers.server(&["C BEGIN", "C SAVEPOINT", "Z T"]);
    peers.client(&["B s1", "E", "S"]);
    let told = peers.server(&["1", "2", "T a:25", "D one", "C SELECT 1", "Z T"]);
    assert_eq!(told, ["2", "E 0A000", "Z E"]);
    assert_eq!(peers.client(&["Q ROLLBACK TO a"]), ["Q ROLLBACK TO a"]);
    assert_eq!(peers.server(&["C ROLLBACK", "Z T"]), ["C ROLLBACK", "Z T"]);
    assert_eq!(peers.client(&["Q COMMIT"]), ["Q COMMIT"]);
}

/// One text may run on the tables of two tenants, and a row may have one column more than the
/// client was told.
#[test]
fn another_table_and_more_columns_fit() {
    let mut peers = Peers::new(unnamed());
    peers.learns("s1", SELECT, "T a:23");
    peers.client(&["B s1", "E", "S"]);
    let answer = ["1", "2", "T a:23,b:25", "D one,two", "C SELECT 1", "Z I"];
    let told = peers.server(&answer);
    assert_eq!(told, ["2", "D one", "C SELECT 1", "Z I"]);
}

/// If a held statement fails, the client gets the server's own error.
#[test]
fn an_error_of_the_statements_own_passes() {
    let mut peers = Peers::new(unnamed());
    peers.learns("s1", SELECT, "T a:23");
    peers.client(&["B s1", "E", "S"]);
    assert_eq!(peers.server(&["E 42P01", "Z I"]), ["E 42P01", "Z I"]);
    let asked = peers.client(&["B s1", "E", "S"]);
    assert_eq!(asked, ["P - select * from t", "B -", "D -", "E", "S"]);
    let told = peers.server(&["1", "2", "T a:23", "E 22012", "Z I"]);
    assert_eq!(told, ["2", "E 22012", "Z I"]);
}

/// The rules are set after login, and may change while the pool finds out what is at the other end.
#[test]
fn what_was_prepared_under_other_rules_is_not_confused() {
    let mut peers = Peers::new(unnamed());
    peers.learns("s1", SELECT, "T a:23");
    peers.steering.set_rules(named());
    assert_eq!(peers.client(&["C s1", "S"]), ["C s1", "S"]);
    peers.server(&["3", "Z I"]);
    peers.client(&["P s2 select * from t", "D s2", "S"]);
    peers.steering.set_rules(unnamed());
    peers.client(&["Q select 1"]);
    let told = peers.server(&["1", "t", "T a:23", "Z I", "C SELECT 1", "Z I"]);
    assert_eq!(told, ["1", "t", "T", "Z I", "C SELECT 1", "Z I"]);
    assert_eq!(peers.asked(), NOTHING);
}
