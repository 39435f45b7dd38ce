//! Which values a key allows.

use std::fmt;
use std::time::Duration;

use config::{Value, ValueKind};
use toml::de::{DeTable, DeValue};

use crate::duration;

/// The type of a key's value, with its bounds.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum KeyKind {
    /// A duration as text: `"500ms"`.
    Duration {
        /// The shortest allowed duration.
        min: Duration,
        /// The longest allowed duration.
        max: Duration,
        /// What `"0s"` means, if it is allowed.
        zero: Option<&'static str>,
    },
    /// A whole number.
    Count {
        /// The least allowed number.
        min: u32,
        /// The greatest allowed number.
        max: u32,
    },
    /// A whole number, or a word that means "no bound".
    CountOr {
        /// The least allowed number.
        min: u32,
        /// The greatest allowed number.
        max: u32,
        /// The word.
        word: &'static str,
    },
    /// A share as text: `"20%"`.
    Percent {
        /// The greatest allowed number.
        max: u32,
    },
    /// Free text without control characters.
    Text,
    /// The name of an environment variable.
    Variable,
    /// A program and its arguments, as a list of texts.
    Arguments,
    /// One of a few words.
    Choice(&'static [&'static str]),
}

/// The value of a key as a file or a variable has it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'a> {
    Text(&'a str),
    Number(&'a str),
    List(&'a [&'a str]),
    Other(&'a str),
}

impl KeyKind {
    /// Reads a value from a variable, which is text.
    pub(crate) fn parse(&self, text: &str) -> Result<ValueKind, String> {
        match self {
            KeyKind::CountOr { word, .. } if text.trim().eq_ignore_ascii_case(word) => {
                self.read(Found::Text(text))
            }
            KeyKind::Count { .. } | KeyKind::CountOr { .. } => {
                self.read(Found::Number(text.trim()))
            }
            KeyKind::Arguments => match list(text) {
                Some(words) => {
                    let words: Vec<_> = words.iter().map(|word| &**word).collect();
                    self.read(Found::List(&words))
                }
                None => self.read(Found::Text(text)),
            },
            _ => self.read(Found::Text(text)),
        }
    }

    /// Reads a value from a file, where it has a type.
    pub(crate) fn read(&self, found: Found<'_>) -> Result<ValueKind, String> {
        match (self, found) {
            (KeyKind::Duration { .. }, Found::Text(text)) if self.allows(text) => {
                Ok(ValueKind::String(text.trim().to_owned()))
            }
            (KeyKind::Duration { .. }, Found::Number(number)) => Err(format!(
                "expected {self}, found the number {number}: write \"{number}s\" or \"{number}ms\""
            )),
            (KeyKind::Duration { .. }, Found::Text(text)) if text.trim().parse::<f64>().is_ok() => {
                let number = text.trim();
                Err(format!(
                    "expected {self}, found {text:?} without a unit: write \"{number}s\" or \
                     \"{number}ms\""
                ))
            }
            (
                KeyKind::Count { min, max } | KeyKind::CountOr { min, max, .. },
                Found::Number(number),
            ) => match number.parse::<u32>() {
                Ok(count) if (*min..=*max).contains(&count) => Ok(ValueKind::U64(count.into())),
                _ => Err(self.not(found)),
            },
            (KeyKind::CountOr { word, .. }, Found::Text(text))
                if text.trim().eq_ignore_ascii_case(word) =>
            {
                Ok(ValueKind::String((*word).to_owned()))
            }
            (KeyKind::Percent { max }, Found::Text(text)) => match percent(text) {
                Some(share) if share <= *max => Ok(ValueKind::String(format!("{share}%"))),
                _ => Err(self.not(found)),
            },
            (KeyKind::Text, Found::Text(text)) if !text.chars().any(char::is_control) => {
                Ok(ValueKind::String(text.to_owned()))
            }
            (KeyKind::Arguments, Found::List(words))
                if words.iter().all(|word| is_argument(word)) =>
            {
                let words = words.iter().map(|word| Value::from(*word));
                Ok(ValueKind::Array(words.collect()))
            }
            // The value is not quoted: an argument may be a password, although a password belongs
            // elsewhere.
            (KeyKind::Arguments, _) => Err(format!("expected {self}")),
            (KeyKind::Variable, Found::Text(text)) if is_variable(text.trim()) => {
                Ok(ValueKind::String(text.trim().to_owned()))
            }
            // The value is not quoted: somebody may have pasted a URL with its password.
            (KeyKind::Variable, _) => Err(format!("expected {self}")),
            (KeyKind::Choice(words), Found::Text(text)) => {
                let text = text.trim().to_ascii_lowercase();
                match words.iter().find(|word| word.to_ascii_lowercase() == text) {
                    Some(word) => Ok(ValueKind::String((*word).to_owned())),
                    None => Err(self.not(found)),
                }
            }
            _ => Err(self.not(found)),
        }
    }

    fn allows(&self, text: &str) -> bool {
        let (KeyKind::Duration { min, max, zero }, Some(value)) = (self, duration::parse(text))
        else {
            return false;
        };
        match value.is_zero() {
            true => zero.is_some(),
            false => (*min..=*max).contains(&value),
        }
    }

    fn not(&self, found: Found<'_>) -> String {
        let refusal = self.refusal(found);
        let boundless = match found {
            Found::Text(text) | Found::Number(text) => matches!(text, "0" | "unlimited"),
            Found::List(_) | Found::Other(_) => false,
        };
        match self {
            // Other programs take these two values for "no bound".
            KeyKind::Count { min: 1.., .. } if boundless => {
                format!("{refusal}; it always has a bound")
            }
            _ => refusal,
        }
    }

    fn refusal(&self, found: Found<'_>) -> String {
        match found {
            Found::Text(text) => format!("expected {self}, found {text:?}"),
            Found::Number(number) if number.parse::<f64>().is_err() => {
                format!("expected {self}, found {number:?}")
            }
            Found::List(_) => format!("expected {self}, found a list"),
            Found::Number(found) | Found::Other(found) => format!("expected {self}, found {found}"),
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyKind::Duration { min, max, zero } => {
                let (min, max) = (
                    humantime::format_duration(*min),
                    humantime::format_duration(*max),
                );
                write!(f, "a duration such as \"500ms\" from {min} to {max}")?;
                match zero {
                    Some(meaning) => write!(f, ", or \"0s\" for {meaning}"),
                    None => Ok(()),
                }
            }
            KeyKind::Count { min, max } => write!(f, "a whole number from {min} to {max}"),
            KeyKind::CountOr { min, max, word } => {
                write!(f, "a whole number from {min} to {max}, or \"{word}\"")
            }
            KeyKind::Percent { max } => write!(f, "a share such as \"20%\" from 0% to {max}%"),
            KeyKind::Text => f.write_str("text without control characters"),
            KeyKind::Variable => f.write_str("the name of an environment variable"),
            KeyKind::Arguments => {
                f.write_str("a list of texts such as [\"/usr/local/bin/token\", \"app\"]")
            }
            KeyKind::Choice(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                match words.as_slice() {
                    [word] => f.write_str(word),
                    words => write!(f, "one of {}", words.join(", ")),
                }
            }
        }
    }
}

/// Reads the whole number before a percent sign.
fn percent(text: &str) -> Option<u32> {
    text.trim().strip_suffix('%')?.trim_end().parse().ok()
}

/// Reads a list of texts as TOML and JSON write it.
fn list(text: &str) -> Option<Vec<String>> {
    let line = format!("list = {}", text.trim());
    let table = DeTable::parse(&line).ok()?;
    let DeValue::Array(words) = table.get_ref().get("list")?.get_ref() else {
        return None;
    };
    let word = |word: &toml::Spanned<DeValue<'_>>| match word.get_ref() {
        DeValue::String(text) => Some(text.clone().into_owned()),
        _ => None,
    };
    words.iter().map(word).collect()
}

