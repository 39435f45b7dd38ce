//! Bad input ends with one message that names key, origin and what was expected.

use crate::site::{LOCAL, Site, value};

#[test]
fn an_unknown_key_of_a_file_is_an_error_with_its_line_and_the_nearest_name() {
    let text = "[database.pools.write]\n\nmxa = 5\n[database.retri]\nattempts = 1";
    let error = Site::new().file("config/dev.toml", text).error(&[LOCAL]);
    assert!(
        error.contains(
            "database.pools.write.mxa (config/dev.toml:3): unknown key; did you mean \
             `database.pools.write.max` (APP_DB__POOLS__WRITE__MAX)?"
        ),
        "{error}"
    );
    assert!(
        error.contains("database.retri (config/dev.toml:4): unknown key"),
        "{error}"
    );
}

#[test]
fn a_text_where_a_duration_belongs_is_an_error_that_shows_it() {
    let text = "[database.profile]\nidle_timeout = \"abc\"\nconnect_timeout = 5";
    let error = Site::new().file("config/dev.toml", text).error(&[LOCAL]);
    assert!(
        error.contains(
            "database.profile.idle_timeout (config/dev.toml:2): expected a duration such as \
             \"500ms\""
        ) && error.contains("found \"abc\""),
        "{error}"
    );
    assert!(
        error.contains("found the number 5: write \"5s\" or \"5ms\""),
        "{error}"
    );
}

#[test]
fn an_unknown_variable_is_an_error_with_the_nearest_name() {
    let error = Site::new().error(&[LOCAL, ("APP_DB__POOLS__WRITE__MXA", "1")]);
    assert_eq!(
        error,
        "database.pools.write.mxa (APP_DB__POOLS__WRITE__MXA): unknown key; did you mean \
         `database.pools.write.max` (APP_DB__POOLS__WRITE__MAX)?"
    );
    let config = Site::new()
        .load(&[LOCAL, ("APP_DB_PROFILE_MAX", "1")])
        .unwrap();
    assert_eq!(
        config.warnings(),
        ["APP_DB_PROFILE_MAX: not read; our variables begin with APP_DB__"]
    );
    let config = Site::new()
        .load(&[LOCAL, ("APP__DATABASE__PROFILE__MAX", "1")])
        .unwrap();
    assert_eq!(
        config.warnings(),
        ["APP__DATABASE__PROFILE__MAX: not read; our variables begin with APP_DB__"]
    );
}

/// case R46: the variable and its twin exclude each other.
#[test]
fn a_url_and_its_file_are_an_error_and_neither_is_read() {
    for name in [
        "DATABASE_URL",
        "DATABASE_URL_DIRECT",
        "DATABASE_URL_REPLICA",
    ] {
        let twin = format!("{name}_FILE");
        let vars = [
            (name, "postgres://u:canary@localhost/d"),
            (twin.as_str(), "none"),
        ];
        let error = Site::new().error(&vars);
        assert_eq!(
            error,
            format!("{name}: {twin} is set too; set one of the two")
        );
    }
}

/// No layer below replaces a broken variable, because that layer's problems would mislead.
#[test]
fn a_broken_url_is_the_only_problem_whatever_lies_below_it() {
    let vars = [
        LOCAL,
        ("DATABASE_URL_FILE", "none"),
        ("POSTGRES_HOST", "no host"),
    ];
    let error = Site::new().load(&vars).unwrap_err();
    let keys: Vec<_> = error.problems().iter().map(|p| p.key.as_str()).collect();
    assert_eq!(keys, ["DATABASE_URL"], "{error}");
}

#[test]
fn no_url_at_all_is_an_error_for_who_asks_and_says_what_to_set() {
    let config = Site::new().load(&[]).unwrap();
    let error = config.pooled_url().unwrap_err().to_string();
    assert!(
        error.starts_with("DATABASE_URL: not set, nor DATABASE_URL_FILE, POSTGRES_HOST"),
        "{error}"
    );
    assert!(
        error.contains("postgres://user:password@host:5432/database"),
        "{error}"
    );
    let error = config.direct_url().unwrap_err().to_string();
    assert!(
        error.starts_with("DATABASE_URL_DIRECT: not set, and DATABASE_URL"),
        "{error}"
    );
}

/// Who starts a service in another directory, or in production, has a `.env` that does not count.
#[test]
fn a_missing_url_says_why_no_dotenv_has_it() {
    let asked = |site: &Site, vars: &[(&str, &str)]| {
        let config = site.load(vars).unwrap();
        config.pooled_url().unwrap_err().to_string()
    };
    let unread = "; .env is not read in prod";
    let prod = [("APP_ENV", "prod")];

    let without = Site::new();
    let none = format!("; there is no .env in {}", without.path().display());
    let error = asked(&without, &[]);
    assert!(error.ends_with(&none), "{error}");
    let error = asked(&without, &prod);
    assert!(!error.contains(".env"), "{error}");

    let with = Site::new().file(".env", "OTHER=1");
    let error = asked(&with, &prod);
    assert!(error.ends_with(unread), "{error}");
    let error = asked(&with, &[]);
    assert!(!error.contains(".env"), "{error}");
}

