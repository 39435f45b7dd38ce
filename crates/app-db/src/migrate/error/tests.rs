//! The texts of errors.

use super::*;

#[test]
fn a_wait_for_the_lock_names_its_holder() {
    let error = MigrateError::Locked {
        waited: Duration::from_secs(2),
        holder: Some(Holder {
            pid: 42,
            application_name: "dbctl".to_owned(),
        }),
    };
    assert_eq!(
        format!("{error:?}"),
        "gave up after 2.0s waiting for another migrator: backend 42 (dbctl)"
    );
}
