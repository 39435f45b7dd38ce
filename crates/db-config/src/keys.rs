//! Every key under `[database]`, with its kind, its built-in value and what a bad value does.
//!
//! The table is used to find unknown keys, to check values, to read the `APP_DB__` variables, for
//! [`Config::explain`](crate::Config::explain) and for the table in `config/README.md`.

mod key;
mod key_kind;
mod pool_default;
mod table;

use crate::nearest;

pub use self::key::{BuiltIn, Key};
pub(crate) use self::key::{PREFIX, variable};
pub(crate) use self::key_kind::Found;
pub use self::key_kind::KeyKind;
pub(crate) use self::pool_default::POOL_DEFAULTS;
pub use self::table::KEYS;

/// Finds the key of a path below `database`. The error says what is wrong with the path.
pub(crate) fn find(path: &str) -> Result<&'static Key, String> {
    let (prefix, canonical) = match path.strip_prefix("pools.").and_then(|p| p.split_once('.')) {
        Some((pool, key)) => {
            check_pool_name(pool)?;
            (format!("pools.{pool}."), format!("profile.{key}"))
        }
        None => (String::new(), path.to_owned()),
    };
    if let Some(key) = KEYS.iter().find(|key| key.path == canonical) {
        return Ok(key);
    }
    if let Some(meant) = path.strip_prefix("pool.").and_then(of_a_pool) {
        return Err(format!(
            "unknown key; did you mean `database.{meant}` ({})?",
            variable(&meant)
        ));
    }
    let suggestion = match nearest::nearest(&canonical, KEYS.iter().map(|key| key.path)) {
        Some(near) => {
            let near = match near.strip_prefix("profile.") {
                Some(key) if !prefix.is_empty() => format!("{prefix}{key}"),
                _ => near.to_owned(),
            };
            format!("; did you mean `database.{near}` ({})?", variable(&near))
        }
        None if SECRET_KEYS.contains(&path) => {
            "; a URL or password does not belong in a file: set DATABASE_URL or DATABASE_URL_FILE"
                .to_owned()
        }
        None => match same_leaf(&canonical) {
            Some(near) => format!("; did you mean `database.{near}`?"),
            None => "; app-db's config/README.md lists every key, and a pool is a table \
                     [database.pools.NAME]"
                .to_owned(),
        },
    };
    Err(format!("unknown key{suggestion}"))
}

/// `pools.report.max` for `report.max`.
fn of_a_pool(path: &str) -> Option<String> {
    let (pool, key) = path.split_once('.')?;
    let canonical = format!("profile.{key}");
    let is_key = KEYS.iter().any(|key| key.path == canonical);
    (is_key && check_pool_name(pool).is_ok()).then(|| format!("pools.{path}"))
}

/// Finds a key that ends alike: `database.profile.max` for `database.max`.
fn same_leaf(path: &str) -> Option<&'static str> {
    let leaf = path.rsplit('.').next()?;
    KEYS.iter()
        .map(|key| key.path)
        .find(|known| known.rsplit('.').next() == Some(leaf))
}

fn check_pool_name(name: &str) -> Result<(), String> {
    let well_formed = !name.is_empty()
        && !name.contains("__")
        && !name.starts_with('_')
        && !name.ends_with('_')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    match well_formed {
        true => Ok(()),
        false => Err(
            "a pool's name consists of a-z, 0-9 and single `_` between them, because variables \
             name it too"
                .to_owned(),
        ),
    }
}

const SECRET_KEYS: [&str; 6] = [
    "url",
    "direct_url",
    "password",
    "user",
    "host",
    "database_url",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    #[test]
    fn every_built_in_value_is_of_its_kind() {
        for key in KEYS {
            for environment in &Environment::BUILT_IN {
                if let Some(value) = key.built_in(environment) {
                    assert!(key.kind.parse(value).is_ok(), "{} = {value}", key.path);
                }
            }
        }
        for default in POOL_DEFAULTS {
            assert!(
                find(default.path)
                    .unwrap()
                    .kind
                    .parse(default.value)
                    .is_ok()
            );
        }
    }

    #[test]
    fn a_pool_has_the_keys_of_the_profile() {
        assert_eq!(find("pools.batch.max").unwrap().path, "profile.max");
        assert_eq!(
            find("retry.attempts").unwrap().variable(),
            "APP_DB__RETRY__ATTEMPTS"
        );
        assert!(find("pools.max").is_err());
        assert!(
            find("pools.Batch.max")
                .unwrap_err()
                .contains("a pool's name")
        );
        assert!(
            find("pools.a__b.max")
                .unwrap_err()
                .contains("a pool's name")
        );
    }

    #[test]
    fn an_unknown_key_gets_the_nearest_name() {
        assert_eq!(
            find("pools.write.mxa").unwrap_err(),
            "unknown key; did you mean `database.pools.write.max` (APP_DB__POOLS__WRITE__MAX)?"
        );
        assert_eq!(
            find("pool.report.max").unwrap_err(),
            "unknown key; did you mean `database.pools.report.max` (APP_DB__POOLS__REPORT__MAX)?"
        );
        assert!(
            find("report")
                .unwrap_err()
                .contains("[database.pools.NAME]")
        );
        assert!(find("max").unwrap_err().contains("`database.profile.max`"));
        assert!(find("url").unwrap_err().contains("set DATABASE_URL"));
        assert!(find("colour").unwrap_err().contains("config/README.md"));
    }

    #[test]
    fn a_quantity_says_what_goes_wrong_and_any_other_key_what_it_is_for() {
        for key in KEYS {
            let is_quantity = matches!(
                key.kind,
                KeyKind::Duration { .. }
                    | KeyKind::Count { .. }
                    | KeyKind::CountOr { .. }
                    | KeyKind::Percent { .. }
            );
            for text in [key.too_high, key.too_low] {
                assert_eq!(is_quantity, text.len() > 10, "{}", key.path);
                assert_eq!(is_quantity, !text.is_empty(), "{}", key.path);
            }
            assert_eq!(is_quantity, key.purpose.is_empty(), "{}", key.path);
            assert!(is_quantity || key.purpose.len() > 10, "{}", key.path);
        }
    }
}
