//! BEGIN in the first statement's batch, and the end of transactions that have only read.

use super::named;
use super::peers::{NOTHING, Peers};
use crate::TransactionStatus;
use crate::conversation::replies::server_sent;
use crate::rules::Rules;

const BEGUN: [&str; 2] = ["C BEGIN", "Z T"];
const READ_ONLY: &str = "Q BEGIN TRANSACTION READ ONLY";

/// The client has prepared two statements: `s1` updates, `s2` selects.
fn peers(rules: Rules) -> Peers {
    let mut peers = Peers::new(rules);
    peers.learns("s1", "update t", "n");
    peers.learns("s2", "select 1", "T a:23");
    peers
}

/// BEGIN travels with the first request, of any kind.
#[test]
fn begin_travels_with_the_first_statement() {
    let mut execute = peers(named());
    assert_eq!(execute.local(&["Q BEGIN"]), BEGUN);
    assert_eq!(execute.status(), TransactionStatus::InTransaction);
    let asked = execute.client(&["B s1", "E", "S"]);
    assert_eq!(asked, ["P - BEGIN", "B -", "E", "B s1", "E", "S"]);
    let told = execute.server(&["1", "2", "C BEGIN", "2", "C UPDATE 1", "Z T"]);
    assert_eq!(told, ["2", "C UPDATE 1", "Z T"]);
    assert_eq!(execute.client(&["Q COMMIT"]), ["Q COMMIT"]);
    assert!(execute.observed.is_committing());
    assert_eq!(execute.server(&["C COMMIT", "Z I"]), ["C COMMIT", "Z I"]);

    let mut prepare = peers(named());
    prepare.local(&["Q BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE"]);
    let asked = prepare.client(&["P s3 delete from t", "D s3", "S"]);
    let begin = "P - BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE";
    assert_eq!(
        asked,
        [begin, "B -", "E", "P s3 delete from t", "D s3", "S"]
    );
    let told = prepare.server(&["1", "2", "C BEGIN", "1", "t", "n", "Z T"]);
    assert_eq!(told, ["1", "t", "n", "Z T"]);

    let mut query = peers(named());
    query.local(&["Q START TRANSACTION;"]);
    assert_eq!(
        query.client(&["Q savepoint a"]),
        ["Q START TRANSACTION;savepoint a"]
    );
    let told = query.server(&["C START TRANSACTION", "C SAVEPOINT", "Z T"]);
    assert_eq!(told, ["C SAVEPOINT", "Z T"]);
    assert_eq!(query.client(&["Q rollback to a"]), ["Q rollback to a"]);
}

/// The wire answers for a known text as usual, and BEGIN keeps waiting.
#[test]
fn what_the_wire_answers_does_not_begin_the_transaction() {
    let mut peers = peers(named());
    peers.local(&["Q BEGIN"]);
    assert_eq!(
        peers.local(&["P s3 update t", "D s3", "S"]),
        ["1", "t", "n", "Z T"]
    );
    assert_eq!(peers.local(&["C s3", "S"]), ["3", "Z T"]);
    assert_eq!(peers.local(&["Q "]), ["I", "Z T"]);
}

#[test]
fn begin_and_commit_cost_nothing() {
    let mut peers = peers(named());
    for (end, tag) in [
        ("Q COMMIT", "C COMMIT"),
        ("Q ROLLBACK", "C ROLLBACK"),
        ("Q end work;", "C COMMIT"),
    ] {
        assert_eq!(peers.local(&["Q BEGIN"]), BEGUN);
        assert_eq!(peers.local(&[end]), [tag, "Z I"]);
        assert_eq!(peers.status(), TransactionStatus::Idle);
    }
    // `begin_test_transaction` never commits.
    peers.local(&["Q BEGIN"]);
    assert_eq!(peers.client(&["X"]), ["X"]);
}

