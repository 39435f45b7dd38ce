//! The built-in tables, the order of the layers, and the origin of every value.

use std::time::Duration;

use db_config::{Config, Environment};
use serde::Deserialize;

use crate::site::{LOCAL, Site, value};

#[derive(Debug, Deserialize, PartialEq)]
struct Profile {
    max: u32,
    min_idle: u32,
    #[serde(default, with = "db_config::duration::optional")]
    idle_timeout: Option<Duration>,
    #[serde(with = "db_config::duration")]
    connect_timeout: Duration,
    max_uses: u32,
    #[serde(default, with = "db_config::duration::optional")]
    max_lifetime: Option<Duration>,
}

fn profile(config: &Config, pool: &str) -> Profile {
    config
        .section_over(&format!("pools.{pool}"), "profile")
        .unwrap()
}

fn row(environment: &Environment) -> (u32, u32, u64, u64, u32, u64) {
    let p = profile(&Config::builtin(environment), "write");
    let seconds = |duration: Option<Duration>| duration.unwrap().as_secs();
    let idle = seconds(p.idle_timeout);
    (
        p.min_idle,
        p.max,
        idle,
        p.connect_timeout.as_secs(),
        p.max_uses,
        seconds(p.max_lifetime),
    )
}

/// req 2.13
#[test]
fn the_table_of_dev() {
    assert_eq!(row(&Environment::Dev), (2, 10, 30, 5, 7500, 3600));
}

/// req 2.14
#[test]
fn the_table_of_test() {
    assert_eq!(row(&Environment::Test), (5, 20, 30, 5, 7500, 1800));
}

/// req 3.10
#[test]
fn the_table_of_staging() {
    assert_eq!(row(&Environment::Staging), (5, 15, 60, 5, 7500, 180));
}

/// req 2.15
#[test]
fn the_table_of_prod() {
    assert_eq!(row(&Environment::Prod), (10, 50, 60, 10, 10000, 300));
}

/// req 3.07
#[test]
fn the_table_of_high_load() {
    assert_eq!(row(&Environment::HighLoad), (20, 100, 30, 5, 7500, 120));
}

/// req 3.29: where traffic is real, connections live for 1 to 30 minutes.
#[test]
fn lifetimes_are_neither_short_nor_long() {
    for environment in [
        Environment::Test,
        Environment::Staging,
        Environment::Prod,
        Environment::HighLoad,
        Environment::Lambda,
    ] {
        let lifetime = profile(&Config::builtin(&environment), "write").max_lifetime;
        let minutes = lifetime.unwrap().as_secs() / 60;
        assert!((1..=30).contains(&minutes), "{environment:?}: {minutes}");
    }
}

/// req 1.06, req 0.03
#[test]
fn the_table_of_lambda() {
    assert_eq!(row(&Environment::Lambda), (0, 1, 30, 5, 7500, 300));
    let vars = [
        ("APP_ENV", "lambda"),
        LOCAL,
        ("DATABASE_URL_REPLICA", "postgres://u@localhost:5433/d"),
    ];
    let config = Site::new().load(&vars).unwrap();
    assert_eq!(
        (profile(&config, "read").max, profile(&config, "write").max),
        (1, 1)
    );
}

/// req 2.18, req 0.06: three attempts of a transaction, and the delays of reconnecting from 1 s on.
#[test]
fn retry_and_reconnect_have_their_numbers() {
    let config = Config::builtin(&Environment::Prod);
    for (key, expected) in [
        ("retry.attempts", "3"),
        ("reconnect.attempts", "10"),
        ("reconnect.base_delay", "1s"),
        ("reconnect.max_delay", "30s"),
        ("slow_query.threshold", "500ms"),
    ] {
        let key = format!("database.{key}");
        assert_eq!(
            value(&config, &key),
            (expected.into(), "built-in (prod)".into())
        );
    }
}

