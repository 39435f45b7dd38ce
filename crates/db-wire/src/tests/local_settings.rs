//! Session settings behind a transaction pooler, and the statements that are refused there.

use super::peers::{NOTHING, Peers};
use super::{SET_CONFIG, SET_LOCAL, shared};
use crate::rules::{Naming, Rules};

fn settings() -> [String; 3] {
    [
        format!("P - {SET_CONFIG}"),
        "B -".to_owned(),
        "E".to_owned(),
    ]
}

/// An autocommit statement carries the settings in its own Sync. The reply does not show them.
#[test]
fn autocommit_statements_carry_the_settings() {
    let mut peers = Peers::new(shared(Naming::Unnamed));
    let asked = peers.client(&["P s1 update t", "D s1", "S"]);
    assert_eq!(asked[..3], settings());
    assert_eq!(asked[3..], ["P - update t", "D -", "S"]);
    let told = peers.server(&["1", "2", "D a", "C SELECT 1", "1", "t", "n", "Z I"]);
    assert_eq!(told, ["1", "t", "n", "Z I"]);
    let asked = peers.client(&["B s1", "E", "S"]);
    assert_eq!(asked[..3], settings());
    assert_eq!(asked[3..], ["P - update t", "B -", "E", "S"]);
    let told = peers.server(&["1", "2", "D a", "C SELECT 1", "1", "2", "C UPDATE 1", "Z I"]);
    assert_eq!(told, ["2", "C UPDATE 1", "Z I"]);

    let asked = peers.client(&["Q update u"]);
    assert_eq!(asked, [format!("Q {SET_LOCAL};update u")]);
    let told = peers.server(&["C SET", "C UPDATE 2", "Z I"]);
    assert_eq!(told, ["C UPDATE 2", "Z I"]);
    assert_eq!(peers.observed.statements(), 2);
}

/// They travel once in a transaction, in its first batch.
#[test]
fn transactions_carry_them_once() {
    let mut peers = Peers::new(Rules {
        // BEGIN is held back nevertheless, because the settings travel with it.
        defer_begin: false,
        ..shared(Naming::Named)
    });
    peers.local(&["Q BEGIN"]);
    let asked = peers.client(&["Q update t"]);
    assert_eq!(asked, [format!("Q BEGIN;{SET_LOCAL};update t")]);
    let told = peers.server(&["C BEGIN", "C SET", "C UPDATE 1", "Z T"]);
    assert_eq!(told, ["C UPDATE 1", "Z T"]);
    assert_eq!(peers.client(&["Q update t"]), ["Q update t"]);
    peers.server(&["C UPDATE 1", "Z T"]);
    peers.client(&["Q COMMIT"]);
    peers.server(&["C COMMIT", "Z I"]);

    peers.local(&["Q BEGIN READ ONLY"]);
    let asked = peers.client(&["P s1 select 1", "D s1", "S"]);
    assert_eq!(asked[..3], ["P - BEGIN READ ONLY", "B -", "E"]);
    assert_eq!(asked[3..6], [&format!("P - {SET_LOCAL}"), "B -", "E"]);
    let told = peers.server(&[
        "1", "2", "C BEGIN", "1", "2", "C SET", "1", "t", "T a:23", "Z T",
    ]);
    assert_eq!(told, ["1", "t", "T", "Z T"]);
    let asked = peers.client(&["B s1", "E", "S"]);
    assert_eq!(asked, ["B s1", "D -", "E", "S"]);
    peers.server(&["2", "T a:23", "D one", "C SELECT 1", "Z T"]);
    // With `defer_begin = false` a COMMIT is waited for.
    assert_eq!(peers.client(&["Q COMMIT"]), ["Q COMMIT"]);
    assert!(peers.observed.is_committing());
}

/// Otherwise a statement after a BEGIN with an unknown outcome would get the wrong settings.
#[test]
fn what_decides_about_the_next_settings_is_waited_for() {
    let mut peers = Peers::new(shared(Naming::Named));
    peers.client(&["Q select 1"]);
    assert_eq!(peers.client(&["Q BEGIN"]), [format!("Q {SET_LOCAL};BEGIN")]);
    assert_eq!(peers.client(&["Q select 2"]), [""; 0]);
    peers.server(&["C SELECT 1", "C SELECT 1", "Z I"]);
    assert_eq!(peers.asked(), [""; 0]);
    peers.server(&["C SELECT 1", "C BEGIN", "Z T"]);
    assert_eq!(peers.asked(), ["Q select 2"]);
}

#[test]
fn a_setting_that_fails_is_the_statements_error() {
    let mut peers = Peers::new(shared(Naming::Named));
    peers.client(&["P s1 update t", "D s1", "S"]);
    assert_eq!(peers.server(&["1", "E 22023", "Z I"]), ["E 22023", "Z I"]);
    peers.local(&["Q BEGIN"]);
    peers.client(&["Q update t"]);
    assert_eq!(
        peers.server(&["C BEGIN", "E 22023", "Z E"]),
        ["E 22023", "Z E"]
    );
    assert_eq!(peers.client(&["Q ROLLBACK"]), ["Q ROLLBACK"]);
}

