//! Finds a rule by its name.

use crate::error::LintError;
use crate::rules::opt_in::OPT_IN;
use crate::rules::ours::OURS;
use crate::rules::rule::Rule;
use crate::rules::squawks::SQUAWKS;

impl Rule {
    /// All rules, by name.
    pub fn all() -> impl Iterator<Item = &'static Rule> {
        let ours = OURS.iter().copied();
        ours.chain(&SQUAWKS).chain(&OPT_IN)
    }

    /// The rule of a name.
    ///
    /// # Errors
    ///
    /// [`LintError::UnknownRule`] names the nearest one.
    pub fn named(name: &str) -> Result<&'static Rule, LintError> {
        find(name)
    }
}

/// The rule with a name. Squawk has two spellings for one of its rules.
pub(crate) fn find(name: &str) -> Result<&'static Rule, LintError> {
    let name = if name == "prefer-timestamptz" {
        "prefer-timestamp-tz"
    } else {
        name
    };
    if let Some(rule) = Rule::all().find(|rule| rule.code == name) {
        return Ok(rule);
    }
    let distances = Rule::all().map(|rule| (strsim::osa_distance(name, rule.code), rule.code));
    let limit = (name.chars().count() / 3).max(1);
    let nearest = distances.filter(|(distance, _)| *distance <= limit).min();
    Err(LintError::UnknownRule {
        name: name.to_owned(),
        nearest: nearest.map(|(_, code)| code),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_of_squawk_has_a_recipe_and_no_name_is_taken_twice() {
        for rule in squawk_linter::Linter::with_default_rules().rules {
            let known = find(&rule.to_string()).unwrap();
            assert!(!known.recipe.is_empty(), "{}", known.code);
        }
        // Squawk writes this name and cannot read it.
        let unread = "unused-ignore";
        for rule in SQUAWKS.iter().chain(&OPT_IN) {
            let read = rule.code.parse::<squawk_linter::Rule>();
            assert_eq!(read.is_err(), rule.code == unread, "{}", rule.code);
        }
        let mut codes: Vec<_> = Rule::all().map(|rule| rule.code).collect();
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }

    #[test]
    fn a_misspelt_rule_names_the_nearest_and_a_strange_one_none() {
        let error = find("down-mising").unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no rule `down-mising`; did you mean `down-missing`?"
        );
        assert_eq!(find("x").unwrap_err().to_string(), "there is no rule `x`");
    }
}