/// req 0.23, req 2.07, req 2.30, req 2.31: 10 s on the read pool, 30 s elsewhere; other sizes with a replica.
#[test]
fn the_read_pool_differs_and_a_replica_makes_the_sizes_of_the_two_pools_differ() {
    let config = Site::new().load(&[LOCAL]).unwrap();
    assert_eq!(
        value(&config, "database.pools.read.statement_timeout").0,
        "10s"
    );
    assert_eq!(
        value(&config, "database.pools.write.statement_timeout").0,
        "30s"
    );
    assert_eq!(profile(&config, "read").max, 10);
    let replica = ("DATABASE_URL_REPLICA", "postgres://u@localhost:5433/d");
    let config = Site::new().load(&[LOCAL, replica]).unwrap();
    let (read, write) = (profile(&config, "read"), profile(&config, "write"));
    assert_eq!((read.min_idle, read.max), (10, 50));
    assert_eq!((write.min_idle, write.max), (5, 20));
    let config = Site::new()
        .load(&[LOCAL, replica, ("APP_DB__PROFILE__MAX", "9")])
        .unwrap();
    assert_eq!(
        profile(&config, "read").max,
        9,
        "configured for all beats built in for one"
    );
}

/// case R44: each layer beats the one below it, and the origin is kept.
#[test]
fn each_layer_beats_the_one_below_it_and_names_itself() {
    let key = "database.pools.write.max";
    let check = |site: &Site, vars: &[(&str, &str)], expected: (&str, &str)| {
        let config = site.load(vars).unwrap();
        assert_eq!(value(&config, key), (expected.0.into(), expected.1.into()));
    };
    let table = |n: u32| format!("# c\n[database.pools.write]\nmax = {n}\n");
    let mut vars = vec![LOCAL];
    let site = Site::new();
    check(&site, &vars, ("10", "built-in (dev)"));
    let site = site.file("config/default.toml", &table(21));
    check(&site, &vars, ("21", "config/default.toml:3"));
    let site = site.file("config/dev.toml", &table(22));
    check(&site, &vars, ("22", "config/dev.toml:3"));
    let site = site.file("config/local.toml", &table(23));
    check(&site, &vars, ("23", "config/local.toml:3"));
    let site = site.file(".env", "\nAPP_DB__POOLS__WRITE__MAX=24");
    check(&site, &vars, ("24", "APP_DB__POOLS__WRITE__MAX in .env:2"));
    vars.push(("APP_DB__POOLS__WRITE__MAX", "25"));
    check(&site, &vars, ("25", "APP_DB__POOLS__WRITE__MAX"));
    let config = site
        .load(&vars)
        .unwrap()
        .with("pools.write.max", 26)
        .unwrap();
    assert_eq!(value(&config, key), ("26".into(), "code".into()));
}

/// case R44: in production neither `.env` nor `config/local.toml` is read.
#[test]
fn production_reads_neither_dotenv_nor_the_local_file() {
    let site = Site::new()
        .file(
            ".env",
            "APP_DB__PROFILE__MAX=24\nbroken line\nDATABASE_URL=nonsense",
        )
        .file("config/local.toml", "[database.profile]\nmax = 23");
    for environment in ["prod", "high-load", "lambda"] {
        let config = site.load(&[("APP_ENV", environment), LOCAL]).unwrap();
        assert!(
            value(&config, "database.profile.max")
                .1
                .starts_with("built-in")
        );
    }
}

/// `.env` is looked for in the working directory only.
#[test]
fn dotenv_of_a_parent_directory_is_not_read() {
    let site = Site::new()
        .file(".env", "APP_DB__PROFILE__MAX=24")
        .file("sub/x", "");
    let config = Config::load_from(&site.path().join("sub"), []).unwrap();
    assert_eq!(value(&config, "database.profile.max").0, "10");
}

/// A variable of the process hides the one in `.env`, even if it is empty.
#[test]
fn dotenv_never_overrides_a_real_variable() {
    let site = Site::new().file(".env", "DATABASE_URL=postgres://u@localhost/file");
    let config = site.load(&[LOCAL]).unwrap();
    assert_eq!(config.pooled_url().unwrap().endpoint().dbname, "d");
    assert!(
        site.load(&[("DATABASE_URL", "")])
            .unwrap()
            .pooled_url()
            .is_err()
    );
}

