//! A table of rules.

use crate::rules::rule::{Rule, Severity};

/// Name, severity, whether it matters only on a large table, what is wrong, what to do instead.
pub(super) type Row = (&'static str, Severity, bool, &'static str, &'static str);

/// The rules of a table, in a form that lives as long as the program.
pub(super) const fn table<const N: usize>(rows: [Row; N]) -> [Rule; N] {
    let mut rules = [rule(rows[0]); N];
    let mut at = 0;
    while at < N {
        rules[at] = rule(rows[at]);
        at += 1;
    }
    rules
}

const fn rule((code, severity, by_size, summary, recipe): Row) -> Rule {
    Rule {
        code,
        severity,
        by_size,
        summary,
        recipe,
    }
}

pub(super) const LOCKS: bool = true;
pub(super) const ALWAYS: bool = false;
