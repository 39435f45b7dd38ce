use super::*;

#[test]
fn only_requests_that_run_something_count_as_work() {
    let observed = Observed::default();
    observed.request_sent(Request::Housekeeping);
    assert!(!observed.is_working());
    observed.request_sent(Request::Commit);
    assert!(observed.is_working() && observed.is_committing());
    observed.request_answered(Request::Housekeeping, Some(b'T'));
    assert_eq!(
        observed.transaction_status(),
        TransactionStatus::InTransaction
    );
    observed.request_answered(Request::Commit, Some(b'I'));
    assert!(!observed.is_working() && !observed.is_committing());
    assert_eq!(observed.transaction_status(), TransactionStatus::Idle);
}

#[test]
fn a_failure_is_unresolved_until_a_rollback_to_a_savepoint_and_the_first_one_counts() {
    let observed = Observed::default();
    let error =
        |code: &str| ServerError::from_fields(format!("VERROR\0C{code}\0Mm\0\0").as_bytes());
    let unresolved = || {
        let failure = observed.unresolved()?;
        Some((
            failure.error().sqlstate().code().to_owned(),
            failure.is_repeatable(),
        ))
    };
    observed.error_reported(error("40P01"));
    observed.request_answered(Request::Housekeeping, Some(b'E'));
    observed.error_reported(error("25P02"));
    observed.request_answered(Request::Housekeeping, Some(b'E'));
    assert_eq!(unresolved(), Some(("40P01".to_owned(), true)));
    observed.request_answered(Request::Housekeeping, Some(b'T'));
    assert_eq!(unresolved(), None);
    observed.error_reported(error("23505"));
    observed.stale_statement_reported(error("26000"));
    assert_eq!(unresolved(), Some(("23505".to_owned(), false)));
    observed.answered_locally(b'I');
    assert_eq!(unresolved(), None);
    observed.stale_statement_reported(error("0A000"));
    assert_eq!(unresolved(), Some(("0A000".to_owned(), true)));
}

#[test]
fn a_parameter_that_a_client_has_set_is_known_with_its_first_value() {
    let observed = Observed::default();
    observed.parameter_reported("TimeZone", "UTC");
    observed.parameter_reported("is_superuser", "off");
    observed.remember_parameters();
    observed.parameter_reported("is_superuser", "on");
    assert_eq!(observed.changed_parameters(), []);
    observed.parameter_reported("TimeZone", "Asia/Tokyo");
    let changed = [("TimeZone".to_owned(), "UTC".to_owned())];
    assert_eq!(observed.changed_parameters(), changed);
    observed.parameter_reported("TimeZone", "UTC");
    assert_eq!(observed.changed_parameters(), []);
}
