//! Queries of a READ ONLY transaction that need no transaction.

use super::named;
use super::peers::{NOTHING, Peers};
use crate::TransactionStatus;
use crate::rules::Rules;

fn committed() -> Rules {
    Rules {
        read_committed_by_default: true,
        ..named()
    }
}

const SELECT: &str = "select v from t where id = $1";

/// One query of a read is one statement on the server: neither BEGIN nor COMMIT.
#[test]
fn a_query_alone_takes_no_transaction_along() {
    let mut peers = Peers::new(committed());
    peers.learns("s1", SELECT, "T v:23");
    assert_eq!(peers.local(&["Q BEGIN READ ONLY"]), ["C BEGIN", "Z T"]);
    for _ in 0..2 {
        assert_eq!(peers.client(&["B s1", "E", "S"]), ["B s1", "E", "S"]);
        let told = peers.server(&["2", "D one", "C SELECT 1", "Z I"]);
        assert_eq!(told, ["2", "D one", "C SELECT 1", "Z T"]);
    }
    assert_eq!(peers.client(&["Q select w from u"]), ["Q select w from u"]);
    peers.server(&["T w:23", "D one", "C SELECT 1", "Z I"]);
    // A new text is prepared outside the transaction too.
    let asked = peers.client(&["P s2 select x from t", "D s2", "S"]);
    assert_eq!(asked, ["P s2 select x from t", "D s2", "S"]);
    assert_eq!(
        peers.server(&["1", "t", "T x:23", "Z I"]),
        ["1", "t", "T", "Z T"]
    );
    assert_eq!(peers.local(&["Q COMMIT"]), ["C COMMIT", "Z I"]);
    assert_eq!(peers.status(), TransactionStatus::Idle);
    assert!(!peers.observed.is_working());
}

/// BEGIN goes out before the first statement that needs it, and always as READ ONLY.
#[test]
fn begin_goes_out_before_what_needs_it() {
    for text in [
        "select now()",
        "select * from t for update",
        "select pay()",
        "select 'today'::date",
        "declare c cursor for select 1",
        "savepoint a",
        "insert into t values (1)",
        "set local work_mem = 5",
    ] {
        let mut peers = Peers::new(committed());
        peers.learns("s1", SELECT, "T v:23");
        peers.local(&["Q BEGIN READ ONLY"]);
        peers.client(&["B s1", "E", "S"]);
        peers.server(&["2", "D one", "C SELECT 1", "Z I"]);
        let asked = peers.client(&[&format!("Q {text}")]);
        assert_eq!(asked, [format!("Q BEGIN READ ONLY;{text}")]);
        peers.server(&["C BEGIN", "C ANY", "Z T"]);
        // Now it is open, and every query is part of it.
        assert_eq!(peers.client(&["B s1", "E", "S"]), ["B s1", "E", "S"]);
        peers.server(&["2", "D one", "C SELECT 1", "Z T"]);
        assert_eq!(peers.status(), TransactionStatus::InTransaction);
    }
}

/// At another isolation level a query would see data that it must not see, and a transaction that may write begins as a
/// transaction.
#[test]
fn only_read_committed_and_read_only_lets_queries_go_alone() {
    let serializable = Rules {
        read_committed_by_default: false,
        serializable_by_default: true,
        ..committed()
    };
    for (rules, begin) in [
        (committed(), "BEGIN"),
        (committed(), "BEGIN READ WRITE"),
        (
            committed(),
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        ),
        (committed(), "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY"),
        (
            committed(),
            "BEGIN READ ONLY; SET LOCAL statement_timeout = 5",
        ),
        (
            serializable,
            "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
        ),
        (named(), "BEGIN READ ONLY"),
    ] {
        let mut peers = Peers::new(rules);
        peers.learns("s1", SELECT, "T v:23");
        peers.local(&[&format!("Q {begin}")]);
        let asked = peers.client(&["B s1", "E", "S"]);
        assert!(asked[0].starts_with("P - BEGIN"), "{begin}: {asked:?}");
    }
    // The holder's own setting may have changed the isolation level.
    let mut peers = Peers::new(committed());
    peers.learns("s1", SELECT, "T v:23");
    peers.client(&["Q set default_transaction_isolation = serializable"]);
    peers.server(&["C SET", "Z I"]);
    peers.local(&["Q BEGIN READ ONLY"]);
    assert!(peers.client(&["B s1", "E", "S"])[0].starts_with("P - BEGIN"));
}

/// The statements after a failed one get the answers that they would get in a transaction.
#[test]
fn a_query_that_fails_fails_its_transaction() {
    for (end, tag) in [("Q COMMIT", "C ROLLBACK"), ("Q ROLLBACK", "C ROLLBACK")] {
        let mut peers = Peers::new(committed());
        peers.learns("s1", SELECT, "T v:23");
        peers.local(&["Q BEGIN READ ONLY"]);
        peers.client(&["B s1", "E", "S"]);
        assert_eq!(peers.server(&["E 22012", "Z I"]), ["E 22012", "Z E"]);
        assert_eq!(peers.status(), TransactionStatus::Failed);
        assert_eq!(peers.local(&["B s1", "E", "S"]), ["E 25P02", "Z E"]);
        assert_eq!(peers.local(&[end]), [tag, "Z I"]);
    }
}

/// In a pipeline only queries of the same kind may follow a query that has not succeeded yet.
#[test]
fn what_needs_the_transaction_waits_for_the_queries_before_it() {
    let mut peers = Peers::new(committed());
    peers.learns("s1", SELECT, "T v:23");
    peers.local(&["Q BEGIN READ ONLY"]);
    peers.client(&["B s1", "E", "S"]);
    assert_eq!(peers.client(&["B s1", "E", "S"]), ["B s1", "E", "S"]);
    assert_eq!(peers.client(&["Q select now()", "Q COMMIT"]), NOTHING);
    peers.server(&["2", "D one", "C SELECT 1", "Z I"]);
    assert_eq!(peers.asked(), NOTHING);
    peers.server(&["2", "D one", "C SELECT 1", "Z I"]);
    assert_eq!(peers.asked(), ["Q BEGIN READ ONLY;select now()"]);
    peers.server(&["C BEGIN", "T n:1184", "D one", "C SELECT 1", "Z T"]);
    // If one had failed, everything after it would have failed too.
    let mut peers = Peers::new(committed());
    peers.learns("s1", SELECT, "T v:23");
    peers.local(&["Q BEGIN READ ONLY"]);
    peers.client(&["B s1", "E", "S", "Q select now()", "Q COMMIT"]);
    let told = peers.server(&["E 22012", "Z I"]);
    let failed = ["E 22012", "Z E", "E 25P02", "Z E", "C ROLLBACK", "Z I"];
    assert_eq!(told, failed);
}
