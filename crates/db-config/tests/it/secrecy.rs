//! No public type shows a secret, however it is formatted.

use db_config::{Config, Credentials, Environment, PooledUrl};

use crate::site::Site;

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

/// req 4.47, case R49: a `Config` can be serialized, for an endpoint for operators, and every text is the one
/// that is displayed.
#[test]
fn what_is_serialized_is_what_is_displayed() {
    let site = Site::new().file("config/dev.toml", "[http]\nkey = \"Canary\"\n[databse]");
    let vars = [
        (
            "DATABASE_URL",
            "postgres://u:Canary@localhost/d?sslmode=verify-ca&target_session_attrs=standby",
        ),
        ("DATABASE_URL_REPLICA", "postgres://u:Canary@localhost:6/d"),
    ];
    let config = site.load(&vars).unwrap();
    let pooled = config.pooled_url().unwrap();
    let direct = config.direct_url().unwrap();
    assert_eq!(json(pooled), format!("{:?}", pooled.to_string()));
    assert_eq!(json(direct), format!("{:?}", direct.to_string()));
    assert_eq!(json(pooled.endpoint()), json(pooled));
    assert_eq!(
        json(&config.replica_urls()),
        "[\"postgres://u:***@localhost:6/d?sslmode=disable\"]"
    );
    assert_eq!(
        json(&pooled.endpoint().tls),
        "{\"mode\":\"verify-ca\",\"root_cert\":null,\"client_cert\":null,\"direct\":false,\
         \"channel_binding\":\"prefer\"}"
    );
    assert_eq!(json(&pooled.endpoint().target_session_attrs), "\"standby\"");
    assert_eq!(json(&pooled.endpoint().hosts), "[\"localhost:5432\"]");
    let whole: serde_json::Value = serde_json::from_str(&json(&config)).unwrap();
    assert_eq!(whole["environment"], "dev");
    let values = whole["values"].as_array().unwrap();
    assert_eq!(values.len(), config.explain().count());
    let url = values
        .iter()
        .find(|value| value["key"] == "database.url")
        .unwrap();
    assert_eq!(url["value"], pooled.to_string());
    assert_eq!(url["origin"], "DATABASE_URL");
    assert_eq!(whole["warnings"].as_array().unwrap().len(), 1);
    assert!(!json(&config).contains("Canary"));
    let error = site.load(&[("APP_DB__PROFILE__MAX", "x")]).unwrap_err();
    let whole: serde_json::Value = serde_json::from_str(&json(&error)).unwrap();
    assert_eq!(whole["problems"][0]["key"], "database.profile.max");
    assert_eq!(whole["problems"][0]["origin"], "APP_DB__PROFILE__MAX");
}

/// req 4.47, case R49
#[test]
fn no_public_type_shows_a_secret() {
    let url = "postgres://u:Canary@localhost/d?options=-c%20app.token%3DCanary";
    let site = Site::new().file("twin", "postgres://u:Canary@localhost:6432/d");
    let vars = [
        ("DATABASE_URL", url),
        ("DATABASE_URL_DIRECT_FILE", "twin"),
        ("DATABASE_URL_REPLICA", "postgres://u@localhost/d"),
        ("PGPASSWORD", "Canary"),
        ("PGOPTIONS", "-c other.token=Canary"),
    ];
    let config = site.load(&vars).unwrap();
    let pooled = config.pooled_url().unwrap();
    let direct = config.direct_url().unwrap();
    let explained: Vec<_> = config.explain().collect();
    let mut shown = format!(
        "{config:?} {config:#?} {pooled} {pooled:?} {direct} {direct:#?} {:?} {} {:?} {:?}",
        pooled.endpoint(),
        direct.endpoint(),
        config.replica_urls(),
        explained,
    );
    shown.push_str(&json(&config));
    shown.push_str(&json(&(
        pooled,
        direct,
        pooled.endpoint(),
        config.replica_urls(),
    )));
    explained
        .iter()
        .for_each(|line| shown.push_str(&line.to_string()));
    config
        .warnings()
        .iter()
        .for_each(|line| shown.push_str(line));
    let credentials = Credentials::new("u", "Canary");
    shown.push_str(&format!(
        "{credentials:?} {:?}",
        pooled.endpoint().with_credentials(&credentials)
    ));
    for error in [
        PooledUrl::parse("postgres://u:Canary@h/d?sslmode=x&Canari=y").unwrap_err(),
        site.load(&[("DATABASE_URL", "postgres://u:Can@ry:Canary@h/d")])
            .unwrap_err(),
        Config::builtin(&Environment::Prod)
            .pooled_url()
            .unwrap_err(),
    ] {
        shown.push_str(&format!("{error} {error:?} {:?}", error.problems()));
        shown.push_str(&json(&error));
    }
    assert!(!shown.contains("Canary"), "{shown}");
    assert!(shown.contains("u:***@localhost:6432/d"), "{shown}");
}

/// case R46: a file of the credentials that everyone can read is a warning, like one that a `*_FILE` names.
#[cfg(unix)]
#[test]
fn a_source_that_everyone_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new().file("secret", "canary");
    let vars = [
        crate::site::LOCAL,
        ("APP_DB__CREDENTIALS__SOURCE", "file"),
        ("APP_DB__CREDENTIALS__PATH", "secret"),
    ];
    for (mode, warns) in [(0o644, true), (0o440, false)] {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(site.path().join("secret"), permissions).unwrap();
        let config = site.load(&vars).unwrap();
        let is_warned = |line: &String| line.contains("credentials.path") && line.contains("0400");
        assert_eq!(config.warnings().iter().any(is_warned), warns, "{mode:o}");
    }
}