#[test]
fn what_is_configured_for_a_pool_beats_the_profile_and_a_missing_directory_is_no_error() {
    let vars = [
        LOCAL,
        ("APP_DB__PROFILE__MAX", "30"),
        ("APP_DB__POOLS__BATCH_2__MAX", "3"),
        ("APP_DB__POOLS__BATCH_2__MAX_LIFETIME", "0s"),
    ];
    let config = Site::new().load(&vars).unwrap();
    assert_eq!(config.pool_names(), ["batch_2", "read", "write"]);
    assert_eq!(profile(&config, "write").max, 30);
    let batch = profile(&config, "batch_2");
    assert_eq!(
        (batch.max, batch.min_idle, batch.max_lifetime),
        (3, 2, None)
    );
}

/// A smaller `max` lowers a built-in `min_idle`; a configured `min_idle` contradicts it.
#[test]
fn a_max_below_the_built_in_min_idle_lowers_it_and_a_configured_one_is_an_error() {
    let config = Site::new()
        .load(&[LOCAL, ("APP_DB__PROFILE__MAX", "1")])
        .unwrap();
    assert_eq!(profile(&config, "write").min_idle, 1);
    let origin = value(&config, "database.pools.write.min_idle").1;
    assert_eq!(origin, "built-in (dev), lowered to max");
    let vars = [
        LOCAL,
        ("APP_DB__PROFILE__MAX", "1"),
        ("APP_DB__PROFILE__MIN_IDLE", "2"),
    ];
    assert_eq!(
        Site::new().error(&vars),
        "database.profile.min_idle (APP_DB__PROFILE__MIN_IDLE): 2 is more than max, which \
         is 1 (APP_DB__PROFILE__MAX); expected at most 1"
    );
    let error = Site::new().error(&[LOCAL, ("APP_DB__RETRY__BASE_DELAY", "2s")]);
    assert!(
        error.contains("2s is more than max_delay, which is 1s (built-in"),
        "{error}"
    );
}

#[test]
fn an_empty_variable_counts_as_unset_and_still_hides_that_of_dotenv() {
    let site = Site::new().file(".env", "APP_DB__PROFILE__MAX=24");
    let config = site.load(&[LOCAL, ("APP_DB__PROFILE__MAX", "")]).unwrap();
    assert_eq!(value(&config, "database.profile.max").1, "built-in (dev)");
}

#[test]
fn code_is_checked_like_every_other_layer() {
    let config = || Config::builtin(&Environment::Dev);
    let error = config().with("pools.write.mxa", 5).unwrap_err().to_string();
    assert!(
        error.contains("did you mean `database.pools.write.max`"),
        "{error}"
    );
    let error = config()
        .with("database.retry.max_delay", 5)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("(code): expected a duration") && error.contains("\"5s\""),
        "{error}"
    );
    let error = config()
        .with("tls.mode", "disable")
        .unwrap_err()
        .to_string();
    assert!(error.contains("APP_DB__TLS__MODE"), "{error}");
    let config = config().with("database.retry.max_delay", "5s").unwrap();
    assert_eq!(value(&config, "database.retry.max_delay").0, "5s");
}

/// Prisma's parameters size the pool unless a variable does.
#[test]
fn connection_limit_of_the_url_sizes_the_pools() {
    let url = "postgres://u@localhost/d?connection_limit=4&pool_timeout=7";
    let site = Site::new().file("config/dev.toml", "[database.profile]\nmax = 30");
    let config = site.load(&[("DATABASE_URL", url)]).unwrap();
    let expected = (
        "4".to_owned(),
        "connection_limit in DATABASE_URL".to_owned(),
    );
    assert_eq!(value(&config, "database.pools.write.max"), expected);
    let expected = ("7s".to_owned(), "pool_timeout in DATABASE_URL".to_owned());
    assert_eq!(
        value(&config, "database.pools.read.checkout_timeout"),
        expected
    );
    let config = site
        .load(&[("DATABASE_URL", url), ("APP_DB__PROFILE__MAX", "6")])
        .unwrap();
    assert_eq!(profile(&config, "write").max, 6);
}

#[test]
fn a_service_keeps_its_own_tables_in_the_same_files() {
    let text = "[server]\nport = 80\ndatabase = { colour = 1 }\n[databse]\nmax = 1\n[database]\n";
    let config = Site::new()
        .file("config/dev.toml", text)
        .load(&[LOCAL])
        .unwrap();
    assert_eq!(
        config.warnings(),
        ["config/dev.toml:4: the table `databse` is not read; did you mean `database`?"]
    );
}
