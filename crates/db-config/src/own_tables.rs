//! The service's own tables, which come from the same files and variables as this crate's.

use std::fmt;

use config::{ConfigError as Failure, Map, Value, ValueKind};
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::Problem;
use crate::origin::Origin;
use crate::variables::{Variable, Variables};

/// The tables beside `database`, merged. `Debug` shows no value, because each may be a secret.
#[derive(Clone, Default)]
pub(crate) struct OwnTables {
    merged: Map<String, Value>,
    /// `APP__` variables: the path below `APP`, the text, and where it was found.
    variables: Vec<(Vec<String>, String, Origin)>,
    unreadable: Vec<Problem>,
}

impl OwnTables {
    /// Lays a table of a file over the tables of the files before it.
    pub(crate) fn add(&mut self, name: &str, value: Value) {
        let mut table = Map::new();
        table.insert(name.to_owned(), value);
        merge_tables(&mut self.merged, table);
    }

    /// Adds the `APP__` variables, which are above every file.
    pub(crate) fn add_variables(&mut self, variables: &Variables) {
        let mut add = |variable: Variable<'_>| {
            let Some(path) = variable.name.strip_prefix(PREFIX) else {
                return;
            };
            // An empty variable counts as unset, here as everywhere.
            if !variable.value.trim().is_empty() {
                let path = path.to_ascii_lowercase();
                let path = path.split("__").map(str::to_owned).collect();
                self.variables
                    .push((path, variable.value.to_owned(), variable.origin));
            }
        };
        variables.of_dotenv().for_each(&mut add);
        variables.of_process().for_each(&mut add);
        self.unreadable.extend(variables.all_unreadable(PREFIX));
    }

    /// Reads the table of that name, or the one below it: `http.tls`.
    pub(crate) fn read<T: DeserializeOwned>(&self, name: &str) -> Result<T, Problem> {
        let segments: Vec<&str> = name.split('.').collect();
        if segments.first() == Some(&"database") || segments.contains(&"") {
            let message =
                "expected the name of a table of the service; `database` has other methods";
            return Err(Problem::new(name, Origin::new("code"), message));
        }
        let prefix = variable(name);
        let of_table = |problem: &&Problem| problem.key.starts_with(&format!("{prefix}__"));
        if let Some(problem) = self.unreadable.iter().find(of_table) {
            return Err(problem.clone());
        }
        let mut root = self.merged.clone();
        for (path, text, origin) in &self.variables {
            let spelt = |(segment, of_variable): (&&str, &String)| {
                segment.replace('-', "_").eq_ignore_ascii_case(of_variable)
            };
            if path.len() > segments.len() && segments.iter().zip(path).all(spelt) {
                let below = path[segments.len()..].iter().map(String::as_str);
                let path: Vec<&str> = segments.iter().copied().chain(below).collect();
                merge_tables(&mut root, nested(&path, text, origin));
            }
        }
        let table = find(&Value::new(None, root), &segments).cloned();
        let table = table.unwrap_or_else(|| Value::new(None, Map::<String, Value>::new()));
        table
            .clone()
            .try_deserialize()
            .map_err(|failure| explain(name, &table, &failure))
    }
}

impl fmt::Debug for OwnTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.merged.keys()).finish()
    }
}

/// Converts a value of a file. `origin` says where the value at an offset is.
pub(crate) fn of_file(value: &Spanned<DeValue<'_>>, origin: &dyn Fn(usize) -> Origin) -> Value {
    let found = origin(value.span().start);
    let kind = match value.get_ref() {
        DeValue::String(text) => ValueKind::String(text.clone().into_owned()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => ValueKind::I64(number),
            Err(_) => ValueKind::String(number.as_str().to_owned()),
        },
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) => ValueKind::Float(number),
            Err(_) => ValueKind::String(number.as_str().to_owned()),
        },
        DeValue::Boolean(flag) => ValueKind::Boolean(*flag),
        DeValue::Datetime(date) => ValueKind::String(date.to_string()),
        DeValue::Array(values) => {
            ValueKind::Array(values.iter().map(|value| of_file(value, origin)).collect())
        }
        DeValue::Table(table) => {
            let values = table.iter();
            ValueKind::Table(
                values
                    .map(|(key, value)| {
                        (key.get_ref().clone().into_owned(), of_file(value, origin))
                    })
                    .collect(),
            )
        }
    };
    Value::new(Some(&found.as_str().to_owned()), kind)
}

