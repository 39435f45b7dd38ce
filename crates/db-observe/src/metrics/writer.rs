//! Writes series into their families.

use std::borrow::Cow;

use crate::metrics::family::{Family, Value};

/// Puts series into their families.
pub(crate) struct Writer<'f>(&'f mut [Family]);

impl<'f> Writer<'f> {
    pub(crate) fn of(families: &'f mut [Family]) -> Self {
        Self(families)
    }

    pub(crate) fn put(
        &mut self,
        name: &str,
        labels: impl IntoIterator<Item = (&'static str, Cow<'static, str>)>,
        value: Value,
    ) {
        let family = self
            .0
            .iter_mut()
            .find(|family| family.definition.name == name);
        debug_assert!(family.is_some(), "{name} is not defined");
        if let Some(family) = family {
            family.push(labels, value);
        }
    }
}