/// Otherwise the second insert would run alone and stay.
#[test]
fn after_a_begin_that_failed_nothing_reaches_the_server() {
    let answers: [(&[&str], &[&str]); 3] = [
        (&["B s1", "E", "S"], &["E 25006", "Z I"]),
        (&["P s3 delete from t", "D s3", "S"], &["E 25006", "Z I"]),
        (&["Q insert into t values (1)"], &["E 25006", "Z I"]),
    ];
    for (statement, answer) in answers {
        let mut peers = peers(named());
        peers.local(&["Q BEGIN TRANSACTION READ WRITE"]);
        assert_ne!(peers.client(statement), NOTHING);
        assert_eq!(peers.server(answer), ["E 25006", "Z E"]);
        assert_eq!(peers.status(), TransactionStatus::Failed);
        for next in [
            &["B s1", "E", "S"][..],
            &["P s4 update t", "D s4", "S"],
            &["Q insert into t values (2)"],
            &["Q savepoint a"],
            &["Q rollback to a"],
            &["B s1", "D s1", "E", "S"],
        ] {
            assert_eq!(peers.local(next), ["E 25P02", "Z E"], "{next:?}");
            assert_eq!(
                peers.observed.last_error().unwrap().sqlstate().code(),
                "25P02"
            );
        }
        assert_eq!(peers.local(&["C s1", "S"]), ["3", "Z E"]);
        assert_eq!(peers.local(&["S"]), ["Z E"]);
        assert_eq!(peers.local(&["Q "]), ["I", "Z E"]);
        assert_eq!(peers.local(&["f no"]), NOTHING);
        // A Flush sends nothing either: the answer comes with the Sync.
        assert_eq!(peers.local(&["B s2", "E", "H"]), NOTHING);
        assert_eq!(peers.local(&["S"]), ["E 25P02", "Z E"]);
        assert_eq!(peers.local(&["Q COMMIT"]), ["C ROLLBACK", "Z I"]);
        assert_eq!(peers.observed.refused_commits(), 1);
        assert_eq!(peers.client(&["B s2", "E", "S"]), ["B s2", "E", "S"]);
    }
}

/// If only the statement fails, the server's transaction must still be ended.
#[test]
fn a_statement_that_fails_in_begins_batch_is_no_failed_begin() {
    let mut extended = peers(named());
    extended.local(&["Q BEGIN"]);
    extended.client(&["B s1", "E", "S"]);
    let told = extended.server(&["1", "2", "C BEGIN", "2", "E 23505", "Z E"]);
    assert_eq!(told, ["2", "E 23505", "Z E"]);
    assert_eq!(extended.client(&["Q ROLLBACK"]), ["Q ROLLBACK"]);

    let mut simple = peers(named());
    simple.local(&["Q BEGIN"]);
    simple.client(&["Q insert into t values (1)"]);
    assert_eq!(
        simple.server(&["C BEGIN", "E 23505", "Z E"]),
        ["E 23505", "Z E"]
    );
    assert_eq!(simple.client(&["Q COMMIT"]), ["Q COMMIT"]);
    simple.server(&["C ROLLBACK", "Z I"]);
    assert_eq!(simple.observed.refused_commits(), 1);

    // With a syntax error not even BEGIN has run: PostgreSQL parses the whole text first.
    simple.local(&["Q BEGIN"]);
    simple.client(&["Q selec"]);
    assert_eq!(simple.server(&["E 42601", "Z I"]), ["E 42601", "Z E"]);
    assert_eq!(simple.local(&["Q ROLLBACK"]), ["C ROLLBACK", "Z I"]);
}

/// The position of an error counts from the start of the client's own text.
#[test]
fn an_errors_position_is_in_the_clients_text() {
    let mut peers = peers(named());
    peers.local(&["Q BEGIN"]);
    assert_eq!(peers.client(&["Q selec"]), ["Q BEGIN;selec"]);
    let mut error = b"E\0\0\0\x19SERROR\0C42601\0P7\0\0".to_vec();
    let length = error.len() as u8 - 1;
    error[4] = length;
    assert_eq!(server_sent(&mut peers.conversation, &mut error), Ok(0));
    let told = peers.at_client();
    assert_eq!(told[5..], *b"SERROR\0C42601\0P1\0\0");
    assert_eq!(told[4], length);
}

#[test]
fn a_pipelined_statement_waits_for_begins_answer() {
    let mut peers = peers(named());
    peers.local(&["Q BEGIN"]);
    assert_eq!(peers.client(&["B s1", "E", "S", "B s1", "E", "S"]).len(), 6);
    assert_eq!(peers.client(&["Q select 2", "C s1", "S"]), NOTHING);
    let told = peers.server(&["1", "2", "C BEGIN", "2", "C UPDATE 1", "Z T"]);
    assert_eq!(told, ["2", "C UPDATE 1", "Z T"]);
    assert_eq!(peers.asked(), ["B s1", "E", "S", "Q select 2"]);
    let told = peers.server(&["2", "C UPDATE 1", "Z T", "C SELECT 1", "Z T"]);
    assert_eq!(
        told,
        ["2", "C UPDATE 1", "Z T", "C SELECT 1", "Z T", "3", "Z T"]
    );
}