/// The table that has one text at the end of a path.
fn nested(path: &[&str], text: &str, origin: &Origin) -> Map<String, Value> {
    let origin_text = Some(&origin.as_str().to_owned()).cloned();
    let (last, above) = path.split_last().unwrap_or((&"", &[]));
    let value =
        list(text, origin).unwrap_or_else(|| Value::new(origin_text.as_ref(), text.to_owned()));
    let mut table = Map::from([((*last).to_owned(), value)]);
    for name in above.iter().rev() {
        table = Map::from([((*name).to_owned(), Value::new(origin_text.as_ref(), table))]);
    }
    table
}

/// A variable's text as a list, if it is one: `["a", "b"]`, as in a file.
fn list(text: &str, origin: &Origin) -> Option<Value> {
    let text = text.trim();
    if !text.starts_with('[') {
        return None;
    }
    let document = format!("list = {text}");
    let table = DeTable::parse(&document).ok()?;
    let value = table.get_ref().get("list")?;
    Some(of_file(value, &|_| origin.clone()))
}

fn merge_tables(lower: &mut Map<String, Value>, upper: Map<String, Value>) {
    for (name, value) in upper {
        let below = lower.get_mut(&name).map(|below| &mut below.kind);
        if let (Some(ValueKind::Table(below)), ValueKind::Table(table)) = (below, &value.kind) {
            merge_tables(below, table.clone());
        } else {
            lower.insert(name, value);
        }
    }
}

fn find<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter()
        .try_fold(value, |value, name| match &value.kind {
            ValueKind::Table(table) => table.get(*name),
            _ => None,
        })
}

/// Says what is wrong with a table. The value is left out, because it may be a secret.
fn explain(name: &str, table: &Value, failure: &Failure) -> Problem {
    let (mut path, message) = path_and_message(failure);
    let missing = message
        .strip_prefix("missing field `")
        .or_else(|| message.strip_prefix("missing configuration field \""));
    if let Some(field) = missing.and_then(|rest| rest.split(['`', '"']).next()) {
        let field = field.rsplit('.').next().unwrap_or(field);
        path.push(field.to_owned());
        let key = format!("{name}.{}", path.join("."));
        let message = format!(
            "not set; expected it in the table `{name}` of a file in config/, or {} as a variable",
            variable(&key)
        );
        return Problem::new(&key, Origin::new(&key), message);
    }
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    let wrong = (0..=segments.len()).rev();
    let wrong = wrong
        .filter_map(|length| find(table, &segments[..length]))
        .find(|value| value.origin().is_some());
    let origin = wrong.and_then(Value::origin).unwrap_or("code");
    let key = std::iter::once(name).chain(segments).collect::<Vec<_>>();
    let message = hide(wrong.unwrap_or(table), message);
    Problem::new(key.join("."), Origin::new(origin), message)
}

/// Replaces each text of a value in a message.
fn hide(value: &Value, message: String) -> String {
    match &value.kind {
        ValueKind::String(text) if !text.is_empty() => message.replace(text.as_str(), "***"),
        ValueKind::Table(table) => table
            .values()
            .fold(message, |text, value| hide(value, text)),
        ValueKind::Array(values) => values.iter().fold(message, |text, value| hide(value, text)),
        _ => message,
    }
}

fn path_and_message(failure: &Failure) -> (Vec<String>, String) {
    match failure {
        Failure::At { error, key, .. } => {
            let (inner, message) = path_and_message(error);
            let path = key.iter().flat_map(|key| key.split('.')).map(str::to_owned);
            (path.chain(inner).collect(), message)
        }
        Failure::Type { expected, key, .. } => {
            let path = key.iter().flat_map(|key| key.split('.')).map(str::to_owned);
            (path.collect(), format!("expected {expected}"))
        }
        other => {
            let message = other.to_string();
            if message.contains(" does not have variant constructor ") {
                return (
                    Vec::new(),
                    "expected one of the words that are known".to_owned(),
                );
            }
            match message.split_once(", expected ") {
                // A field's name is no value.
                Some((_, expected)) if expected.starts_with("struct ") => {
                    (Vec::new(), "expected a table".to_owned())
                }
                Some((found, expected)) if !found.starts_with("unknown field") => {
                    (Vec::new(), format!("expected {expected}"))
                }
                _ => (Vec::new(), message),
            }
        }
    }
}

/// The variable that sets a path of the service's own: `APP__HTTP__PORT` for `http.port`.
fn variable(path: &str) -> String {
    let path = path.replace('-', "_").replace('.', "__");
    format!("{PREFIX}{}", path.to_ascii_uppercase())
}

/// The prefix of the variables that set keys of the service's own tables.
const PREFIX: &str = "APP__";
