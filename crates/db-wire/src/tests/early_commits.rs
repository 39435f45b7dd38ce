//! COMMIT that travels with the last statement, because the client asked for it.

use super::peers::{NOTHING, Peers};
use super::{named, shared};
use crate::TransactionStatus;
use crate::conversation::lost::connection_lost;
use crate::rules::{Naming, Rules};

/// The wire knows two statements: `s1` updates, `s2` selects. The client is in a transaction whose BEGIN is held
/// back.
fn begun(rules: Rules) -> Peers {
    let mut peers = Peers::new(rules);
    peers.learns("s1", "update t", "n");
    peers.learns("s2", "select 1", "T a:23");
    assert_eq!(peers.local(&["Q BEGIN"]), ["C BEGIN", "Z T"]);
    peers
}

fn is_committed(peers: &Peers) -> bool {
    peers.observed.early_commits() == 1
}

const WITH_COMMIT: [&str; 9] = [
    "P - BEGIN",
    "B -",
    "E",
    "B s1",
    "E",
    "P - COMMIT",
    "B -",
    "E",
    "S",
];

/// A transaction of one statement is one round trip.
#[test]
fn begin_and_commit_travel_with_the_only_statement() {
    let mut peers = begun(named());
    peers.steering.commit_with_next();
    let asked = peers.client(&["B s1", "E", "S"]);
    assert_eq!(asked, WITH_COMMIT);
    assert!(peers.observed.is_committing());
    let told = peers.server(&["1", "2", "C BEGIN", "2", "C UPDATE 1", "1", "2", "C COMMIT"]);
    assert_eq!(told, ["2", "C UPDATE 1"]);
    assert_eq!(peers.server(&["Z I"]), ["Z T"]);
    assert!(is_committed(&peers) && !peers.observed.is_committing());
    assert_eq!(peers.status(), TransactionStatus::InTransaction);
    // A client may close statements that diesel's cache drops, and release a savepoint.
    assert_eq!(peers.local(&["C s1", "S"]), ["3", "Z T"]);
    assert_eq!(
        peers.local(&["Q release savepoint a"]),
        ["C RELEASE", "Z T"]
    );
    assert_eq!(peers.local(&["Q COMMIT"]), ["C COMMIT", "Z I"]);
    assert_eq!(peers.observed.boundaries(), 0);
    assert_eq!(peers.client(&["Q select 1"]), ["Q select 1"]);
}

#[test]
fn commit_travels_with_the_last_of_several_and_in_a_simple_query() {
    let mut peers = begun(named());
    peers.client(&["B s2", "E", "S"]);
    peers.server(&["1", "2", "C BEGIN", "2", "D 1", "C SELECT 1", "Z T"]);
    peers.steering.commit_with_next();
    let asked = peers.client(&["Q insert into t values ('copy') -- the last"]);
    assert_eq!(
        asked,
        ["Q insert into t values ('copy') -- the last\n;COMMIT"]
    );
    let told = peers.server(&["C INSERT 0 1", "C COMMIT", "Z I"]);
    assert_eq!(told, ["C INSERT 0 1", "Z T"]);
    assert!(is_committed(&peers));
    assert_eq!(peers.local(&["Q commit"]), ["C COMMIT", "Z I"]);
}

/// The server skips COMMIT, and the transaction has failed.
#[test]
fn a_statement_that_fails_commits_nothing() {
    let mut peers = begun(named());
    peers.steering.commit_with_next();
    peers.client(&["B s1", "E", "S"]);
    let told = peers.server(&["1", "2", "C BEGIN", "2", "E 23505", "Z E"]);
    assert_eq!(told, ["2", "E 23505", "Z E"]);
    assert!(!is_committed(&peers) && !peers.observed.is_committing());
    assert_eq!(peers.client(&["Q ROLLBACK"]), ["Q ROLLBACK"]);
    assert_eq!(peers.server(&["C ROLLBACK", "Z I"]), ["C ROLLBACK", "Z I"]);

    let mut unbegun = begun(named());
    unbegun.steering.commit_with_next();
    unbegun.client(&["B s1", "E", "S"]);
    assert_eq!(unbegun.server(&["E 25006", "Z I"]), ["E 25006", "Z E"]);
    assert_eq!(unbegun.local(&["Q ROLLBACK"]), ["C ROLLBACK", "Z I"]);
}

/// With a deferred constraint, or a conflict, the server has rolled back, and the client has to learn of it.
#[test]
fn a_commit_that_fails_is_the_error_of_its_statement() {
    let mut peers = begun(named());
    peers.steering.commit_with_next();
    peers.client(&["B s1", "E", "S"]);
    let told = peers.server(&[
        "1",
        "2",
        "C BEGIN",
        "2",
        "C UPDATE 1",
        "1",
        "2",
        "E 40001",
        "Z I",
    ]);
    assert_eq!(told, ["2", "C UPDATE 1", "E 40001", "Z E"]);
    assert!(!is_committed(&peers));
    let failure = peers.observed.unresolved().unwrap();
    assert_eq!(failure.error().sqlstate().code(), "40001");
    assert_eq!(peers.local(&["Q update t"]), ["E 25P02", "Z E"]);
    assert_eq!(peers.local(&["Q ROLLBACK"]), ["C ROLLBACK", "Z I"]);
}