#[test]
fn every_problem_of_every_layer_is_reported_at_once() {
    let error = Site::new()
        .file(
            "config/default.toml",
            "[database.retry]\nattempts = 0\nx = 1",
        )
        .file("config/dev.toml", "[database\n")
        .file(
            ".env",
            "APP_DB__PROFILE__MAX=many\nDATABASE_URL=postgres://u:pa$word@h/d",
        )
        .load(&[
            (
                "DATABASE_URL_DIRECT",
                "postgres://u:canary@localhost/d?sslmod=x&sslmode=y",
            ),
            ("DATABASE_URL_REPLICA", "mysql://u:canary@h/d"),
            ("APP_DB__PROFILE__POOLER", "pgbouncer"),
            ("PGSERVICE", "x"),
        ])
        .unwrap_err();
    let origins: Vec<_> = error.problems().iter().map(|p| p.origin.as_str()).collect();
    assert_eq!(
        origins,
        [
            ".env:2",
            "config/default.toml:2",
            "config/default.toml:3",
            "config/dev.toml:1",
            "APP_DB__PROFILE__MAX in .env:1",
            "APP_DB__PROFILE__POOLER",
            "PGSERVICE",
            "DATABASE_URL_DIRECT",
            "DATABASE_URL_REPLICA",
        ]
    );
    let text = error.to_string();
    assert!(
        !text.contains("canary") && !text.contains("pa$word"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1 + origins.len(), "{text}");
}

#[test]
fn broken_toml_is_named_by_its_line_and_not_quoted() {
    let text = "[server]\nsecret = \"canary\nx = 1";
    let error = Site::new().file("config/dev.toml", text).error(&[LOCAL]);
    assert!(
        error.starts_with("config/dev.toml (config/dev.toml:2): not valid TOML"),
        "{error}"
    );
    assert!(!error.contains("canary"), "{error}");
}

/// Files as Windows writes them: a byte order mark before UTF-8 is allowed, and UTF-16 is named in
/// the error.
#[test]
fn a_file_in_another_encoding_is_named() {
    let text = "\u{feff}[database.profile]\nmax = 7\n[http]\nport = 1\nx = @";
    let error = Site::new().file("config/dev.toml", text).error(&[LOCAL]);
    assert!(
        error.contains("(config/dev.toml:5): not valid TOML"),
        "{error}"
    );
    let site = Site::new().file("config/dev.toml", text.strip_suffix("x = @").unwrap());
    let config = site.load(&[LOCAL]).unwrap();
    assert_eq!(
        value(&config, "database.profile.max"),
        ("7".into(), "config/dev.toml:2".into())
    );
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(site.path().join("config/dev.toml"), utf16).unwrap();
    let error = site.error(&[LOCAL]);
    assert!(
        error.starts_with("config/dev.toml: is not UTF-8"),
        "{error}"
    );
}

#[test]
fn a_url_or_password_in_a_file_is_refused_without_an_echo() {
    for key in ["url", "password", "direct_url"] {
        let text = format!("[database]\n{key} = \"postgres://u:canary@h/d\"");
        let error = Site::new().file("config/dev.toml", &text).error(&[LOCAL]);
        assert!(error.contains("does not belong in a file"), "{error}");
        assert!(!error.contains("canary"), "{error}");
    }
}

/// case R50: a control character in a value never reaches the server.
#[test]
fn control_characters_are_refused_wherever_they_come_from() {
    for (name, value) in [
        ("APP_DB__PROFILE__APPLICATION_NAME", "a\nb"),
        ("APP_DB__PROFILE__SEARCH_PATH", "a\0b"),
        ("PGAPPNAME", "a\nb"),
        ("PGOPTIONS", "-c a=b\n"),
    ] {
        let error = Site::new().error(&[LOCAL, (name, value)]);
        assert!(
            error.contains("control character") && error.contains(name),
            "{error}"
        );
    }
    let quoted = "it's \"x\"; \\ --";
    let vars = [LOCAL, ("APP_DB__PROFILE__APPLICATION_NAME", quoted)];
    let config = Site::new().load(&vars).unwrap();
    let name = value(&config, "database.profile.application_name");
    assert_eq!(name.0, quoted);
}

/// A command that is no list is told once, and not as one that is missing too.
#[test]
fn a_command_that_is_no_list_is_one_problem() {
    let error = Site::new().error(&[
        LOCAL,
        ("APP_DB__CREDENTIALS__SOURCE", "command"),
        ("APP_DB__CREDENTIALS__COMMAND", "/usr/local/bin/token"),
    ]);
    assert!(error.contains("expected a list of texts"), "{error}");
    assert!(!error.contains("not set"), "{error}");
}
