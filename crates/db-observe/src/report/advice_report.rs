//! Advice as plain data.

use serde::{Deserialize, Serialize};

use crate::advice::{Advice, Input};

/// One piece of advice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct AdviceReport {
    /// The pool.
    pub pool: String,
    /// What it is about.
    pub about: String,
    /// The number.
    pub recommended: f64,
    /// The inputs.
    pub inputs: Vec<InputReport>,
    /// What it means.
    pub sentence: String,
}

/// One number from which advice was computed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct InputReport {
    /// Its name and unit.
    pub name: String,
    /// The number.
    pub value: f64,
}

impl AdviceReport {
    /// Advice on one pool as plain data.
    #[must_use]
    pub fn of(pool: &str, advice: &Advice) -> Self {
        let input = |input: &Input| InputReport {
            name: input.name.to_owned(),
            value: input.value,
        };
        Self {
            pool: pool.to_owned(),
            about: advice.about.to_owned(),
            recommended: advice.recommended,
            inputs: advice.inputs.iter().map(input).collect(),
            sentence: advice.sentence.clone(),
        }
    }
}
