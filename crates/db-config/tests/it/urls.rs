//! Where the URLs come from, what fills their gaps, and what is used when one is missing.

use db_config::{Config, Endpoint, ExposeSecret, Host, TlsMode};

use crate::site::{LOCAL, Site, value};

fn pooled(config: &Config) -> &Endpoint {
    config.pooled_url().unwrap().endpoint()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test compares what a program must not read"
)]
fn password(endpoint: &Endpoint) -> Option<&str> {
    endpoint.password.as_ref().map(ExposeSecret::expose_secret)
}

/// req 1.11, req 1.12, req 1.13: the application reads one variable, migrations the other.
#[test]
fn the_application_and_migrations_read_their_own_variable() {
    let vars = [
        ("APP_ENV", "prod"),
        ("DATABASE_URL", "postgres://u@pool.example:6432/d"),
        ("DATABASE_URL_DIRECT", "postgres://u@db.example/d"),
    ];
    let config = Site::new().load(&vars).unwrap();
    assert_eq!(pooled(&config).address(), "pool.example:6432/d");
    assert_eq!(
        config.direct_url().unwrap().endpoint().address(),
        "db.example:5432/d"
    );
}

/// req 1.03, req 1.05: behind a pooler the direct URL is never guessed, and the error names it.
#[test]
fn behind_a_pooler_a_missing_direct_url_is_an_error_that_names_it() {
    for (url, hint, probable) in [
        (
            "postgres://u:canary@ep-a-1-pooler.eu.aws.neon.tech/d",
            "`-pooler` in the host",
            "postgres://u:***@ep-a-1.eu.aws.neon.tech:5432/d",
        ),
        (
            "postgres://postgres.ref:canary@aws-0-eu.pooler.supabase.com:6543/postgres",
            "`pooler.supabase.com` in the host",
            "postgres://postgres:***@db.ref.supabase.co:5432/postgres",
        ),
        (
            "postgres://u:canary@localhost:6432/d",
            "port 6432",
            "@localhost:5432/d",
        ),
        (
            "postgres://u:canary@localhost/d?pgbouncer=true",
            "pgbouncer=true",
            "@localhost:5432/d",
        ),
    ] {
        let config = Site::new()
            .load(&[("APP_ENV", "dev"), ("DATABASE_URL", url)])
            .unwrap();
        let error = config.direct_url().unwrap_err().to_string();
        assert!(error.starts_with("DATABASE_URL_DIRECT: not set"), "{error}");
        assert!(error.contains(hint) && error.contains(probable), "{error}");
        assert!(error.contains("--through-proxy"), "{error}");
        let proposed = error.contains("probably postgres://");
        assert_eq!(proposed, hint != "pgbouncer=true", "{error}");
        assert!(!error.contains("canary"), "{error}");
    }
}

#[test]
fn outside_production_the_pooled_url_serves_where_nothing_suggests_a_pooler() {
    let config = Site::new().load(&[LOCAL]).unwrap();
    assert_eq!(
        config.direct_url().unwrap().endpoint().address(),
        "localhost:5432/d"
    );
    let origin = value(&config, "database.direct_url").1;
    assert_eq!(origin, "DATABASE_URL (as DATABASE_URL_DIRECT is not set)");
    let config = Site::new().load(&[("APP_ENV", "prod"), LOCAL]).unwrap();
    let error = config.direct_url().unwrap_err().to_string();
    assert!(
        error.contains("in prod nothing is guessed: set DATABASE_URL_DIRECT"),
        "{error}"
    );
    assert!(
        error.contains("postgres://u:***@localhost:5432/d"),
        "{error}"
    );
}

#[test]
fn a_direct_url_that_looks_like_a_pooler_is_a_warning() {
    let vars = [
        LOCAL,
        ("DATABASE_URL_DIRECT", "postgres://u@localhost:6543/d"),
    ];
    let config = Site::new().load(&vars).unwrap();
    assert!(config.direct_url().is_ok());
    assert!(
        config.warnings()[0].contains("port 6543"),
        "{:?}",
        config.warnings()
    );
}

