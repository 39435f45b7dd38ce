//! Reads the parameters of a URL as numbers, words and durations.

use std::fmt::Display;
use std::time::Duration;

use super::params::Params;
use crate::error::Problem;

/// Reads typed values out of [`Params`], and collects the problems.
pub(super) struct ParamReader<'a> {
    params: &'a Params,
    problems: Vec<Problem>,
}

impl<'a> ParamReader<'a> {
    pub(super) fn new(params: &'a Params) -> Self {
        ParamReader {
            params,
            problems: Vec::new(),
        }
    }

    /// Ends the reading. The error has every problem that came up.
    pub(super) fn finish(self) -> Result<(), Vec<Problem>> {
        match self.problems.is_empty() {
            true => Ok(()),
            false => Err(self.problems),
        }
    }

    pub(super) fn problem(&mut self, name: &str, message: impl Display) {
        self.problems.push(self.params.problem(name, message));
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.params.text(name).map(str::to_owned)
    }

    pub(super) fn even_empty(&self, name: &str) -> Option<String> {
        self.params.even_empty(name).map(str::to_owned)
    }

    pub(super) fn is_of_url(&self, name: &str) -> bool {
        self.params.is_of_url(name)
    }

    /// Returns the spelling that is given. It is a problem if both are.
    pub(super) fn either(
        &mut self,
        one: &'static str,
        other: &'static str,
    ) -> Option<&'static str> {
        match (self.params.is_given(one), self.params.is_given(other)) {
            (true, true) => {
                self.problem(one, format!("`{other}` means the same; give one of them"));
                None
            }
            (true, false) => Some(one),
            (false, true) => Some(other),
            (false, false) => None,
        }
    }

    pub(super) fn word<T: Copy>(
        &mut self,
        name: &str,
        words: &[(&str, T)],
        advice: &str,
    ) -> Option<T> {
        let text = self.even_empty(name)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.problem(
                name,
                format!("expected {}, found {text:?}{advice}", known.join(", ")),
            );
        }
        found.map(|(_, meaning)| *meaning)
    }

    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        let words = [
            ("1", true),
            ("true", true),
            ("on", true),
            ("0", false),
            ("false", false),
            ("off", false),
        ];
        self.word(name, &words, "")
    }

    pub(super) fn number<T: std::str::FromStr>(&mut self, name: &str, expected: &str) -> Option<T> {
        let text = self.even_empty(name)?;
        let number = text.trim().parse().ok();
        if number.is_none() {
            self.problem(name, format!("expected {expected}, found {text:?}"));
        }
        number
    }

    /// Reads a count. As in libpq, 0 and negative numbers mean the default, so they are `None`.
    pub(super) fn count(&mut self, name: &str, expected: &str) -> Option<u32> {
        let number: i32 = self.number(name, expected)?;
        u32::try_from(number).ok().filter(|count| *count > 0)
    }

    pub(super) fn seconds(&mut self, name: &str) -> Option<Duration> {
        let seconds = self.count(name, "a whole number of seconds")?;
        Some(Duration::from_secs(seconds.into()))
    }

    /// Reads a switch that is a number to libpq: 0 is off.
    pub(super) fn switch(&mut self, name: &str) -> Option<bool> {
        match self.even_empty(name)?.trim().parse::<i32>() {
            Ok(number) => Some(number != 0),
            Err(_) => self.flag(name),
        }
    }
}
