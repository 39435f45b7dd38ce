use crate::credentials::source::CredentialsError;
use std::time::Duration;

use db_config::{Config, ConfigError};
use db_pool::{PoolError, SqlState};
use diesel::QueryResult;

use super::*;
use crate::error::invalid_options::{InvalidOption, InvalidOptions};
use crate::error::stage::Stage;
use crate::migrate::MigrateError;

fn of_diesel(kind: DatabaseErrorKind, message: &str) -> QueryError {
    QueryError::DatabaseError(kind, Box::new(message.to_owned()))
}

fn config_error() -> ConfigError {
    let nowhere = std::path::Path::new("/nonexistent");
    Config::load_from(nowhere, [("APP_ENV".to_owned(), "nosuch".to_owned())]).unwrap_err()
}

fn said(fields: &str) -> ServerError {
    ServerError::for_tests(fields)
}

fn timed_out(last_conflict: Option<ServerError>) -> Error {
    Error::TimedOut {
        after: Duration::from_secs(1),
        attempt: 2,
        during: Stage::Work,
        last_conflict,
    }
}

/// Every variant, with the kind that it has to keep. A new variant does not compile before it is listed.
fn every_variant() -> Vec<(Error, Kind)> {
    let conflict = || said("ERROR 40001 could not serialize access");
    let closed = || of_diesel(DatabaseErrorKind::ClosedConnection, "gone");
    let mut invalid = InvalidOptions::default();
    invalid.add(InvalidOption::NoAttempts);
    let pool = || "write".into();
    let all = vec![
        (Error::Config(config_error()), Kind::Configuration),
        (
            Error::UnknownPool {
                asked: "bach".to_owned(),
                known: vec!["write".to_owned()],
            },
            Kind::Configuration,
        ),
        (Error::Invalid(invalid), Kind::Configuration),
        (
            Error::Pool(PoolError::Closed { pool: pool() }),
            Kind::ShuttingDown,
        ),
        (
            Error::Pool(PoolError::QueueFull {
                pool: pool(),
                waiting: 3,
            }),
            Kind::Busy,
        ),
        (
            Error::Credentials(CredentialsError::new("the store is down")),
            Kind::Down,
        ),
        (Error::Query(QueryError::NotFound), Kind::Query),
        (Error::Query(closed()), Kind::Down),
        (
            Error::Query(conflict().put_into(of_diesel(
                DatabaseErrorKind::Unknown,
                "could not serialize access",
            ))),
            Kind::Conflict,
        ),
        (
            Error::Aborted(said("ERROR 22012 division by zero")),
            Kind::Query,
        ),
        (Error::Unfinished("it was"), Kind::Query),
        (
            Error::Conflict {
                attempts: 3,
                exhausted: Exhausted::Budget,
                first: conflict(),
                last: said("ERROR 40P01 deadlock detected"),
            },
            Kind::Conflict,
        ),
        (Error::Lost(closed()), Kind::Down),
        (Error::CommitUnknown(closed()), Kind::OutcomeUnknown),
        (Error::CommitAborted(closed()), Kind::Down),
        (
            Error::Migrations(MigrateError::Config(config_error())),
            Kind::Configuration,
        ),
        (Error::AfterCommit("too late".into()), Kind::Committed),
        (Error::Silent(Duration::from_secs(1)), Kind::Down),
        (timed_out(None), Kind::Busy),
        (timed_out(Some(conflict())), Kind::Conflict),
    ];
    for (error, _) in &all {
        match error {
            Error::Config(_)
            | Error::UnknownPool { .. }
            | Error::Invalid(_)
            | Error::Pool(_)
            | Error::Credentials(_)
            | Error::Query(_)
            | Error::Aborted(_)
            | Error::Unfinished(_)
            | Error::Conflict { .. }
            | Error::Lost(_)
            | Error::CommitUnknown(_)
            | Error::CommitAborted(_)
            | Error::AfterCommit(_)
            | Error::Migrations(_)
            | Error::Silent(_)
            | Error::TimedOut { .. } => {}
        }
    }
    all
}

