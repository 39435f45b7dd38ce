//! Reads a file in `config/`: its table `database` as a layer, and the tables of the service.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::error::Problem;
use crate::keys::{self, Found, KEYS};
use crate::layer::Layer;
use crate::nearest;
use crate::origin::Origin;
use crate::own_tables::{self, OwnTables};

/// Reads one file of `config/`. A missing file is an empty layer.
pub(crate) fn read(
    dir: &Path,
    name: &str,
    own: &mut OwnTables,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Layer {
    let name = format!("config/{name}.toml");
    let text = match std::fs::read_to_string(dir.join(&name)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Layer::default(),
        Err(error) => {
            let message = match error.kind() {
                std::io::ErrorKind::InvalidData => "is not UTF-8; save it as UTF-8".to_owned(),
                kind => format!("cannot be read: {kind}"),
            };
            problems.push(Problem::new(&name, Origin::new(&name), message));
            return Layer::default();
        }
    };
    File {
        name: &name,
        text: text.trim_start_matches('\u{feff}'),
        own,
        problems,
        warnings,
    }
    .read()
}

/// Reads the tables of one file.
struct File<'a> {
    name: &'a str,
    text: &'a str,
    own: &'a mut OwnTables,
    problems: &'a mut Vec<Problem>,
    warnings: &'a mut Vec<String>,
}

impl File<'_> {
    fn read(mut self) -> Layer {
        let mut layer = Layer::default();
        let document = match DeTable::parse(self.text) {
            Ok(document) => document,
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                // The whole error would quote the line, which may hold a secret.
                let message = format!("not valid TOML: {}", error.message());
                self.problems
                    .push(Problem::new(self.name, self.origin(at), message));
                return layer;
            }
        };
        for (key, value) in document.get_ref() {
            let name: &str = key.get_ref();
            match (name, value.get_ref()) {
                ("database", DeValue::Table(table)) => self.table("", table, &mut layer),
                ("database", _) => {
                    let origin = self.origin(key.span().start);
                    self.problems
                        .push(Problem::new("database", origin, "expected a table"));
                }
                (other, content) => {
                    // This can only be a warning, since other tables belong to the service.
                    if let Some(meant) = misplaced(other, content) {
                        let origin = self.origin(key.span().start);
                        self.warnings.push(format!(
                            "{origin}: the table `{other}` is not read; did you mean `{meant}`?"
                        ));
                    }
                    let value = own_tables::of_file(value, &|offset| self.origin(offset));
                    self.own.add(other, value);
                }
            }
        }
        layer
    }

    fn table(&mut self, prefix: &str, table: &DeTable<'_>, layer: &mut Layer) {
        for (key, value) in table {
            let name: &str = key.get_ref();
            let path = match prefix.is_empty() {
                true => name.to_owned(),
                false => format!("{prefix}.{name}"),
            };
            let origin = self.origin(key.span().start);
            let words = texts(value.get_ref());
            let found = match value.get_ref() {
                DeValue::Table(table) if is_group(&path) => {
                    self.table(&path, table, layer);
                    continue;
                }
                DeValue::String(text) => Found::Text(text),
                DeValue::Integer(number) => Found::Number(number.as_str()),
                DeValue::Float(number) => Found::Number(number.as_str()),
                DeValue::Boolean(true) => Found::Other("true"),
                DeValue::Boolean(false) => Found::Other("false"),
                DeValue::Datetime(_) => Found::Other("a date"),
                DeValue::Array(_) => words
                    .as_deref()
                    .map_or(Found::Other("an array"), Found::List),
                DeValue::Table(_) => Found::Other("a table"),
            };
            match keys::find(&path).and_then(|key| key.kind.read(found)) {
                Ok(kind) => layer.put(&path, kind, &origin),
                Err(message) => {
                    let key = format!("database.{path}");
                    self.problems.push(Problem::new(key, origin, message));
                }
            }
        }
    }

    fn origin(&self, offset: usize) -> Origin {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        Origin::new(format!("{}:{line}", self.name))
    }
}

/// The texts of an array, if it has nothing else.
fn texts<'a>(value: &'a DeValue<'_>) -> Option<Vec<&'a str>> {
    let DeValue::Array(values) = value else {
        return None;
    };
    let text = |value: &'a toml::Spanned<DeValue<'_>>| match value.get_ref() {
        DeValue::String(text) => Some(&**text),
        _ => None,
    };
    values.iter().map(text).collect()
}

/// The table of this crate that a table with another name is probably meant to be.
fn misplaced(name: &str, content: &DeValue<'_>) -> Option<String> {
    if !matches!(content, DeValue::Table(_)) && SECRETS.contains(&name) {
        return Some("DATABASE_URL, a variable".to_owned());
    }
    if nearest::nearest(name, ["database"]).is_some() {
        return Some("database".to_owned());
    }
    let DeValue::Table(content) = content else {
        return None;
    };
    let has_keys_of = |group: &str| {
        let mut content = content.iter();
        let some = content.len() > 0;
        some && content.all(|(key, value)| {
            let path = format!("{group}{}", key.get_ref());
            match value.get_ref() {
                DeValue::Table(_) => is_group(&path),
                _ => keys::find(&path).is_ok(),
            }
        })
    };
    if ALIASES.contains(&name) && has_keys_of("") {
        return Some("database".to_owned());
    }
    let group = nearest::nearest(name, GROUPS)?;
    has_keys_of(&format!("{group}.")).then(|| format!("database.{group}"))
}

/// Other names for a database.
const ALIASES: [&str; 8] = [
    "app-db",
    "app_db",
    "db",
    "pg",
    "pool",
    "postgres",
    "postgresql",
    "sql",
];

/// Groups of this crate's keys that no other table has.
const GROUPS: [&str; 5] = ["credentials", "pools", "profile", "reconnect", "slow_query"];

/// Keys outside of any table that would hold a URL.
const SECRETS: [&str; 3] = ["database_url", "db_url", "url"];

/// Whether there are keys below the path.
fn is_group(path: &str) -> bool {
    let pool = path
        .strip_prefix("pools.")
        .is_some_and(|pool| !pool.contains('.'));
    let group = |key: &keys::Key| {
        key.path
            .split_once('.')
            .is_some_and(|(group, _)| group == path)
    };
    path == "pools" || pool || KEYS.iter().any(group)
}
