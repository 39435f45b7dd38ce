//! What the reference implementations read, and what is read here.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

/// A text that sets `V`, and the value of `V` in each program.
#[derive(Debug, Deserialize)]
struct Case {
    text: String,
    python: Option<String>,
    node: Option<String>,
    compose: Option<String>,
    /// Whether docker compose's reader was not available.
    #[serde(default)]
    without_compose: bool,
}

impl Case {
    fn read(line: &str) -> Case {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Says what is wrong with our reading, if anything is.
    fn fault(&self) -> Option<String> {
        let ours = parse(self.text.as_bytes(), &BTreeMap::new(), &mut Vec::new())
            .into_iter()
            .rfind(|assignment| assignment.name == "V")
            .map(|assignment| assignment.value);
        // For docker compose any line that it cannot read spoils the whole file.
        let spoilt = self.compose.is_none() && self.text.trim().contains('\n');
        let spoilt = spoilt || self.without_compose;
        let alike = self.python == self.node && (spoilt || self.node == self.compose);
        let right = match (&ours, &self.python) {
            (Some(Ok(ours)), Some(theirs)) => alike && ours == theirs,
            (Some(Ok(_)), None) => false,
            (Some(Err(_)), theirs) => !alike || theirs.is_none() || spoilt,
            (None, theirs) => alike && theirs.is_none(),
        };
        (!right).then(|| format!("{self:?}: here {ours:?}"))
    }
}

fn check(answers: &str) {
    let faults: Vec<_> = answers
        .lines()
        .filter_map(|line| Case::read(line).fault())
        .collect();
    assert!(answers.lines().count() > 50, "too few cases");
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// diesel#3210, sqlx#2690 and others: the table of `just dotenv-differential`, with the answers of
/// python-dotenv 1.2.4, node's dotenv 18.0.10 and compose-go 2.
///
/// If the three agree, we read the same value. If they do not, the variable is an error for the
/// setting that asks for it.
#[test]
fn the_table_of_cases_is_read_as_the_references_agree() {
    check(include_str!("cases.jsonl"));
}

/// The same for the answers in the file that `DOTENV_ANSWERS` names.
#[test]
#[ignore = "needs the reference implementations: just dotenv-differential"]
fn generated_texts_are_read_as_the_references_agree() {
    let file = std::env::var("DOTENV_ANSWERS").unwrap();
    check(&std::fs::read_to_string(file).unwrap());
}
