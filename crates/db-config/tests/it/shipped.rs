//! The files of `config/` say what the code does.

use std::fmt::Write;
use std::path::Path;

use db_config::keys::{BuiltIn, KEYS, Key, KeyKind};
use db_config::{Config, Environment};

use crate::site::{LOCAL, Site, value};

fn shipped(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(name)).unwrap()
}

/// `# max = 50` without its comment sign; examples are indented and stay comments.
fn uncommented(text: &str) -> String {
    let assignment = |line: &str| {
        let line = line.strip_prefix("# ")?;
        let name = line.split_once(" = ")?.0;
        let key = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        key.then(|| line.to_owned())
    };
    let lines = text
        .lines()
        .map(|line| assignment(line).unwrap_or_else(|| line.to_owned()));
    lines.collect::<Vec<_>>().join("\n")
}

/// The examples: lines that begin with `#   `, without it.
fn examples(text: &str) -> Vec<String> {
    let mut examples = vec![String::new()];
    for line in text.lines() {
        match (line.strip_prefix("#   "), examples.last_mut()) {
            (Some(line), Some(example)) => {
                example.push_str(line);
                example.push('\n');
            }
            _ => examples.push(String::new()),
        }
    }
    examples.retain(|example| !example.is_empty());
    examples
}

fn settings(config: &Config) -> Vec<(String, String)> {
    config
        .explain()
        .filter(|line| line.key != "APP_ENV" && !line.key.contains("url"))
        .map(|line| (line.key, line.value))
        .collect()
}

/// req 0.38
#[test]
fn the_shipped_files_load_as_they_are_and_change_nothing() {
    for environment in &Environment::BUILT_IN {
        let own = format!("config/{environment}.toml");
        let load = |site: &Site| {
            let vars = [("APP_ENV", environment.name()), LOCAL];
            site.load(&vars).unwrap()
        };
        let site = Site::new()
            .file("config/default.toml", &shipped("config/default.toml"))
            .file(&own, &shipped(&own));
        let config = load(&site);
        assert_eq!(settings(&config), settings(&Config::builtin(environment)));
        assert_eq!(config.warnings(), [] as [String; 0]);

        // Files that nobody reads would change nothing either.
        let default = (
            "config/default.toml",
            "statement_cache",
            "database.profile.statement_cache",
        );
        let own = (own.as_str(), "max_uses", "database.profile.max_uses");
        let mut site = site;
        for (file, name, key) in [default, own] {
            let (copy, line) = with_another_value(&shipped(file), name);
            site = site.file(file, &copy);
            let expected = ("7".to_owned(), format!("{file}:{line}"));
            assert_eq!(value(&load(&site), key), expected);
        }
    }
}

/// A copy in which the comment that shows the value of `name` sets it to 7, and the number of that line.
fn with_another_value(text: &str, name: &str) -> (String, usize) {
    let comment = format!("# {name} = ");
    let mut lines: Vec<_> = text.lines().collect();
    let shown = lines.iter().position(|line| line.starts_with(&comment));
    let shown = shown.unwrap();
    let changed = format!("{name} = 7");
    lines[shown] = &changed;
    (lines.join("\n"), shown + 1)
}

/// The commented values are the built-in ones: together they set every key that has any.
#[test]
fn the_commented_values_are_the_built_in_table() {
    for environment in &Environment::BUILT_IN {
        let own = format!("config/{environment}.toml");
        let site = Site::new()
            .file(
                "config/default.toml",
                &uncommented(&shipped("config/default.toml")),
            )
            .file(&own, &uncommented(&shipped(&own)));
        let config = site
            .load(&[("APP_ENV", environment.name()), LOCAL])
            .unwrap();
        assert_eq!(
            settings(&config),
            settings(&Config::builtin(environment)),
            "{environment}"
        );
        for key in KEYS
            .iter()
            .filter(|key| key.built_in(environment).is_some())
        {
            let path = format!("database.{}", key.path);
            let line = config.explain().find(|line| line.key == path).unwrap();
            assert!(
                line.origin.as_str().starts_with("config/"),
                "{environment}: {line}"
            );
        }
    }
}