/// req 1.08: the platform supplies the URL under another name.
#[test]
fn another_variable_can_hold_the_url() {
    let vars = [
        ("APP_DB__URL_VARIABLE", "HYPERDRIVE_URL"),
        ("HYPERDRIVE_URL", "postgres://u@localhost/hyper"),
        ("DATABASE_URL", "postgres://u@localhost/other"),
    ];
    let config = Site::new().load(&vars).unwrap();
    assert_eq!(pooled(&config).dbname, "hyper");
    let config = Site::new().load(&vars[..1]).unwrap();
    let error = config.pooled_url().unwrap_err().to_string();
    assert!(error.starts_with("HYPERDRIVE_URL: not set"), "{error}");
}

/// case R46: BOM, CRLF and newline of a mounted secret are no part of it.
#[test]
fn a_url_is_read_from_the_file_that_the_twin_names() {
    let site = Site::new()
        .file(
            "secrets/url",
            "\u{feff}postgres://u:p%2F@localhost/file\r\n",
        )
        .file("secrets/empty", "\n");
    let config = site.load(&[("DATABASE_URL_FILE", "secrets/url")]).unwrap();
    assert_eq!(
        (pooled(&config).dbname.as_str(), password(pooled(&config))),
        ("file", Some("p/"))
    );
    assert_eq!(
        value(&config, "database.url").1,
        "DATABASE_URL_FILE (secrets/url)"
    );
    for (file, why) in [
        ("secrets/none", "does not exist"),
        ("secrets/empty", "is empty"),
    ] {
        let error = site.error(&[("DATABASE_URL_FILE", file)]);
        assert!(
            error.contains(why) && error.starts_with("DATABASE_URL_FILE"),
            "{error}"
        );
    }
}

#[test]
fn replicas_are_a_list_and_hosts_inside_a_url_stay_together() {
    let list = "postgres://u@localhost:1,localhost:2/d, postgres://u@localhost:3/d";
    let config = Site::new()
        .load(&[LOCAL, ("DATABASE_URL_REPLICA", list)])
        .unwrap();
    let addresses: Vec<_> = config
        .replica_urls()
        .iter()
        .map(|url| url.endpoint().address())
        .collect();
    assert_eq!(addresses, ["localhost:1,localhost:2/d", "localhost:3/d"]);
}

/// req 2.03: the variables in pieces have defaults once the host is set.
#[test]
fn postgres_variables_count_when_the_host_is_set_and_have_defaults() {
    let config = Site::new().load(&[("POSTGRES_HOST", "localhost")]).unwrap();
    let endpoint = pooled(&config);
    assert_eq!(endpoint.address(), "localhost:3730/harca_memory");
    assert_eq!(
        (endpoint.user.as_str(), password(endpoint)),
        ("harca_user", Some("password"))
    );
    assert_eq!(value(&config, "database.url").1, "POSTGRES_HOST");
    let vars = [
        ("POSTGRES_HOST", "127.0.0.1"),
        ("POSTGRES_PORT", "5433"),
        ("POSTGRES_DB", "d"),
        ("POSTGRES_USER", "u@x"),
        ("POSTGRES_PASSWORD", "p@/?#%"),
    ];
    let config = Site::new().load(&vars).unwrap();
    let endpoint = pooled(&config);
    assert_eq!(endpoint.address(), "127.0.0.1:5433/d");
    assert_eq!(
        (endpoint.user.as_str(), password(endpoint)),
        ("u@x", Some("p@/?#%"))
    );
    assert!(
        Site::new().load(&vars[1..]).unwrap().pooled_url().is_err(),
        "without a host: nothing"
    );
    let config = Site::new().load(&[vars[0], LOCAL]).unwrap();
    assert_eq!(pooled(&config).dbname, "d", "the URL is above the pieces");
}