/// A SET TRANSACTION may follow, so nothing before a BEGIN takes a snapshot. The server's warnings are about the
/// wire's own statements.
#[test]
fn a_prepared_begin_carries_sets_and_commit_prepared_nothing() {
    let mut peers = Peers::new(shared(Naming::Unnamed));
    peers.client(&["P s1 begin", "D s1", "S"]);
    peers.server(&["1", "2", "D a", "C SELECT 1", "1", "t", "n", "Z I"]);
    let asked = peers.client(&["B s1", "E", "S"]);
    assert_eq!(asked[..3], [&format!("P - {SET_LOCAL}"), "B -", "E"]);
    assert_eq!(asked[3..], ["P - begin", "B -", "E", "S"]);
    let told = peers.server(&["1", "2", "N", "C SET", "1", "2", "C BEGIN", "Z T"]);
    assert_eq!(told, ["2", "C BEGIN", "Z T"]);

    let timeout = ("lock_timeout".to_owned(), "5s".to_owned());
    let mut peers = Peers::new(Rules {
        local_settings: crate::LocalSettings::new(&[timeout]),
        ..shared(Naming::Unnamed)
    });
    peers.client(&["P s1 commit prepared 'x'", "D s1", "S"]);
    peers.server(&["1", "t", "n", "Z I"]);
    let asked = peers.client(&["B s1", "E", "S"]);
    assert_eq!(asked, ["P - commit prepared 'x'", "B -", "E", "S"]);
}

/// VACUUM must run alone (25001). If it needs a setting of the pool, the wire refuses it.
#[test]
fn utilities_go_bare() {
    let timeout = ("statement_timeout".to_owned(), "5s".to_owned());
    let mut peers = Peers::new(Rules {
        local_settings: crate::LocalSettings::new(&[timeout]),
        ..shared(Naming::Named)
    });
    let mut strict = Peers::new(shared(Naming::Named));
    for text in ["vacuum t", "create index concurrently i on t (a)"] {
        let query = format!("Q {text}");
        assert_eq!(peers.client(&[&query]), [query.as_str()]);
        peers.server(&["C ANY", "Z I"]);
        assert_eq!(strict.local(&[&query]), ["E 0A000", "Z I"]);
        let parse = format!("P s1 {text}");
        assert_eq!(strict.local(&[&parse, "D s1", "S"]), ["E 0A000", "Z I"]);
        let error = strict.observed.last_error().unwrap();
        assert!(error.message().contains("ALTER ROLE"), "{error}");
        assert!(error.message().contains("search_path"), "{error}");
    }
    for text in ["", "-- ping"] {
        let query = format!("Q {text}");
        let shown = if text.is_empty() { "Q -" } else { &query };
        assert_eq!(strict.client(&[&query]), [shown]);
        strict.server(&["I", "Z I"]);
    }
    // A procedure may commit if nothing comes before it. If a search_path must be set, it may not.
    assert_eq!(peers.client(&["Q call p()"]), ["Q call p()"]);
    peers.server(&["C CALL", "Z I"]);
    assert_eq!(
        strict.client(&["Q call p()"]),
        [format!("Q {SET_LOCAL};call p()")]
    );
    // A text that must not be kept has no name at a pooler that keeps names for everybody.
    let asked = peers.client(&["P s1 vacuum t", "D s1", "S"]);
    assert_eq!(asked, ["P - vacuum t", "D -", "S"]);
    peers.server(&["1", "t", "n", "Z I"]);
    let asked = peers.client(&["B s1", "E", "S"]);
    assert_eq!(asked, ["P - vacuum t", "B -", "E", "S"]);
}

/// A literal, a comment or a name that looks like one of these is not one.
#[test]
fn nothing_is_judged_by_what_a_literal_reads_like() {
    let mut peers = Peers::new(shared(Naming::Named));
    for text in [
        "INSERT INTO notes VALUES ('first; listen to this')",
        "SELECT 1 -- not pg_try_advisory_lock(1)",
        "INSERT INTO c VALUES ('ran concurrently')",
        "select max_concurrently from t",
        "insert into t values ($a$; commit; $a$)",
    ] {
        let asked = peers.client(&[&format!("Q {text}")]);
        assert_eq!(asked, [format!("Q {SET_LOCAL};{text}")]);
        assert!(!peers.observed.is_committing(), "{text}");
        peers.server(&["C SET", "C ANY", "Z I"]);
    }
}

