//! `APP_ENV`: aliases, names with a file, and what happens without it.

use db_config::Environment;

use crate::site::{LOCAL, Site, value};

/// case R45, decided table: names and aliases.
#[test]
fn an_alias_selects_the_file_of_the_canonical_name() {
    let site = Site::new().file("config/staging.toml", "[database.profile]\nmax = 7");
    for alias in ["staging", "stage", "STG"] {
        let config = site.load(&[("APP_ENV", alias), LOCAL]).unwrap();
        assert_eq!(config.environment(), &Environment::Staging);
        let expected = ("7".to_owned(), "config/staging.toml:2".to_owned());
        assert_eq!(value(&config, "database.profile.max"), expected);
    }
}

/// Decided table: any other name works when its file exists, with the numbers of prod.
#[test]
fn another_name_needs_its_file_and_starts_from_the_numbers_of_prod() {
    let site = Site::new().file("config/canary.toml", "");
    let config = site.load(&[("APP_ENV", "Canary"), LOCAL]).unwrap();
    assert_eq!(config.environment(), &Environment::Named("canary".into()));
    assert_eq!(value(&config, "database.pools.write.max").0, "50");
    assert_eq!(value(&config, "database.tls.mode").0, "verify-full");
    let error = site.error(&[("APP_ENV", "canari"), LOCAL]);
    assert!(error.contains("unknown environment \"canari\""), "{error}");
}

/// Bad input: a misspelt environment never falls back to another one.
#[test]
fn a_misspelt_environment_is_an_error_with_the_nearest_name() {
    let error = Site::new().error(&[("APP_ENV", "porduction"), LOCAL]);
    assert!(
        error.starts_with("APP_ENV: unknown environment \"porduction\""),
        "{error}"
    );
    assert!(
        error.contains("did you mean `production`?") && error.contains("dev, test"),
        "{error}"
    );
}

/// Decided table: without APP_ENV it is dev when every URL is local.
#[test]
fn without_app_env_local_urls_mean_dev() {
    let site = Site::new();
    for vars in [
        vec![],
        vec![LOCAL],
        vec![
            ("DATABASE_URL", "postgres://u@/d?host=/tmp"),
            ("APP_ENV", ""),
        ],
        vec![LOCAL, ("DATABASE_URL_REPLICA", "postgres://u@[::1]/d")],
    ] {
        assert_eq!(site.load(&vars).unwrap().environment(), &Environment::Dev);
    }
}

/// Bad input: without APP_ENV a URL of another machine is an error that says so.
#[test]
fn without_app_env_a_url_of_another_machine_is_an_error() {
    let remote = "postgres://u:canary@db.example/d";
    for vars in [
        vec![("DATABASE_URL", remote)],
        vec![LOCAL, ("DATABASE_URL_DIRECT", remote)],
        vec![LOCAL, ("DATABASE_URL_REPLICA", remote)],
    ] {
        let error = Site::new().error(&vars);
        assert!(
            error.starts_with("APP_ENV: not set, and db.example:5432/d"),
            "{error}"
        );
    }
}

/// case R44: `.env` may choose any environment but production.
#[test]
fn dotenv_may_choose_an_environment_but_not_production() {
    let config = Site::new()
        .file(".env", "APP_ENV=ci")
        .load(&[LOCAL])
        .unwrap();
    assert_eq!(config.environment(), &Environment::Test);
    assert_eq!(
        value(&config, "APP_ENV"),
        ("test".into(), "APP_ENV in .env:1".into())
    );
    for name in ["prod", "live", "lambda", "high-load"] {
        let error = Site::new()
            .file(".env", &format!("APP_ENV={name}"))
            .error(&[LOCAL]);
        assert!(error.contains("only the process environment"), "{error}");
    }
}