/// req 2.04: sizes and their defaults.
#[test]
fn postgres_pool_variables_size_the_profile() {
    let host = ("POSTGRES_HOST", "localhost");
    let size = |vars: &[(&str, &str)]| {
        let config = Site::new().load(vars).unwrap();
        let max = value(&config, "database.pools.write.max");
        (
            value(&config, "database.pools.write.min_idle").0,
            max.0,
            max.1,
        )
    };
    assert_eq!(
        size(&[host]),
        (
            "5".into(),
            "20".into(),
            "built-in (POSTGRES_POOL_MAX)".into()
        )
    );
    let own = [host, ("POSTGRES_POOL_MAX", "8"), ("POSTGRES_POOL_MIN", "3")];
    assert_eq!(
        size(&own),
        ("3".into(), "8".into(), "POSTGRES_POOL_MAX".into())
    );
    assert_eq!(
        size(&[LOCAL, own[1], own[2]]).1,
        "10",
        "without a host: nothing"
    );
    let error = Site::new().error(&[host, ("POSTGRES_POOL_MAX", "many")]);
    assert!(
        error.starts_with("POSTGRES_POOL_MAX: expected a whole number"),
        "{error}"
    );
}

/// req 2.32: hosts for the write and the read side.
#[test]
fn primary_and_replica_hosts_make_two_urls() {
    let vars = [
        ("POSTGRES_HOST", "localhost"),
        ("POSTGRES_PRIMARY_HOST", "127.0.0.1"),
        ("POSTGRES_REPLICA_HOST", "127.0.0.2"),
        ("POSTGRES_PORT", "5432"),
    ];
    let config = Site::new().load(&vars).unwrap();
    assert_eq!(pooled(&config).address(), "127.0.0.1:5432/harca_memory");
    assert_eq!(
        config.replica_urls()[0].endpoint().address(),
        "127.0.0.2:5432/harca_memory"
    );
    assert_eq!(value(&config, "database.pools.read.max").0, "50");
    assert!(Site::new().load(&vars[1..]).unwrap().pooled_url().is_ok());
    assert!(
        Site::new()
            .load(&vars[2..])
            .unwrap()
            .replica_urls()
            .is_empty()
    );
}

#[test]
fn libpq_variables_fill_what_the_url_does_not_say() {
    let vars = [
        ("DATABASE_URL", "postgres://localhost/d"),
        ("PGUSER", "pg"),
        ("PGPASSWORD", "secret"),
        ("PGHOST", "elsewhere"),
        ("PGHOSTADDR", "10.0.0.9"),
        ("PGAPPNAME", "name"),
        ("PGCONNECT_TIMEOUT", "4"),
        ("PGOPTIONS", "-c work_mem=1MB"),
        ("PGSSLMODE", "require"),
    ];
    let config = Site::new().load(&vars).unwrap();
    let endpoint = pooled(&config);
    let host = Host::Tcp {
        name: "localhost".into(),
        addr: None,
        port: 5432,
    };
    assert_eq!(
        endpoint.hosts,
        [host],
        "the address of another host does not apply"
    );
    assert_eq!(
        (endpoint.user.as_str(), password(endpoint)),
        ("pg", Some("secret"))
    );
    assert_eq!(endpoint.application_name.as_deref(), Some("name"));
    assert_eq!(endpoint.connect_timeout.unwrap().as_secs(), 4);
    assert_eq!(endpoint.settings["work_mem"], "1MB");
    assert_eq!(endpoint.tls.mode, TlsMode::Require);
    let expected = ("***".to_owned(), "PGPASSWORD".to_owned());
    assert_eq!(value(&config, "database.url.password"), expected);
    let said = [
        ("DATABASE_URL", "postgres://u:p@localhost/d?sslmode=disable"),
        vars[2],
        vars[8],
    ];
    let config = Site::new().load(&said).unwrap();
    assert_eq!(
        (password(pooled(&config)), pooled(&config).tls.mode),
        (Some("p"), TlsMode::Disable)
    );
}

