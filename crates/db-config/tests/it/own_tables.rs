//! The tables of the service itself, and tables that were meant to be ours.

use std::time::Duration;

use serde::Deserialize;

use crate::site::{LOCAL, Site};

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Http {
    port: u16,
    #[serde(default = "Http::any")]
    host: String,
    #[serde(default, with = "db_config::duration::optional")]
    timeout: Option<Duration>,
    #[serde(default)]
    origins: Vec<String>,
    #[serde(default)]
    ratio: f64,
    #[serde(default)]
    compress: bool,
    #[serde(default)]
    tls: Option<Tls>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Tls {
    cert: String,
    level: Level,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Level {
    Low,
    High,
}

/// Its own error quotes the value.
#[derive(Debug, Deserialize)]
struct Quoting {
    #[serde(rename = "key", deserialize_with = "quoting")]
    _key: String,
}

fn quoting<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    Err(serde::de::Error::custom(format!("`{text}` is no key")))
}

impl Http {
    fn any() -> String {
        "0.0.0.0".to_owned()
    }
}

/// `config.own::<T>("http")` reads the same layers as our own table, each above the one before.
#[test]
fn a_table_of_the_service_comes_through_the_same_layers() {
    let mut site = Site::new();
    let port = |site: &Site, vars: &[(&str, &str)]| {
        let vars = [&[LOCAL][..], vars].concat();
        site.load(&vars).unwrap().own::<Http>("http").unwrap().port
    };
    for (at, name) in [
        "config/default.toml",
        "config/dev.toml",
        "config/local.toml",
    ]
    .iter()
    .enumerate()
    {
        site = site.file(
            name,
            &format!("[http]\nport = {at}\n[http.tls]\ncert = \"{at}\"\nlevel = \"low\""),
        );
        assert_eq!(usize::from(port(&site, &[])), at);
    }
    let site = site.file(".env", "APP__HTTP__PORT=3");
    assert_eq!(port(&site, &[]), 3);
    assert_eq!(port(&site, &[("APP__HTTP__PORT", "4")]), 4);
    assert_eq!(
        port(&site, &[("APP__HTTP__PORT", "")]),
        2,
        "empty counts as unset"
    );
    // In production neither local.toml nor .env is read.
    assert_eq!(port(&site, &[("APP_ENV", "prod")]), 0);
    let vars = [LOCAL, ("APP__HTTP__TLS__LEVEL", "high")];
    let tls: Tls = site.load(&vars).unwrap().own("http.tls").unwrap();
    let expected = Tls {
        cert: "2".to_owned(),
        level: Level::High,
    };
    assert_eq!(
        tls, expected,
        "a variable changes one key and leaves the others"
    );
}

#[test]
fn values_of_every_kind_come_from_files_and_from_variables() {
    let text = "[http]\nport = 0x1F90\nhost = \"::1\"\ntimeout = \"30s\"\norigins = [\"a\", \"b\"]\nratio = 0.5\n\
                compress = true\ntls = { cert = \"c\", level = \"high\" }\n[my-table]\nkey = 1_000\nday = 2024-01-02";
    let of_file: Http = Site::new()
        .file("config/dev.toml", text)
        .load(&[LOCAL])
        .unwrap()
        .own("http")
        .unwrap();
    let vars = [
        LOCAL,
        ("APP__HTTP__PORT", "8080"),
        ("APP__HTTP__HOST", "::1"),
        ("APP__HTTP__TIMEOUT", "30s"),
        ("APP__HTTP__ORIGINS", "[\"a\", \"b\"]"),
        ("APP__HTTP__RATIO", "0.5"),
        ("APP__HTTP__COMPRESS", "true"),
        ("APP__HTTP__TLS__CERT", "c"),
        ("APP__HTTP__TLS__LEVEL", "high"),
        ("APP__MY_TABLE__KEY", "5"),
    ];
    let config = Site::new()
        .file("config/dev.toml", &text[text.find("[my").unwrap()..])
        .load(&vars)
        .unwrap();
    assert_eq!(of_file, config.own::<Http>("http").unwrap());
    assert_eq!(of_file.port, 8080);
    assert_eq!(of_file.timeout, Some(Duration::from_secs(30)));

    #[derive(Deserialize)]
    struct Mine {
        key: u32,
        day: String,
    }
    let mine: Mine = config.own("my-table").unwrap();
    assert_eq!((mine.key, mine.day.as_str()), (5, "2024-01-02"));

    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct None {
        key: Option<u32>,
    }
    assert_eq!(config.own::<None>("nowhere").unwrap().key, None);
}

/// An error has the key and its origin, and never the value, which may be a secret.
#[test]
fn a_wrong_value_of_the_service_is_named_without_the_value() {
    let text = "[http]\nport = \"canary\"\n[bad]\nport = 1\nprot = \"canary\"\n[deep]\nport = 1\n[deep.tls]\n\
                cert = \"c\"\nlevel = \"canary\"\n[array]\nport = 1\norigins = [[\"canary\"]]\n[flat]\nport = 1\ntls = \"canary\"\n[quoting]\nkey = \"canary\"";
    let site = Site::new()
        .file("config/dev.toml", text)
        .file(".env", "APP__ENV__PORT='canary'x");
    let config = site
        .load(&[
            LOCAL,
            ("APP__VARS__PORT", "canary"),
            ("APP__EMPTY__HOST", "canary"),
        ])
        .unwrap();
    for (name, start, why) in [
        ("http", "http.port (config/dev.toml:2): ", "integer"),
        ("bad", "bad", "unknown field `prot`"),
        ("deep", "deep.tls.level (config/dev.toml:10): ", "words"),
        ("array", "array.origins", "string"),
        (
            "flat",
            "flat.tls (config/dev.toml:16): ",
            "expected a table",
        ),
        ("vars", "vars.port (APP__VARS__PORT): ", "integer"),
        ("empty", "empty.port: not set", "APP__EMPTY__PORT"),
        ("nowhere", "nowhere.port: not set", "APP__NOWHERE__PORT"),
        ("env", "APP__ENV__PORT (.env:1): ", "closing quote"),
        ("database", "database (code): ", "name of a table"),
        (
            "database.retry",
            "database.retry (code): ",
            "name of a table",
        ),
        ("", " (code): ", "name of a table"),
    ] {
        let error = config.own::<Http>(name).unwrap_err().to_string();
        assert!(
            error.starts_with(start) && error.contains(why),
            "{name}: {error}"
        );
        assert!(!error.contains("canary"), "{name}: {error}");
    }
    let error = config.own::<Quoting>("quoting").unwrap_err().to_string();
    assert_eq!(error, "quoting.key (config/dev.toml:18): `***` is no key");
    let shown = format!("{config:?} {config:#?}");
    assert!(!shown.contains("canary"), "{shown}");
}

/// `[databse]` and other near misses of top-level tables.
#[test]
fn a_table_that_is_meant_to_be_ours_is_a_warning_that_names_ours() {
    for (text, meant) in [
        ("[databse]\nx = 1", "database"),
        ("[databse.pools.write]\nmax = 5", "database"),
        ("[databases.retry]", "database"),
        ("[Database.profile]\nmax = 1", "database"),
        ("[data-base]", "database"),
        ("databse = 1", "database"),
        ("[[databse]]", "database"),
        ("[db.pools.write]\nmax = 5", "database"),
        ("[postgres]\nprofile = { max = 1 }", "database"),
        ("[app_db.retry]\nattempts = 1", "database"),
        ("[pools.write]\nmax = 5", "database.pools"),
        ("[profile]\nmax = 5", "database.profile"),
        ("[profle]\nmin_idle = 5", "database.profile"),
        ("[slow-query]\nthreshold = \"1s\"", "database.slow_query"),
        ("[reconnect]\nattempts = 5", "database.reconnect"),
        (
            "database_url = \"postgres://u:canary@h/d\"",
            "DATABASE_URL, a variable",
        ),
    ] {
        let config = Site::new()
            .file("config/dev.toml", &format!("\n{text}"))
            .load(&[LOCAL])
            .unwrap();
        let [warning] = config.warnings() else {
            panic!("{text}: {:?}", config.warnings());
        };
        assert!(
            warning.starts_with("config/dev.toml:2: the table `"),
            "{text}: {warning}"
        );
        assert!(
            warning.ends_with(&format!("did you mean `{meant}`?")),
            "{text}: {warning}"
        );
        assert!(!warning.contains("canary"), "{warning}");
    }
    for text in [
        "[http]\nport = 1",
        "[db]\nname = \"x\"",
        "[profile]\npicture = 1",
        "[postgres]\nversion = 17",
        "[pool]\nsize = 1",
        "[retry]\nattempts = 3",
        "[server.profile]\nmax = 1",
        "name = \"x\"",
        "[postgres]",
        "[pools]",
    ] {
        let config = Site::new()
            .file("config/dev.toml", text)
            .load(&[LOCAL])
            .unwrap();
        assert_eq!(config.warnings(), [""; 0], "{text}");
    }
}