/// If the work ignores the refusal, the rest of it must not be committed.
#[test]
fn a_refusal_fails_its_transaction_as_the_servers_would() {
    let mut peers = Peers::new(shared(Naming::Named));
    peers.local(&["Q BEGIN"]);
    assert_eq!(peers.local(&["Q listen a"]), ["E 0A000", "Z E"]);
    assert_eq!(
        peers.local(&["Q insert into t values (1)"]),
        ["E 25P02", "Z E"]
    );
    assert_eq!(peers.local(&["Q COMMIT"]), ["C ROLLBACK", "Z I"]);
    assert_eq!(peers.observed.refused_commits(), 1);
    peers.local(&["Q BEGIN"]);
    peers.client(&["Q update t"]);
    peers.server(&["C BEGIN", "C SET", "C UPDATE 1", "Z T"]);
    assert_eq!(
        peers.local(&["Q create temp table x (a int)"]),
        ["E 0A000", "Z E"]
    );
    assert_eq!(peers.client(&["Q COMMIT"]), ["Q ROLLBACK"]);
    assert_eq!(peers.server(&["C ROLLBACK", "Z I"]), ["C ROLLBACK", "Z I"]);
}

/// The second try of a statement runs under the same settings as the first.
#[test]
fn a_second_try_carries_them_too() {
    let mut peers = Peers::new(shared(Naming::Named));
    peers.client(&["P s1 update t", "D s1", "S"]);
    peers.server(&["1", "2", "D a", "C SELECT 1", "1", "t", "n", "Z I"]);
    peers.client(&["B s1", "E", "S"]);
    peers.server(&["1", "2", "D a", "C SELECT 1", "E 26000", "Z I"]);
    let asked = peers.asked();
    assert_eq!(asked[..1], ["C s1"]);
    assert_eq!(asked[1..4], settings());
    // It has no name, because a pooler that keeps names would give the refused statement for any other name.
    assert_eq!(asked[4..], ["P - update t", "D -", "B -", "E", "S"]);
    let settings = ["3", "1", "2", "D a", "C SELECT 1"];
    let run = ["1", "t", "n", "2", "C UPDATE 1", "Z I"];
    assert_eq!(peers.server(&settings), NOTHING);
    assert_eq!(peers.server(&run), ["2", "C UPDATE 1", "Z I"]);
}

/// case R32: none of these statements reaches the pooler.
#[test]
fn what_needs_a_session_of_its_own_is_refused() {
    let mut peers = Peers::new(shared(Naming::Unnamed));
    for text in [
        "LISTEN a",
        "select pg_advisory_lock(1)",
        "select 1; listen a",
    ] {
        assert_eq!(peers.local(&[&format!("Q {text}")]), ["E 0A000", "Z I"]);
        let parse = format!("P s1 {text}");
        assert_eq!(peers.local(&[&parse, "D s1", "S"]), ["E 0A000", "Z I"]);
        let error = peers.observed.last_error().unwrap();
        assert!(error.message().contains("DATABASE_URL_DIRECT"), "{error}");
    }
    let asked = peers.client(&["Q select pg_advisory_xact_lock(1)"]);
    assert_eq!(asked.len(), 1);
}

/// The default isolation level and READ ONLY are in force in transactions too.
#[test]
fn a_begin_says_what_the_session_cannot() {
    let default = (
        "default_transaction_isolation".to_owned(),
        "repeatable read".to_owned(),
    );
    let rules = Rules {
        local_settings: crate::LocalSettings::new(&[default]),
        ..shared(Naming::Named)
    };
    let mut peers = Peers::new(rules);
    peers.local(&["Q BEGIN;"]);
    let asked = peers.client(&["P s1 select 1", "D s1", "S"]);
    assert_eq!(asked[0], "P - BEGIN ISOLATION LEVEL REPEATABLE READ");
    peers.server(&["1", "2", "C BEGIN", "1", "2", "C SET"]);
    peers.server(&["1", "t", "T a:23", "Z T"]);
    peers.client(&["Q ROLLBACK"]);
    peers.server(&["C ROLLBACK", "Z I"]);
    // Without a BEGIN, the setting comes before anything that takes a snapshot.
    let set = "SET transaction_isolation = 'REPEATABLE READ'";
    let asked = peers.client(&["B s1", "E", "S"]);
    assert_eq!(asked[..3], [&format!("P - {set}"), "B -", "E"]);
    assert_eq!(asked[3..], ["B s1", "D -", "E", "S"]);
    let settings = ["1", "2", "C SET"];
    assert_eq!(peers.server(&settings), NOTHING);
    let told = peers.server(&["2", "T a:23", "D one", "C SELECT 1", "Z I"]);
    assert_eq!(told, ["2", "D one", "C SELECT 1", "Z I"]);
    let asked = peers.client(&["Q select 1"]);
    assert_eq!(asked, [format!("Q {set};select 1")]);
    let told = peers.server(&["C SET", "C SELECT 1", "Z I"]);
    assert_eq!(told, ["C SELECT 1", "Z I"]);
}