/// Whether a program can get this argument, which a NUL would cut short.
fn is_argument(text: &str) -> bool {
    !text.contains('\0')
}

fn is_variable(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: KeyKind = KeyKind::Duration {
        min: Duration::from_millis(1),
        max: Duration::from_secs(60),
        zero: None,
    };

    #[test]
    fn a_bare_number_is_no_duration_and_the_error_says_what_to_write() {
        for error in [
            WAIT.read(Found::Number("5")).unwrap_err(),
            WAIT.parse("5").unwrap_err(),
        ] {
            assert!(error.contains("write \"5s\" or \"5ms\""), "{error}");
        }
        assert_eq!(
            WAIT.parse("abc").unwrap_err(),
            "expected a duration such as \"500ms\" from 1ms to 1m, found \"abc\""
        );
    }

    #[test]
    fn a_share_needs_its_percent_sign_and_its_bound() {
        let share = KeyKind::Percent { max: 100 };
        assert_eq!(share.parse(" 20 %"), Ok(ValueKind::String("20%".into())));
        for bad in ["20", "101%", "-1%", "%", "0.2"] {
            let error = share.parse(bad).unwrap_err();
            assert!(error.contains("\"20%\" from 0% to 100%"), "{error}");
        }
        assert!(share.read(Found::Number("20")).is_err());
    }

    #[test]
    fn zero_and_out_of_bounds_are_refused_unless_they_mean_something() {
        assert!(WAIT.parse("0s").is_err() && WAIT.parse("2min").is_err());
        let never = KeyKind::Duration {
            min: Duration::from_secs(1),
            max: Duration::from_secs(60),
            zero: Some("never"),
        };
        assert!(never.parse("0s").is_ok() && never.parse("1ms").is_err());
    }

    /// req 3.27, case R50
    #[test]
    fn counts_words_and_text_are_checked() {
        let count = KeyKind::Count { min: 1, max: 10 };
        assert_eq!(count.parse(" 10 "), Ok(ValueKind::U64(10)));
        for bad in ["0", "11", "-1", "1.5", "ten", ""] {
            assert!(
                count.parse(bad).unwrap_err().contains("from 1 to 10"),
                "{bad}"
            );
        }
        assert!(count.read(Found::Text("5")).is_err());
        // Zero is not silently without bound.
        for unbounded in ["0", "unlimited"] {
            let error = count.parse(unbounded).unwrap_err();
            assert!(error.ends_with("; it always has a bound"), "{error}");
        }
        let bounded = KeyKind::CountOr {
            min: 0,
            max: 10,
            word: "unlimited",
        };
        assert_eq!(bounded.parse("0"), Ok(ValueKind::U64(0)));
        assert_eq!(
            bounded.parse(" Unlimited"),
            Ok(ValueKind::String("unlimited".into()))
        );
        assert_eq!(
            bounded.read(Found::Text("endless")).unwrap_err(),
            "expected a whole number from 0 to 10, or \"unlimited\", found \"endless\""
        );
        assert!(bounded.parse("11").is_err() && bounded.parse("-1").is_err());
        let words = KeyKind::Choice(&["pooled", "direct"]);
        assert_eq!(
            words.parse("Direct"),
            Ok(ValueKind::String("direct".into()))
        );
        assert!(
            words
                .parse("d")
                .unwrap_err()
                .contains("one of \"pooled\", \"direct\"")
        );
        // Nothing that could break out of a startup packet or a log line
        assert!(KeyKind::Text.parse("a\nb").is_err() && KeyKind::Text.parse("a'; \"b\\").is_ok());
    }

    /// req 4.47: a URL in the place of a variable's name is not echoed.
    #[test]
    fn a_url_where_a_variable_name_belongs_is_not_echoed() {
        let error = KeyKind::Variable
            .parse("postgres://u:canary@h/d")
            .unwrap_err();
        assert_eq!(error, "expected the name of an environment variable");
    }
}