/// The ReadyForQuery that lets the statements go may come in pieces.
#[test]
fn a_pipelined_statement_goes_on_after_an_answer_in_pieces() {
    let mut peers = peers(named());
    peers.local(&["Q BEGIN"]);
    peers.client(&["B s1", "E", "S", "B s1", "E", "S", "C s1", "S"]);
    for text in ["1", "2", "C BEGIN", "2", "C UPDATE 1", "Z T"] {
        for byte in super::peers::backend(text) {
            server_sent(&mut peers.conversation, &mut [byte]).unwrap();
        }
    }
    assert_eq!(peers.asked(), ["B s1", "E", "S"]);
    peers.server(&["2", "C UPDATE 1"]);
    for byte in super::peers::backend("Z T") {
        server_sent(&mut peers.conversation, &mut [byte]).unwrap();
    }
    assert!(peers.told().ends_with(&["3".to_owned(), "Z T".to_owned()]));
}

/// A BEGIN is not held back if it is unclear what it would mean.
#[test]
fn begin_is_sent_at_once_where_something_is_unanswered_or_it_is_not_alone() {
    let mut peers = peers(named());
    peers.client(&["Q select 1"]);
    assert_eq!(peers.client(&["Q BEGIN"]), ["Q BEGIN"]);
    peers.server(&["C SELECT 1", "Z I", "C BEGIN", "Z T"]);
    assert_eq!(peers.client(&["Q BEGIN"]), ["Q BEGIN"]);
    peers.server(&["C BEGIN", "Z T"]);
    peers.client(&["Q ROLLBACK"]);
    peers.server(&["C ROLLBACK", "Z I"]);
    assert_eq!(peers.client(&["Q BEGIN; select 1"]), ["Q BEGIN; select 1"]);
}

fn reads(peers: &mut Peers) {
    assert_eq!(peers.local(&[READ_ONLY]), BEGUN);
    peers.client(&["B s2", "E", "S"]);
    peers.server(&["1", "2", "C BEGIN", "2", "D one", "C SELECT 1", "Z T"]);
}

/// `db.read` costs one round trip for one statement, in a loop as well.
#[test]
fn the_commit_of_a_transaction_that_only_read_is_not_waited_for() {
    let mut peers = peers(named());
    reads(&mut peers);
    assert_eq!(peers.client(&["Q COMMIT"]), ["Q COMMIT"]);
    assert_eq!(peers.told(), ["C COMMIT", "Z I"]);
    assert_eq!(peers.status(), TransactionStatus::Idle);
    assert!(!peers.observed.is_working() && !peers.observed.is_committing());
    // The next transaction begins before that COMMIT is answered. Nobody waits for its COMMIT either.
    assert_eq!(peers.local(&[READ_ONLY]), BEGUN);
    assert_eq!(peers.local(&["P s3 select 1", "D s3", "S"])[3], "Z T");
    assert_eq!(peers.client(&["B s2", "E", "S"]).len(), 6);
    assert_eq!(peers.server(&["C COMMIT", "Z I"]), NOTHING);
    let told = peers.server(&["1", "2", "C BEGIN", "2", "D one", "C SELECT 1", "Z T"]);
    assert_eq!(told, ["2", "D one", "C SELECT 1", "Z T"]);
    peers.client(&["Q COMMIT"]);
    assert_eq!(peers.told(), ["C COMMIT", "Z I"]);
    peers.server(&["C COMMIT", "Z I"]);
    assert!(!peers.observed.is_spoilt());
}

#[test]
fn a_silent_commit_that_is_answered_otherwise_spoils_the_connection() {
    for answer in [&["C ROLLBACK", "Z I"][..], &["E 57P01", "Z I"], &["Z I"]] {
        let mut peers = peers(named());
        reads(&mut peers);
        peers.client(&["Q COMMIT"]);
        peers.told();
        assert_eq!(peers.server(answer), NOTHING);
        assert!(peers.observed.is_spoilt(), "{answer:?}");
    }
}

