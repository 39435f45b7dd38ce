//! A layer of settings: the values that one source sets, each with its origin.

use std::collections::BTreeMap;

use config::{Source, Value, ValueKind};

use crate::environment::Environment;
use crate::error::Problem;
use crate::keys::{self, KEYS, POOL_DEFAULTS};
use crate::origin::Origin;
use crate::variables::Variable;

/// The values that one source sets. They are checked, and found by their path below `database`.
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
            // A function may have only one connection, with and without a replica.
            .filter(|default| !default.with_replica || *environment != Environment::Lambda)
            .filter(|default| !default.with_replica || with_replica)
            .map(|default| (default.path, default.value));
        let keys = KEYS
            .iter()
            .filter_map(|key| Some((key.path, key.built_in(environment)?)));
        for (path, value) in keys.chain(pools) {
            // Cannot fail: a test parses every built-in value.
            let _ = layer.set(path, value, origin.clone());
        }
        layer
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
            // An empty variable counts as unset, here as everywhere.
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

    /// The values below a path. Their own paths start after it.
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

/// The beginning of the origin of every built-in value.
pub(crate) const BUILT_IN: &str = "built-in";

/// Whether a value is built in. Any configured value replaces it.
pub(crate) fn is_built_in(origin: &Origin) -> bool {
    origin.as_str().starts_with(BUILT_IN)
}