#[derive(Debug, thiserror::Error)]
enum Service {
    #[error("the service's database")]
    Database(#[from] Error),
    #[error("the service's query")]
    Query(#[from] QueryError),
}

/// As in every closure of the README, the error goes into a `QueryResult`, and `?` takes it out again.
fn through_query_result(error: Error) -> Result<(), Error> {
    let work = || -> QueryResult<()> { Err(error)? };
    Ok(work()?)
}

fn through_query_result_into_service(error: Error) -> Result<(), Service> {
    let work = || -> QueryResult<()> { Err(error)? };
    Ok(work()?)
}

fn through_query_result_into_anyhow(error: Error) -> anyhow::Result<()> {
    let work = || -> QueryResult<()> { Err(error)? };
    Ok(work()?)
}

fn seen(error: &Error) -> (Kind, Option<SqlState>, String, String) {
    (
        error.kind(),
        error.sqlstate(),
        error.to_string(),
        error.report(),
    )
}

/// A service that maps kinds to HTTP would answer 500 instead of 503 if the error lost its kind here.
#[test]
fn every_variant_survives_the_way_through_diesel() {
    let again = every_variant();
    for ((error, kind), (same, _)) in every_variant().into_iter().zip(again) {
        let before = seen(&error);
        assert_eq!(before.0, kind, "{error:?}");
        let (back, was) = (through_query_result(error).unwrap_err(), same);
        assert_eq!(seen(&back), before);
        let variant = std::mem::discriminant::<Error>;
        assert_eq!(variant(&back), variant(&was), "{back:?}");
    }
}

#[test]
fn every_variant_keeps_its_kind_in_a_box_in_anyhow_and_in_a_callers_own_enum() {
    type Boxed = Box<dyn StdError + Send + Sync>;
    for (error, kind) in every_variant() {
        let service = through_query_result_into_service(error).unwrap_err();
        assert_eq!(Error::kind_of(&service), Some(kind), "{service:?}");
    }
    for (error, kind) in every_variant() {
        let service = Service::from(error);
        assert_eq!(Error::kind_of(&service), Some(kind));
        assert_eq!(Error::find(&service).map(Error::kind), Some(kind));
    }
    for (error, kind) in every_variant() {
        let error = through_query_result_into_anyhow(error).unwrap_err();
        assert_eq!(Error::kind_of(&*error), Some(kind), "{error:?}");
        let error = error.context("while the service did something");
        assert_eq!(Error::kind_of(&*error), Some(kind), "{error:?}");
    }
    for (error, kind) in every_variant() {
        let error = Boxed::from(QueryError::from(error));
        assert_eq!(Error::kind_of(&*error), Some(kind), "{error:?}");
        assert_eq!(
            Error::from(*error.downcast::<QueryError>().unwrap()).kind(),
            kind
        );
    }
    assert_eq!(Error::kind_of(&std::fmt::Error), None);
}

/// The content of diesel's own error is not lost if the caller boxes something else there.
#[test]
fn a_foreign_error_in_diesels_stays_there() {
    let foreign = QueryError::QueryBuilderError("not ours".into());
    let error = Error::from(foreign);
    assert!(matches!(
        &error,
        Error::Query(QueryError::QueryBuilderError(_))
    ));
    assert_eq!(error.report(), "the query failed: not ours");
    let found = Error::find(&error);
    assert!(matches!(found, Some(Error::Query(_))));
    assert!(Error::find(&Service::Query(QueryError::NotFound)).is_none());
}

/// 40001 and 40P01 are a conflict wherever they are met, and a lost COMMIT is unknown behind a failed
/// ROLLBACK too.
#[test]
fn a_query_error_has_the_kind_of_what_the_server_said() {
    let conflict = of_diesel(DatabaseErrorKind::SerializationFailure, "no");
    assert_eq!(Error::from(conflict).kind(), Kind::Conflict);
    for (fields, kind) in [
        ("ERROR 40P01 deadlock detected", Kind::Conflict),
        ("FATAL 57P01 terminating connection", Kind::Down),
        ("ERROR 08P01 server login has been failing", Kind::Down),
        ("FATAL 08P01 query_wait_timeout", Kind::Busy),
        ("ERROR 57014 canceling statement", Kind::Query),
    ] {
        let said = said(fields);
        let heard = of_diesel(DatabaseErrorKind::Unknown, said.message());
        said.heard_as(&heard);
        let error = Error::from(heard);
        assert_eq!(error.kind(), kind, "{fields}");
        assert_eq!(error.sqlstate().as_ref(), Some(said.sqlstate()));
    }
    let unknown = "connection closed before the server answered, outcome unknown; last words: no";
    let both = QueryError::RollbackErrorOnCommit {
        rollback_error: Box::new(of_diesel(
            DatabaseErrorKind::UnableToSendCommand,
            "connection closed",
        )),
        commit_error: Box::new(of_diesel(DatabaseErrorKind::Unknown, unknown)),
    };
    let error = Error::from(both);
    assert_eq!(error.kind(), Kind::OutcomeUnknown);
    assert_eq!(error.sqlstate().unwrap().code(), "08007");
}

/// A `main` that returns the error prints what the README shows.
#[test]
fn debug_is_the_report() {
    for (error, _) in every_variant() {
        assert_eq!(format!("{error:?}"), error.report());
        assert!(error.report().starts_with(&error.to_string()));
    }
    let error = through_query_result(timed_out(None)).unwrap_err();
    assert_eq!(
        error.report(),
        "the transaction was not done within 1s, running the work on attempt 2"
    );
}