#[test]
fn nothing_may_follow_and_nothing_is_rolled_back() {
    for next in [
        &["Q update t"][..],
        &["B s2", "E", "S"],
        &["P s9 select 2", "D s9", "S"],
        &["P - select 2", "B -", "E", "S"],
        &["Q savepoint a"],
        &["Q rollback to a"],
    ] {
        let mut peers = begun(named());
        peers.steering.commit_with_next();
        peers.client(&["B s1", "E", "S"]);
        peers.server(&[
            "1",
            "2",
            "C BEGIN",
            "2",
            "C UPDATE 1",
            "1",
            "2",
            "C COMMIT",
            "Z I",
        ]);
        assert_eq!(peers.local(next), ["E 25000", "Z E"], "{next:?}");
        assert_eq!(peers.local(&["Q ROLLBACK"]), ["E 2D000", "Z I"]);
        assert_eq!(peers.client(&["B s1", "E", "S"]), ["B s1", "E", "S"]);
    }
}

#[test]
fn a_lost_answer_leaves_the_outcome_unknown() {
    let mut peers = begun(named());
    peers.steering.commit_with_next();
    peers.client(&["B s1", "E", "S"]);
    peers.server(&["1", "2", "C BEGIN", "2", "C UPDATE 1"]);
    connection_lost(&mut peers.conversation);
    assert_eq!(peers.told(), ["E 08007"]);
    assert!(peers.observed.is_committing() && !is_committed(&peers));
}

/// The client's word applies to the next request that runs something, and to nothing later.
#[test]
fn what_cannot_take_a_commit_along_is_sent_as_ever() {
    for last in [
        "Q savepoint a",
        "Q copy t from stdin",
        "Q update t; update t",
        "Q create table u ()",
        "Q select 'a",
    ] {
        let mut peers = begun(named());
        peers.client(&["B s1", "E", "S"]);
        peers.server(&["1", "2", "C BEGIN", "2", "C UPDATE 1", "Z T"]);
        peers.steering.commit_with_next();
        assert_eq!(peers.client(&[last]), [last]);
        peers.server(&["C DONE", "Z T"]);
        assert_eq!(peers.client(&["B s1", "E", "S"]), ["B s1", "E", "S"]);
    }
    // A pipeline: the wire does not know its end.
    let mut piped = begun(named());
    piped.steering.commit_with_next();
    let asked = piped.client(&["B s1", "E", "B s1", "E", "S"]);
    assert_eq!(asked[3..], ["B s1", "E", "B s1", "E", "S"]);
    // Outside a transaction there is nothing to commit.
    let mut outside = Peers::new(named());
    outside.learns("s1", "update t", "n");
    outside.steering.commit_with_next();
    assert_eq!(outside.client(&["B s1", "E", "S"]), ["B s1", "E", "S"]);
    outside.server(&["2", "C UPDATE 1", "Z I"]);
    outside.local(&["Q BEGIN"]);
    assert_eq!(outside.client(&["B s1", "E", "S"]).len(), 6);
}

/// Behind a pooler the rows of a query may turn out to differ from what its client was told. Then the query must fail,
/// so COMMIT does not travel with it. It does travel with a statement without rows.
#[test]
fn behind_a_pooler_a_query_with_rows_is_not_committed_along() {
    for naming in [Naming::Named, Naming::Unnamed] {
        let behind = || Rules {
            local_settings: None,
            ..shared(naming)
        };
        let mut peers = begun(behind());
        peers.steering.commit_with_next();
        let asked = peers.client(&["B s2", "E", "S"]);
        assert!(!asked.contains(&"P - COMMIT".to_owned()), "{asked:?}");
        let mut peers = begun(behind());
        peers.steering.commit_with_next();
        let asked = peers.client(&["B s1", "E", "S"]);
        assert!(asked.contains(&"P - COMMIT".to_owned()), "{asked:?}");
    }
}

/// A read that runs before the BEGIN of its transaction has nothing to commit.
#[test]
fn a_lone_read_takes_no_commit_along() {
    let rules = Rules {
        read_committed_by_default: true,
        ..named()
    };
    let mut peers = Peers::new(rules);
    peers.learns("s2", "select 1", "T a:23");
    peers.local(&["Q BEGIN READ ONLY"]);
    peers.steering.commit_with_next();
    assert_eq!(peers.client(&["B s2", "E", "S"]), ["B s2", "E", "S"]);
    peers.server(&["2", "D 1", "C SELECT 1", "Z I"]);
    assert_eq!(peers.local(&["Q COMMIT"]), ["C COMMIT", "Z I"]);
    assert_eq!(peers.client(&["X"]), ["X"]);
    assert_eq!(peers.told(), NOTHING);
}
