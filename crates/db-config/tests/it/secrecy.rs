//! req 4.47, case R49: no public type shows a secret, however it is formatted.

use db_config::{Config, Credentials, Environment, PooledUrl};

use crate::site::Site;

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
    }
    assert!(!shown.contains("Canary"), "{shown}");
    assert!(shown.contains("u:***@localhost:6432/d"), "{shown}");
}
