//! The statement timeout, as a text sets it.

/// Whether a text may set the statement timeout.
pub(crate) fn sets_timeout(text: &[u8]) -> bool {
    last_mention(text).is_some()
}

/// The statement timeout in milliseconds that the last such setting in a text sets. `u64::MAX` means that it
/// removes the bound, or does not say how long.
pub(crate) fn timeout_of(text: &[u8]) -> u64 {
    let behind = last_mention(text).map_or(&b""[..], |at| &text[at + NAME.len()..]);
    let value = behind.trim_ascii_start();
    let value = value.strip_prefix(b"'").unwrap_or(value);
    let value = trim_start(value, b" \t\r\n=,");
    let value = match value {
        [b't' | b'T', b'o' | b'O', rest @ ..] => rest,
        value => value,
    };
    let value = trim_start(value, b" \t\r\n'");
    let digits = value
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (number, unit) = value.split_at(digits);
    let number = str::from_utf8(number)
        .ok()
        .and_then(|number| number.parse::<u64>().ok());
    let unit = unit.trim_ascii_start();
    let letters = unit
        .iter()
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    let factor = match &unit[..letters] {
        b"" | b"ms" => 1,
        b"s" => 1_000,
        b"min" => 60_000,
        b"h" => 3_600_000,
        b"d" => 86_400_000,
        _ => u64::MAX,
    };
    match number {
        None | Some(0) => u64::MAX,
        Some(number) => number.saturating_mul(factor),
    }
}

fn last_mention(text: &[u8]) -> Option<usize> {
    text.windows(NAME.len())
        .rposition(|window| window.eq_ignore_ascii_case(NAME))
}

fn trim_start<'t>(mut text: &'t [u8], what: &[u8]) -> &'t [u8] {
    while let [first, rest @ ..] = text
        && what.contains(first)
    {
        text = rest;
    }
    text
}

const NAME: &[u8] = b"statement_timeout";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_read_as_the_server_reads_it() {
        for (text, expected) in [
            ("BEGIN; SET LOCAL statement_timeout = 90000", 90_000),
            ("set statement_timeout to '90s'", 90_000),
            ("SET LOCAL Statement_Timeout='2 min'", 120_000),
            ("SET LOCAL \"statement_timeout\" = '1500ms'", u64::MAX),
            (
                "select set_config('statement_timeout', '1h', true)",
                3_600_000,
            ),
            (
                "set statement_timeout = 5; set statement_timeout = '7s'",
                7_000,
            ),
            ("set statement_timeout = 0", u64::MAX),
            ("set statement_timeout to default", u64::MAX),
            ("reset statement_timeout", u64::MAX),
            ("select set_config('statement_timeout', $1, true)", u64::MAX),
            ("set statement_timeout = '1 fortnight'", u64::MAX),
        ] {
            assert!(sets_timeout(text.as_bytes()), "{text}");
            assert_eq!(timeout_of(text.as_bytes()), expected, "{text}");
        }
        assert!(!sets_timeout(b"select timeout from statement"));
        assert!(!sets_timeout(b""));
    }
}
