//! The sizes and times of a pool: contradictions, and settings without effect.

use db_config::{Config, Environment};

use crate::site::{LOCAL, Site, value};

/// req 3.27, req 4.49: the ceiling bounds `max`; a configured `max` raises a built-in ceiling.
#[test]
fn a_max_above_the_ceiling_is_an_error_and_raises_a_built_in_one() {
    let config = Site::new()
        .load(&[LOCAL, ("APP_DB__POOLS__BATCH__MAX", "300")])
        .unwrap();
    assert_eq!(
        value(&config, "database.pools.batch.ceiling"),
        ("300".into(), "built-in (dev), raised to max".into())
    );
    assert_eq!(value(&config, "database.profile.ceiling").0, "100");
    let site = Site::new().file("config/default.toml", "[database.profile]\nceiling = 25");
    assert_eq!(
        site.error(&[LOCAL, ("APP_DB__POOLS__BATCH__MAX", "30")]),
        "database.pools.batch.max (APP_DB__POOLS__BATCH__MAX): 30 is more than ceiling, which is 25 \
         (config/default.toml:2); expected at most 25"
    );
    let error = Config::builtin(&Environment::Prod)
        .with("profile.ceiling", 20)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("max (built-in (prod)): 50 is more than ceiling, which is 20 (code)"),
        "{error}"
    );
}

/// req 3.27: no pool is unbounded, and no time is zero. Every problem is reported with its origin.
#[test]
fn sizes_and_times_of_nothing_are_refused_together() {
    let site = Site::new().file(
        "config/default.toml",
        "[database.profile]\nmax = 0\ncheckout_timeout = \"0s\"\nmax_waiting = \"none\"\n\
         [database.pools.batch]\nmax = \"unlimited\"\nconnect_timeout = \"0s\"\n\
         validation_timeout = \"0s\"",
    );
    let error = site.error(&[
        LOCAL,
        ("APP_DB__PROFILE__CEILING", "unlimited"),
        ("APP_DB__POOLS__ADMIN__MAX", "2"),
        ("APP_DB__POOLS__ADMIN__MIN_IDLE", "3"),
    ]);
    for problem in [
        "8 problems",
        "profile.max (config/default.toml:2): expected a whole number from 1 to 10000, found 0; \
         it always has a bound",
        "profile.checkout_timeout (config/default.toml:3): expected a duration",
        "profile.max_waiting (config/default.toml:4): expected a whole number from 0 to 1000000, or \
         \"unlimited\", found \"none\"",
        "pools.batch.max (config/default.toml:6): expected a whole number from 1 to 10000, found \
         \"unlimited\"; it always has a bound",
        "pools.batch.connect_timeout (config/default.toml:7)",
        "pools.batch.validation_timeout (config/default.toml:8)",
        "profile.ceiling (APP_DB__PROFILE__CEILING)",
        "pools.admin.min_idle (APP_DB__POOLS__ADMIN__MIN_IDLE): 3 is more than max, which is 2 \
         (APP_DB__POOLS__ADMIN__MAX)",
    ] {
        assert!(error.contains(problem), "{problem}\nis not in\n{error}");
    }
}

/// req 3.27, req 4.18: the queue is bounded where traffic is real, and unbounded only if the
/// configuration says so explicitly.
#[test]
fn the_queue_may_be_unbounded_in_so_many_words() {
    let waiting = |vars: &[(&str, &str)]| {
        let config = Site::new().load(vars).unwrap();
        value(&config, "database.profile.max_waiting").0
    };
    assert_eq!(waiting(&[LOCAL]), "unlimited");
    let set = |text| waiting(&[LOCAL, ("APP_DB__PROFILE__MAX_WAITING", text)]);
    assert_eq!(
        (set("0"), set("70"), set("Unlimited")),
        ("0".into(), "70".into(), "unlimited".into())
    );
    for environment in [
        Environment::Prod,
        Environment::Staging,
        Environment::HighLoad,
    ] {
        let config = Config::builtin(&environment);
        let of = |key: &str| value(&config, key).0.parse::<u32>().unwrap();
        // The last caller in the queue waits for twenty turns.
        let (waiting, max) = (
            of("database.profile.max_waiting"),
            of("database.profile.max"),
        );
        assert_eq!(waiting, 20 * max, "{environment}");
    }
}

/// req 3.30: an idle time above the lifetime never closes anything. It causes a warning and is not
/// refused.
#[test]
fn an_idle_timeout_above_the_lifetime_is_a_warning() {
    let warnings = |more: &[(&str, &str)]| {
        let vars: Vec<_> = [LOCAL].iter().chain(more).copied().collect();
        Site::new().load(&vars).unwrap().warnings().to_vec()
    };
    const IDLE: &str = "APP_DB__PROFILE__IDLE_TIMEOUT";
    const LIFE: &str = "APP_DB__PROFILE__MAX_LIFETIME";
    assert_eq!(
        warnings(&[(IDLE, "5min"), (LIFE, "2min")]),
        [
            "database.profile.idle_timeout (APP_DB__PROFILE__IDLE_TIMEOUT): 5min is more than \
          max_lifetime, which is 2min (APP_DB__PROFILE__MAX_LIFETIME); expected at most 2min: it has no effect"
        ]
    );
    // A value that is built in, is "never", or is not above the lifetime is no mistake.
    for fine in [
        [(IDLE, ""), (LIFE, "2s")],
        [(IDLE, "5min"), (LIFE, "0s")],
        [(IDLE, "0s"), (LIFE, "2min")],
        [(IDLE, "2min"), (LIFE, "2min")],
    ] {
        assert_eq!(warnings(&fine), [] as [&str; 0]);
    }
    let config = Config::builtin(&Environment::Prod)
        .with("pools.batch.idle_timeout", "1h")
        .unwrap();
    assert_eq!(config.warnings().len(), 1, "{:?}", config.warnings());
}
