//! The printed result, and the written report.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::corpus::File;
use crate::failed::Failed;
use crate::outcome::Outcome;
use crate::split::Turn;

/// Everything that was compared.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) profile: Vec<String>,
    pub(crate) files: usize,
    /// Parts of the scripts that are no statements for a server.
    pub(crate) psql_commands: usize,
    pub(crate) only_for_psql: usize,
    pub(crate) copies: usize,
    pub(crate) left_out: Vec<String>,
    /// Entries of the list that no script needed.
    pub(crate) unused: Vec<String>,
    pub(crate) seconds: u64,
    /// Scripts, once for each form, for which there was no time.
    pub(crate) not_run: usize,
    /// Scripts that plain diesel-async could not run.
    pub(crate) failed: Vec<String>,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Report {
    pub(crate) fn count(&mut self, file: &File) {
        self.files += 1;
        self.psql_commands += file.script.commands;
        self.only_for_psql += file.script.only_for_psql;
        self.copies += file.script.copies;
    }

    pub(crate) fn take(&mut self, judged: Result<Vec<Outcome>, Failed>) {
        match judged {
            Ok(outcomes) => self.outcomes.extend(outcomes),
            Err(failed) => self.failed.push(failed.to_string()),
        }
    }

    pub(crate) fn differences(&self) -> usize {
        self.outcomes
            .iter()
            .map(|outcome| outcome.different.len())
            .sum()
    }

    /// The table, and the first differences.
    pub(crate) fn text(&self, most: usize) -> String {
        let mut text = String::new();
        let mut ways: Vec<_> = self.outcomes.iter().map(|o| (o.route, o.form)).collect();
        ways.sort();
        ways.dedup();
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{} files, {} s; left out: {} commands of psql, {} statements for psql alone, {} COPY with rows",
            self.files, self.seconds, self.psql_commands, self.only_for_psql, self.copies
        );
        if self.not_run > 0 {
            let _ = writeln!(
                text,
                "NOT DONE: there was no time for {} scripts and forms",
                self.not_run
            );
        }
        for failed in &self.failed {
            let _ = writeln!(text, "NOT COMPARED: {failed}");
        }
        for reason in &self.unused {
            let _ = writeln!(text, "expected.toml, not needed: {reason}");
        }
        for line in &self.left_out {
            let _ = writeln!(text, "not run: {line}");
        }
        let _ = writeln!(
            text,
            "\n{:8}{:10}{:>11}{:>9}{:>9}{:>10}{:>11}",
            "route", "form", "statements", "same", "listed", "unstable", "DIFFERENT"
        );
        for (route, form) in ways {
            let of_way = || {
                self.outcomes
                    .iter()
                    .filter(|o| (o.route, o.form) == (route, form))
            };
            let sum = |what: fn(&Outcome) -> usize| of_way().map(what).sum::<usize>();
            let _ = writeln!(
                text,
                "{:8}{:10}{:>11}{:>9}{:>9}{:>10}{:>11}",
                route.name(),
                form.name(),
                sum(|o| o.statements),
                sum(|o| o.same),
                sum(|o| o.listed),
                sum(|o| o.unstable),
                sum(|o| o.different.len())
            );
        }
        self.tell_differences(&mut text, most);
        text
    }

    fn tell_differences(&self, text: &mut String, most: usize) {
        let all = self.outcomes.iter().flat_map(|outcome| {
            let different = outcome.different.iter();
            different.map(move |different| (outcome, different))
        });
        for (outcome, different) in all.take(most) {
            let _ = writeln!(
                text,
                "\n{}.sql:{} {} {}{}\n  {}\n  stock: {}\n  ours:  {}",
                outcome.file,
                different.line,
                outcome.route.name(),
                outcome.form.name(),
                match different.turn {
                    Turn::First => "",
                    Turn::Again => ", run again",
                    Turn::NextBorrower => ", by the next borrower",
                },
                different.statement.replace('\n', "\n  "),
                different.stock,
                different.ours
            );
        }
        let hidden = self.differences().saturating_sub(most);
        if hidden > 0 {
            let _ = writeln!(text, "\nand {hidden} more");
        }
    }

    /// Keeps everything in `target/differential`.
    pub(crate) fn write(&self, name: &str) -> Result<PathBuf, Failed> {
        let folder = Path::new(FOLDER);
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("{name}.json"));
        fs::write(&path, serde_json::to_string_pretty(self)?)?;
        Ok(path)
    }
}

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/differential");
