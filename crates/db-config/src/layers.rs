//! All layers together, merged into tables.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use config::{Value, ValueKind};

use crate::environment::Environment;
use crate::layer::{self, Layer};
use crate::origin::Origin;

/// The built-in layer, and the layers of what is configured.
#[derive(Clone, Debug)]
pub(crate) struct Layers {
    pub(crate) built_in: Layer,
    /// From the lowest to the highest. The last one holds the values set from code.
    pub(crate) configured: Vec<Layer>,
}

impl Layers {
    /// The built-in layer, with nothing configured.
    pub(crate) fn built_in(environment: &Environment) -> Layers {
        Layers {
            built_in: Layer::built_in(environment, false),
            configured: vec![Layer::default()],
        }
    }

    /// Sets a value in the highest layer.
    pub(crate) fn set(&mut self, path: &str, text: &str, origin: Origin) -> Result<(), String> {
        match self.configured.last_mut() {
            Some(layer) => layer.set(path, text, origin),
            None => Ok(()),
        }
    }

    /// The names of the pools. `read` and `write` are always among them.
    pub(crate) fn pool_names(&self) -> Vec<String> {
        let names: BTreeSet<_> = ["read", "write"]
            .into_iter()
            .chain(self.configured_pools())
            .collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// For each configured value, the name of its pool. So a pool may come several times.
    pub(crate) fn configured_pools(&self) -> impl Iterator<Item = &str> {
        self.configured
            .iter()
            .flat_map(Layer::paths)
            .filter_map(|path| path.strip_prefix("pools.")?.split('.').next())
    }

    /// Merges the tables of the given paths. A later path beats an earlier one, but a configured
    /// value of any path beats the built-in values of all.
    pub(crate) fn table(&self, paths: &[&str]) -> BTreeMap<String, Value> {
        let part = |layer: &Layer, path: &str| match path {
            "" => layer.clone(),
            path => layer.under(path),
        };
        let mut builder = ::config::Config::builder();
        for path in paths {
            builder = builder.add_source(part(&self.built_in, path));
        }
        for path in paths {
            for layer in &self.configured {
                builder = builder.add_source(part(layer, path));
            }
        }
        let merged = builder.build().map(|merged| merged.cache.kind);
        let Ok(ValueKind::Table(table)) = merged else {
            unreachable!("layers hold checked paths, and merging them reads nothing");
        };
        let mut table: BTreeMap<_, _> = table.into_iter().collect();
        fit(&mut table, "min_idle", "max", Ordering::Greater, "lowered");
        fit(
            &mut table,
            "min_idle",
            "max_idle",
            Ordering::Greater,
            "lowered",
        );
        fit(&mut table, "ceiling", "max", Ordering::Less, "raised");
        table
    }
}

/// Replaces a built-in value with a configured bound if the value is on the wrong side of the
/// bound.
fn fit(table: &mut BTreeMap<String, Value>, key: &str, bound: &str, wrong: Ordering, how: &str) {
    let (Some(limit), Some(value)) = (table.get(bound), table.get(key)) else {
        return;
    };
    let (ValueKind::U64(most), ValueKind::U64(count)) = (&limit.kind, &value.kind) else {
        return;
    };
    if count.cmp(most) == wrong && is_built_in(value) && !is_built_in(limit) {
        let origin = format!("{}, {how} to {bound}", value.origin().unwrap_or_default());
        let fitted = Value::new(Some(&origin), *most);
        table.insert(key.to_owned(), fitted);
    }
}

pub(crate) fn is_built_in(value: &Value) -> bool {
    layer::is_built_in(&Origin::new(value.origin().unwrap_or_default()))
}
