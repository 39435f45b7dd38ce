//! Reads the `options` parameter, which has server settings in the syntax of a command line.

use std::collections::BTreeMap;

/// Reads the settings of `-c name=value` and `--name=value`. Their names become lower case.
pub(super) fn parse(options: &str) -> Result<BTreeMap<String, String>, String> {
    let mut settings = BTreeMap::new();
    let mut words = words(options)?.into_iter();
    while let Some(word) = words.next() {
        let setting = if word == "-c" {
            words.next().ok_or("`-c` without a setting")?
        } else if let Some(setting) = word.strip_prefix("--") {
            let (name, value) = setting.split_once('=').ok_or(EXPECTED)?;
            format!("{}={value}", name.replace('-', "_"))
        } else if let Some(setting) = word.strip_prefix("-c") {
            setting.to_owned()
        } else if ROUTING.iter().any(|name| word.starts_with(name)) {
            continue;
        } else {
            return Err(EXPECTED.to_owned());
        };
        let (name, value) = setting.split_once('=').ok_or(EXPECTED)?;
        settings.insert(check_name(name)?, value.to_owned());
    }
    Ok(settings)
}

/// Writes one setting for `options`.
pub(super) fn write(name: &str, value: &str) -> String {
    let mut escaped = String::new();
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        let is_plus = c == '+' && chars.peek() == Some(&'-');
        if c == '\\' || c.is_ascii_whitespace() || is_plus {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    format!("-c {name}={escaped}")
}

/// Quotes the name of a schema if it needs that to keep its case.
pub(super) fn quoted(identifier: &str) -> String {
    let plain = identifier.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && identifier
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    match plain {
        true => identifier.to_owned(),
        false => format!("\"{}\"", identifier.replace('"', "\"\"")),
    }
}

fn words(options: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = options.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let escaped = chars.next().ok_or("a backslash at the end of `options`")?;
                word.get_or_insert_default().push(escaped);
            }
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            '+' if is_form_blank(word.as_deref(), chars.as_str()) => return Err(PLUS.to_owned()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Whether a `+` stands between two words. A form encodes a blank in this way, and a URL does not.
fn is_form_blank(before: Option<&str>, after: &str) -> bool {
    before == Some("-c") || after.starts_with("-c") || after.starts_with("--")
}

fn check_name(name: &str) -> Result<String, String> {
    let name = name.trim().to_ascii_lowercase();
    let well_formed = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    match well_formed && !STARTUP.contains(&name.as_str()) {
        true => Ok(name),
        false => Err("`options` names something that is no server setting".to_owned()),
    }
}

const PLUS: &str = "write %20 for a blank; a `+` stands for itself";

const EXPECTED: &str = "`options` may hold `-c name=value` and `--name=value` only";

/// Startup parameters that are not settings. They would change who logs in, and to which database.
const STARTUP: [&str; 4] = ["user", "database", "replication", "options"];

/// Neon and Supabase accept these instead of SNI. They are not needed, because SNI is always sent.
const ROUTING: [&str; 3] = ["endpoint=", "project=", "reference="];

#[cfg(test)]
mod tests {
    use super::*;

    /// case R50: backslash escapes carry blanks and backslashes.
    #[test]
    fn settings_are_read_with_their_escapes() {
        let settings =
            parse(r"-c search_path=a,\ b --statement-timeout=5s -clock_timeout=1\\2").unwrap();
        assert_eq!(settings["search_path"], "a, b");
        assert_eq!(settings["statement_timeout"], "5s");
        assert_eq!(settings["lock_timeout"], r"1\2");
        assert!(parse("endpoint=ep-cool-1").unwrap().is_empty());
    }

    /// case R50: only settings pass.
    #[test]
    fn what_is_no_setting_is_refused() {
        for bad in [
            "-B 5",
            "-c",
            "-c user=admin",
            "-c a;b=c",
            "-c =x",
            "x",
            "a\\",
            "--name",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for value in [
            "a b",
            r"back\slash",
            "'; drop table x; --",
            "",
            "\"A\", public",
            "+-c+--x+-",
        ] {
            let parsed = parse(&write("search_path", value)).unwrap();
            assert_eq!(parsed["search_path"], value);
        }
    }

    #[test]
    fn a_schema_keeps_its_case() {
        assert_eq!(quoted("app_1"), "app_1");
        assert_eq!(quoted("My \"App\""), "\"My \"\"App\"\"\"");
    }
}
