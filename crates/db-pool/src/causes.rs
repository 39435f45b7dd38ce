//! An error and its causes, as people read them.

use std::error::Error as StdError;

/// The error with all its causes, joined by `: `. A cause whose text is already there is not repeated.
#[must_use]
pub fn with_causes(error: &(dyn StdError + 'static)) -> String {
    let mut report = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !report.ends_with(&text) {
            report.push_str(": ");
            report.push_str(&text);
        }
        next = cause.source();
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_said_once() {
        let error = std::io::Error::other(std::io::Error::other("inner"));
        assert_eq!(with_causes(&error), "inner");
        let parse = "x".parse::<u8>().unwrap_err();
        assert_eq!(with_causes(&parse), parse.to_string());
    }
}