#[test]
fn libpq_variables_alone_make_an_endpoint_when_the_host_is_set() {
    let vars = [
        ("PGUSER", "u"),
        ("PGDATABASE", "d"),
        ("PGPORT", "6000"),
        ("PGHOST", "/run/pg"),
    ];
    let config = Site::new().load(&vars).unwrap();
    assert_eq!(pooled(&config).address(), "/run/pg:6000/d");
    assert_eq!(value(&config, "database.url").1, "PGHOST");
    assert!(Site::new().load(&vars[..3]).unwrap().pooled_url().is_err());
    let both = [vars[0], vars[3], ("POSTGRES_HOST", "localhost")];
    assert_eq!(
        value(&Site::new().load(&both).unwrap(), "database.url").1,
        "POSTGRES_HOST"
    );
}

#[cfg(unix)]
#[test]
fn pgpass_is_the_last_source_of_a_password() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new().file(".pgpass", "localhost:*:d:u:from-pgpass");
    let home = site.path().to_str().unwrap().to_owned();
    let vars = [
        ("DATABASE_URL", "postgres://u@localhost/d"),
        ("HOME", home.as_str()),
    ];
    let file = site.path().join(".pgpass");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let config = site.load(&vars).unwrap();
    assert_eq!(password(pooled(&config)), Some("from-pgpass"));
    let explained = value(&config, "database.url.password");
    assert_eq!(explained, ("***".into(), file.display().to_string()));
    let config = site.load(&[vars[0], vars[1], ("PGPASSWORD", "x")]).unwrap();
    assert_eq!(password(pooled(&config)), Some("x"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let config = site.load(&vars).unwrap();
    assert_eq!(password(pooled(&config)), None);
    assert!(
        config.warnings()[0].contains("0600"),
        "{:?}",
        config.warnings()
    );
}

/// req 2.16: production verifies the server with the file of authorities; elsewhere TLS is off.
#[test]
fn production_verifies_the_server_and_other_environments_do_not() {
    let remote = ("DATABASE_URL", "postgres://u@db.example/d");
    let vars = [
        ("APP_ENV", "prod"),
        remote,
        ("APP_DB__TLS__ROOT_CERT", "ca.pem"),
    ];
    let site = Site::new();
    let config = site.load(&vars).unwrap();
    assert_eq!(pooled(&config).tls.mode, TlsMode::VerifyFull);
    assert_eq!(
        pooled(&config).tls.root_cert,
        Some(site.path().join("ca.pem"))
    );
    let origin = value(&config, "database.url.sslmode");
    assert_eq!(origin, ("verify-full".into(), "built-in (prod)".into()));
    let config = site.load(&[("APP_ENV", "dev"), remote]).unwrap();
    assert_eq!(pooled(&config).tls.mode, TlsMode::Disable);
    let config = site.load(&[("APP_ENV", "prod"), LOCAL]).unwrap();
    assert_eq!(
        pooled(&config).tls.mode,
        TlsMode::Disable,
        "a local host needs none"
    );
}

/// case R47: production does not accept a silent fall back to plain text.
#[test]
fn prefer_is_an_error_in_production_and_disable_a_warning() {
    let url = |mode: &str| format!("postgres://u@db.example/d?sslmode={mode}");
    for mode in ["prefer", "allow"] {
        let error = Site::new().error(&[("APP_ENV", "prod"), ("DATABASE_URL", &url(mode))]);
        assert!(
            error.contains("falls back to plain text") && error.contains("verify-full"),
            "{error}"
        );
        assert!(
            Site::new()
                .load(&[("APP_ENV", "dev"), ("DATABASE_URL", &url(mode))])
                .is_ok()
        );
    }
    let config = Site::new().load(&[("APP_ENV", "prod"), ("DATABASE_URL", &url("disable"))]);
    assert!(config.unwrap().warnings()[0].contains("plain text"));
}

/// `POSTGRES_PORT=tcp://10.0.0.1:5432`, which Kubernetes sets for a service named `postgres`.
#[test]
fn a_service_link_in_the_place_of_a_port_is_named() {
    for (host, port) in [("POSTGRES_HOST", "POSTGRES_PORT"), ("PGHOST", "PGPORT")] {
        for link in ["tcp://10.0.0.1:5432", "udp://10.0.0.1:53"] {
            let error = Site::new().error(&[(host, "localhost"), (port, link), ("PGUSER", "u")]);
            assert!(
                error.contains("enableServiceLinks: false") && error.contains(port),
                "{error}"
            );
        }
    }
    let links = [
        LOCAL,
        ("POSTGRES_PORT", "tcp://10.0.0.1:5432"),
        ("POSTGRES_SERVICE_HOST", "10.0.0.1"),
        ("APP_DB_PORT", "tcp://10.0.0.1:5432"),
        ("APP_DB_PORT_5432_TCP_ADDR", "10.0.0.1"),
        ("APP_DB_SERVICE_PORT", "5432"),
    ];
    let config = Site::new().load(&links).unwrap();
    assert_eq!(
        config.warnings(),
        [""; 0],
        "links that nobody reads are no matter"
    );
}

/// If nothing gives a user name, it is the operating system's, and `explain` says so.
#[test]
fn the_user_that_nothing_names_is_explained() {
    let url = ("DATABASE_URL", "postgres://localhost/d");
    let config = Site::new().load(&[url, ("USER", "somebody")]).unwrap();
    let (user, origin) = value(&config, "database.url.user");
    assert_eq!(user, pooled(&config).user);
    assert_eq!(origin, "the operating system's user");
    let config = Site::new().load(&[url, ("PGUSER", "pg")]).unwrap();
    assert_eq!(pooled(&config).user, "pg");
}

/// dbmate#229: the gap of a URL without a host is filled by `PGHOST`, and then by the socket.
#[cfg(unix)]
#[test]
fn a_url_without_a_host_takes_pghost_or_the_default_socket() {
    let url = ("DATABASE_URL", "postgres:///d");
    let config = Site::new().load(&[url, ("PGHOST", "127.0.0.1")]).unwrap();
    assert_eq!(pooled(&config).address(), "127.0.0.1:5432/d");
    let config = Site::new().load(&[url, ("PGPORT", "7")]).unwrap();
    assert!(matches!(
        &pooled(&config).hosts[..],
        [Host::Unix { port: 7, .. }]
    ));
}

/// Certificate files are used, or a warning says that they are not.
#[test]
fn files_of_certificates_are_never_unused_without_a_word() {
    let load = |url: &str, vars: &[(&str, &str)]| {
        let vars = [&[("APP_ENV", "dev"), ("DATABASE_URL", url)], vars].concat();
        let config = Site::new().load(&vars).unwrap();
        let mode = pooled(&config).tls.mode;
        (
            mode,
            value(&config, "database.url.sslmode").1,
            config.warnings().join("\n"),
        )
    };
    let by_url = load("postgres://u@localhost/d?sslrootcert=ca", &[]);
    assert_eq!(
        by_url,
        (TlsMode::VerifyCa, "DATABASE_URL".into(), String::new())
    );
    let by_variable = load("postgres://u@localhost/d", &[("PGSSLROOTCERT", "ca")]);
    assert_eq!(
        (by_variable.0, by_variable.1.as_str()),
        (TlsMode::Prefer, "PGSSLROOTCERT")
    );
    assert!(
        by_variable
            .2
            .contains("`sslrootcert` has no effect with sslmode=prefer")
    );
    let socket = load("postgres://u@/d?host=/tmp", &[("PGSSLROOTCERT", "ca")]);
    assert_eq!((socket.0, socket.2.as_str()), (TlsMode::Disable, ""));
}

/// As in libpq, `ssl=true` after a stricter mode weakens it, and a warning says so.
#[test]
fn ssl_that_weakens_sslmode_is_a_warning() {
    let warnings = |query: &str| {
        let url = format!("postgres://u@localhost/d?{query}");
        let config = Site::new().load(&[("DATABASE_URL", &url)]).unwrap();
        config.warnings().join("\n")
    };
    let warning = warnings("sslmode=verify-full&ssl=true");
    assert!(
        warning.starts_with("DATABASE_URL: `ssl=true` after `sslmode=verify-full`"),
        "{warning}"
    );
    assert_eq!(warnings("ssl=true&sslmode=verify-full"), "");
    assert_eq!(warnings("sslmode=prefer&ssl=true"), "");
}