/// The client waits for COMMIT at SERIALIZABLE, in a failed transaction, and after other statements.
#[test]
fn every_other_commit_is_waited_for() {
    let waits = |peers: &mut Peers| {
        assert_eq!(peers.client(&["Q COMMIT"]), ["Q COMMIT"]);
        assert_eq!(peers.told(), NOTHING);
        assert!(peers.observed.is_committing());
    };
    for begin in [
        "Q BEGIN",
        "Q BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
        "Q BEGIN READ WRITE",
    ] {
        let mut peers = peers(named());
        peers.local(&[begin]);
        peers.client(&["B s2", "E", "S"]);
        peers.server(&["1", "2", "C BEGIN", "2", "D one", "C SELECT 1", "Z T"]);
        waits(&mut peers);
    }
    let serializable = Rules {
        serializable_by_default: true,
        ..named()
    };
    let mut by_default = peers(serializable);
    reads(&mut by_default);
    waits(&mut by_default);

    for text in [
        "notify a",
        "listen a",
        "set local lock_timeout = 1",
        "declare c cursor with hold for select 1",
        "create temp table a ()",
        "select 1",
    ] {
        let mut simple = peers(named());
        reads(&mut simple);
        simple.client(&[&format!("Q {text}")]);
        simple.server(&["C ANY", "Z T"]);
        waits(&mut simple);
    }
    for text in [
        "select pg_notify('a', 'b')",
        "select set_config('a.b', 'c', false)",
        "fetch 1 from c",
    ] {
        let mut prepared = peers(named());
        prepared.learns("s3", text, "T a:23");
        reads(&mut prepared);
        prepared.client(&["B s3", "E", "S"]);
        prepared.server(&["2", "D one", "C SELECT 1", "Z T"]);
        waits(&mut prepared);
    }
    let mut failed = peers(named());
    reads(&mut failed);
    failed.client(&["B s2", "E", "S"]);
    failed.server(&["2", "E 22012", "Z E"]);
    waits(&mut failed);

    let mut unanswered = peers(named());
    reads(&mut unanswered);
    unanswered.client(&["B s2", "E", "S"]);
    waits(&mut unanswered);
}

/// If the caller is cancelled between the statement and COMMIT, or earlier, the pool sees the status.
#[test]
fn an_abandoned_transaction_shows_in_the_status() {
    let mut peers = peers(named());
    peers.local(&["Q BEGIN"]);
    assert_eq!(peers.status(), TransactionStatus::InTransaction);
    peers.client(&["B s1", "E", "S"]);
    assert!(peers.observed.is_working());
    peers.server(&["1", "2", "C BEGIN", "2", "C UPDATE 1", "Z T"]);
    assert_eq!(peers.status(), TransactionStatus::InTransaction);
}

/// `defer_begin = false`
#[test]
fn begin_and_commit_are_sent_as_they_are_asked_for() {
    let mut peers = peers(Rules {
        defer_begin: false,
        ..named()
    });
    assert_eq!(peers.client(&[READ_ONLY]), [READ_ONLY]);
    assert_eq!(peers.server(&["C BEGIN", "Z T"]), BEGUN);
    assert_eq!(peers.client(&["B s2", "E", "S"]), ["B s2", "E", "S"]);
    peers.server(&["2", "D one", "C SELECT 1", "Z T"]);
    assert_eq!(peers.client(&["Q COMMIT"]), ["Q COMMIT"]);
    assert_eq!(peers.told(), NOTHING);
}

/// case R27: the timeouts of one transaction travel with its BEGIN, and cost no round trip.
#[test]
fn a_transactions_own_timeouts_travel_with_its_begin() {
    let opening =
        "Q BEGIN READ WRITE; SET LOCAL statement_timeout = 250; SET LOCAL lock_timeout = 5";
    let mut execute = peers(named());
    assert_eq!(execute.local(&[opening]), BEGUN);
    let asked = execute.client(&["B s1", "E", "S"]);
    let statement = |sql: &str| [format!("P - {sql}"), "B -".to_owned(), "E".to_owned()];
    let expected = [
        statement("BEGIN READ WRITE"),
        statement("SET LOCAL statement_timeout = 250"),
        statement("SET LOCAL lock_timeout = 5"),
    ];
    assert_eq!(asked[..9], expected.concat()[..]);
    assert_eq!(asked[9..], ["B s1", "E", "S"]);
    let told = execute.server(&[
        "1",
        "2",
        "C BEGIN",
        "1",
        "2",
        "C SET",
        "1",
        "2",
        "C SET",
        "2",
        "C UPDATE 1",
        "Z T",
    ]);
    assert_eq!(told, ["2", "C UPDATE 1", "Z T"]);

    let mut query = peers(named());
    query.local(&[opening]);
    assert_eq!(
        query.client(&["Q savepoint a"]),
        [
            "Q BEGIN READ WRITE;SET LOCAL statement_timeout = 250;SET LOCAL lock_timeout = 5;savepoint a"
        ]
    );
    let told = query.server(&["C BEGIN", "C SET", "C SET", "C SAVEPOINT", "Z T"]);
    assert_eq!(told, ["C SAVEPOINT", "Z T"]);

    let mut undeferred = peers(Rules {
        defer_begin: false,
        ..named()
    });
    assert_eq!(undeferred.client(&[opening]), [opening]);
}