/// req 3.04, req 3.05, req 3.06, req 3.09, req 3.11, req 0.02: the other tables of the sources are valid examples.
#[test]
fn the_other_tables_of_the_sources_are_examples_that_load() {
    let mut sizes = Vec::new();
    for environment in &Environment::BUILT_IN {
        let name = format!("config/{environment}.toml");
        for example in examples(&shipped(&name)) {
            let site = Site::new().file(&name, &example);
            let config = site
                .load(&[("APP_ENV", environment.name()), LOCAL])
                .unwrap();
            let get = |key: &str| {
                let path = format!("database.profile.{key}");
                config
                    .explain()
                    .find(|line| line.key == path)
                    .unwrap()
                    .value
            };
            let values = ["max", "min_idle", "max_lifetime", "idle_timeout"].map(get);
            sizes.push(format!("{environment} {}", values.join(" ")));
        }
    }
    assert_eq!(
        sizes,
        [
            "dev 5 2 1h 30min",
            "dev 5 2 1min 30s",
            "dev 20 5 1h 30s",
            "test 10 3 30min 15min",
            "prod 25 5 5min 1min",
            "prod 25 10 5min 2min",
        ]
    );
}

/// Every key is listed with its type, default, variable and what goes wrong.
#[test]
fn the_readme_lists_every_key_as_the_code_has_it() {
    let readme = shipped("config/README.md");
    let expected = table();
    assert!(
        readme.contains(&expected),
        "config/README.md needs this table:\n\n{expected}"
    );
    let rows = readme
        .lines()
        .filter(|line| line.starts_with("| `"))
        .count();
    assert_eq!(rows, KEYS.len(), "a row of a key that does not exist");
}

/// `.env.example` loads as it is, and with every line of it in force.
#[test]
fn the_example_of_dotenv_loads() {
    let text = shipped(".env.example");
    let config = Site::new().file(".env", &text).load(&[]).unwrap();
    assert_eq!(config.direct_url().unwrap().endpoint().user, "app");
    let all: String = text
        .lines()
        .map(|line| line.strip_prefix("# ").unwrap_or(line))
        .filter(|line| is_assignment(line))
        .map(|line| format!("{line}\n"))
        .collect();
    let config = Site::new().file(".env", &all).load(&[]).unwrap();
    assert_eq!(config.replica_urls().len(), 1);
    let max = config
        .explain()
        .find(|line| line.key == "database.pools.write.max")
        .unwrap();
    assert!(max.origin.as_str().contains("in .env:"), "{max}");
}

/// The examples of the shared file are valid, too.
#[test]
fn the_examples_of_the_default_file_load() {
    let found = examples(&shipped("config/default.toml"));
    assert_eq!(found.len(), 6);
    for example in found {
        let site = Site::new().file("config/default.toml", &example);
        let config = site.load(&[LOCAL]).unwrap();
        let mut explained = config.explain();
        assert!(
            explained.any(|line| line.origin.as_str().starts_with("config/default.toml:")),
            "nothing was read of\n{example}"
        );
    }
}

fn is_assignment(line: &str) -> bool {
    line.split_once('=')
        .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
}

fn table() -> String {
    let mut table = "| key | type | built-in | variable | too high, or what for | too low |\n\
                     |---|---|---|---|---|---|\n"
        .to_owned();
    for key in KEYS {
        let Key {
            path,
            kind,
            purpose,
            too_high,
            too_low,
            ..
        } = key;
        let kind = kind.to_string().replace('|', "\\|");
        let (built_in, variable) = (built_in(key), key.variable());
        writeln!(
            table,
            "| `{path}` | {kind} | {built_in} | `{variable}` | {purpose}{too_high} | {too_low} |"
        )
        .unwrap();
    }
    table
}

fn built_in(key: &Key) -> String {
    let shown = |value: &str| match key.kind {
        KeyKind::Count { .. } => value.to_owned(),
        KeyKind::CountOr { word, .. } if value != word => value.to_owned(),
        _ => format!("\"{value}\""),
    };
    match key.built_in {
        BuiltIn::Unset => "unset".to_owned(),
        BuiltIn::Same(value) => shown(value),
        BuiltIn::Prod { prod, other } => format!("{}; prod {}", shown(other), shown(prod)),
        BuiltIn::Each(values) => {
            let names = Environment::BUILT_IN.iter().map(Environment::name);
            let pairs: Vec<_> = names
                .zip(values)
                .map(|(n, v)| format!("{n} {}", shown(v)))
                .collect();
            pairs.join(", ")
        }
        _ => unreachable!("a kind of built-in value that this table does not show"),
    }
}
