//! The switch that shows bound values in the slow-query log. It is only for developers.

use db_config::{Config, Environment};

use crate::site::{LOCAL, Site, value};

const ON: (&str, &str) = ("APP_DB__SLOW_QUERY__BIND_VALUES", "on");

/// In dev and test it is allowed, with one warning.
#[test]
fn it_is_off_unless_dev_or_test_say_so() {
    for environment in &Environment::BUILT_IN {
        let built_in = value(
            &Config::builtin(environment),
            "database.slow_query.bind_values",
        );
        assert_eq!(built_in.0, "off");
    }
    for name in ["dev", "test"] {
        let config = Site::new().load(&[("APP_ENV", name), LOCAL, ON]).unwrap();
        assert_eq!(
            config.warnings(),
            [
                "database.slow_query.bind_values (APP_DB__SLOW_QUERY__BIND_VALUES): the slow-query log \
              shows the values of statements"
            ]
        );
        let config = Site::new().load(&[("APP_ENV", name), LOCAL]).unwrap();
        assert_eq!(config.warnings(), [] as [String; 0]);
    }
}

/// Elsewhere it is an error, in every layer, and also in an environment with a name of its own.
#[test]
fn it_is_refused_in_every_other_environment() {
    for name in ["staging", "prod", "high-load", "lambda", "canary"] {
        let direct = ("DATABASE_URL_DIRECT", LOCAL.1);
        let vars = [("APP_ENV", name), LOCAL, direct];
        let file = format!("config/{name}.toml");
        let site = Site::new().file(&file, "[database.slow_query]\nbind_values = \"on\"");
        assert_eq!(
            site.error(&vars),
            format!(
                "database.slow_query.bind_values ({file}:2): expected \"off\" in {name}; \"on\" is for dev \
                 and test alone"
            )
        );
        let site = Site::new().file(&file, "");
        let error = site.error(&[vars[0], vars[1], vars[2], ON]);
        assert!(
            error.contains("(APP_DB__SLOW_QUERY__BIND_VALUES): expected \"off\""),
            "{error}"
        );
        let config = site.load(&vars).unwrap();
        let error = config.with("slow_query.bind_values", "on").unwrap_err();
        assert!(
            error.to_string().contains("(code): expected \"off\""),
            "{error}"
        );
    }
    let error = Site::new().error(&[LOCAL, (ON.0, "true")]);
    assert!(
        error.contains("expected one of \"on\", \"off\", found \"true\""),
        "{error}"
    );
}
