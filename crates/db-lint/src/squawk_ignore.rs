//! `-- squawk-ignore RULE` and `-- squawk-ignore-file RULE`: squawk drops the findings of the rules that they name, and
//! a report lists those as allowed.

use crate::comments::{Comment, comments};
use crate::finding::line_and_column;

/// Squawk's comments of one file.
pub(crate) struct Ignores<'a>(Vec<Ignore<'a>>);

struct Ignore<'a> {
    /// An empty list means every rule.
    rules: Vec<&'a str>,
    of_file: bool,
    /// The line of the comment.
    line: usize,
    reason: Option<&'a str>,
}

impl<'a> Ignores<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        let found = comments(text)
            .into_iter()
            .filter_map(|comment| Ignore::of(text, &comment));
        Self(found.collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The reason of the comment that ignores a finding, or the kind of the comment if it gives no reason.
    pub(crate) fn reason(&self, text: &str, code: &str, offset: usize) -> String {
        let (line, _) = line_and_column(text, offset);
        let names = |ignore: &&Ignore<'_>| ignore.rules.is_empty() || ignore.rules.contains(&code);
        let near = self
            .0
            .iter()
            .filter(names)
            .find(|ignore| !ignore.of_file && (ignore.line == line || ignore.line + 1 == line));
        let of_file = || self.0.iter().filter(names).find(|ignore| ignore.of_file);
        let ignore = near.or_else(of_file);
        ignore.map_or(LINE, Ignore::said).to_owned()
    }
}

impl<'a> Ignore<'a> {
    fn of(text: &str, comment: &Comment<'a>) -> Option<Self> {
        let (named, reason) = match comment.body.split_once("--") {
            Some((named, reason)) => (named, Some(reason.trim())),
            None => (comment.body, None),
        };
        let (of_file, named) = match named.strip_prefix(FILE) {
            Some(named) => (true, named),
            None => (false, named.strip_prefix(LINE)?),
        };
        let names = named.split(',').map(str::trim);
        Some(Self {
            rules: names.filter(|name| !name.is_empty()).collect(),
            of_file,
            line: line_and_column(text, comment.start).0,
            reason: reason.filter(|reason| !reason.is_empty()),
        })
    }

    fn said(&self) -> &'a str {
        let bare = if self.of_file { FILE } else { LINE };
        self.reason.unwrap_or(bare)
    }
}

/// The text with its comments of this kind made meaningless. Every other byte stays in its place.
pub(crate) fn disarmed(text: &str) -> String {
    let mut disarmed = text.to_owned();
    for comment in comments(text) {
        if comment.body.starts_with(LINE) {
            let place = comment.start..comment.end;
            disarmed.replace_range(place.clone(), &text[place].replacen('q', "_", 1));
        }
    }
    disarmed
}

const LINE: &str = "squawk-ignore";
const FILE: &str = "squawk-ignore-file";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_comment_that_names_the_rule_has_the_reason() {
        let text = "/* squawk-ignore-file a, b -- the whole file */\n\
                    -- squawk-ignore a -- once\n\
                    x;\n\
                    y; -- squawk-ignore b\n\
                    z;\n";
        let ignores = Ignores::of(text);
        let reason = |code, at: &str| ignores.reason(text, code, text.find(at).unwrap());
        assert_eq!(reason("a", "x;"), "once");
        assert_eq!(reason("b", "x;"), "the whole file");
        assert_eq!(reason("b", "y;"), "squawk-ignore");
        assert_eq!(reason("a", "z;"), "the whole file");
        assert!(Ignores::of("select 'squawk-ignore a'").is_empty());
    }

    #[test]
    fn a_disarmed_text_ignores_nothing_and_keeps_every_place() {
        let text = "-- ü squawk\n-- squawk-ignore a\nselect 'squawk-ignore';";
        let disarmed = disarmed(text);
        assert!(Ignores::of(&disarmed).is_empty());
        assert_eq!(disarmed.len(), text.len());
        assert!(disarmed.ends_with("select 'squawk-ignore';"));
    }
}
