//! The layers of settings: what each source says, key by key, with its origin.

use std::collections::BTreeMap;
use std::path::Path;

use config::{Source, Value, ValueKind};
use toml::de::{DeTable, DeValue};

use crate::environment::Environment;
use crate::error::{Origin, Problem};
use crate::keys::{self, Found, KEYS, POOL_DEFAULTS};
use crate::nearest;
use crate::variables::Variable;

/// What one source says: checked values by their path below `database`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layer {
    values: BTreeMap<String, Value>,
}

impl Layer {
    /// The built-in table.
    pub(crate) fn built_in(environment: &Environment, with_replica: bool) -> Layer {
        let origin = Origin::new(format!("{BUILT_IN} ({environment})"));
        let mut layer = Layer::default();
        let pools = POOL_DEFAULTS
            .iter()
            // req 1.06: one connection is what a function may have, replica or not.
            .filter(|default| !default.with_replica || *environment != Environment::Lambda)
            .filter(|default| !default.with_replica || with_replica)
            .map(|default| (default.path, default.value));
        let keys = KEYS
            .iter()
            .filter_map(|key| Some((key.path, key.built_in(environment)?)));
        for (path, value) in keys.chain(pools) {
            // A test proves that every built-in value is of its kind.
            let _ = layer.set(path, value, origin.clone());
        }
        layer
    }

    /// A file of `config/`; a file that is not there is an empty layer.
    pub(crate) fn file(
        dir: &Path,
        name: &str,
        problems: &mut Vec<Problem>,
        warnings: &mut Vec<String>,
    ) -> Layer {
        let name = format!("config/{name}.toml");
        let text = match std::fs::read_to_string(dir.join(&name)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Layer::default(),
            Err(error) => {
                let message = format!("cannot be read: {}", error.kind());
                problems.push(Problem::new(&name, Origin::new(&name), message));
                return Layer::default();
            }
        };
        File {
            name: &name,
            text: &text,
            problems,
            warnings,
        }
        .read()
    }

    /// The `APP_DB__` variables of one source.
    pub(crate) fn variables<'a>(
        variables: impl Iterator<Item = Variable<'a>>,
        problems: &mut Vec<Problem>,
    ) -> Layer {
        let mut layer = Layer::default();
        for variable in variables {
            let Some(name) = variable.name.strip_prefix(keys::PREFIX) else {
                continue;
            };
            // An empty variable counts as unset, as everywhere.
            if variable.value.trim().is_empty() {
                continue;
            }
            let path = name.replace("__", ".").to_ascii_lowercase();
            if let Err(message) = layer.set(&path, variable.value, variable.origin.clone()) {
                let key = format!("database.{path}");
                problems.push(Problem::new(key, variable.origin, message));
            }
        }
        layer
    }

    /// Sets a value from its text.
    pub(crate) fn set(&mut self, path: &str, text: &str, origin: Origin) -> Result<(), String> {
        let kind = keys::find(path)?.kind.parse(text)?;
        self.put(path, kind, &origin);
        Ok(())
    }

    pub(crate) fn put(&mut self, path: &str, kind: ValueKind, origin: &Origin) {
        let value = Value::new(Some(&origin.as_str().to_owned()), kind);
        self.values.insert(path.to_owned(), value);
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// The part of the layer below a path, which is cut off.
    pub(crate) fn under(&self, path: &str) -> Layer {
        let prefix = format!("{path}.");
        let below = |(path, value): (&String, &Value)| {
            Some((path.strip_prefix(&prefix)?.to_owned(), value.clone()))
        };
        Layer {
            values: self.values.iter().filter_map(below).collect(),
        }
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<config::Map<String, Value>, config::ConfigError> {
        Ok(self.values.clone().into_iter().collect())
    }
}

/// How the origin of every built-in value begins.
pub(crate) const BUILT_IN: &str = "built-in";

/// Whether a value is built in, and so gives way to one that is configured.
pub(crate) fn is_built_in(origin: &Origin) -> bool {
    origin.as_str().starts_with(BUILT_IN)
}

/// Reads the `database` table of one file.
struct File<'a> {
    name: &'a str,
    text: &'a str,
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
                // Only the message: the whole error quotes the line, which may hold a secret.
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
                // Other tables are the service's own, so this can be no more than a warning.
                (other, _) if nearest::nearest(other, ["database"]).is_some() => {
                    let origin = self.origin(key.span().start);
                    self.warnings.push(format!(
                        "{origin}: the table `{other}` is not read; did you mean `database`?"
                    ));
                }
                _ => {}
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
                DeValue::Array(_) => Found::Other("an array"),
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

/// Whether keys lie below the path.
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
