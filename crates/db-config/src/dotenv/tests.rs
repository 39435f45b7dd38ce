//! Lines, quotes, substitutions, and the message for a line that has no value.

use proptest::prelude::*;

use super::*;

fn read_in(text: &str, process: &[(&str, &str)]) -> Vec<Assignment> {
    let process = process
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    parse(text.as_bytes(), &process, &mut Vec::new())
}

/// The value of `V`.
fn v(text: &str) -> Result<String, String> {
    let read = read_in(text, &[]);
    match read.into_iter().rfind(|assignment| assignment.name == "V") {
        Some(assignment) => assignment.value,
        None => panic!("{text}: V is not there"),
    }
}

fn all(text: &str) -> Vec<(String, Result<String, String>, usize)> {
    let read = read_in(text, &[]).into_iter();
    read.map(|a| (a.name, a.value, a.line)).collect()
}

#[test]
fn lines_keep_their_numbers_over_comments_and_quoted_line_breaks() {
    let text = "\u{feff}# first\r\n\r\nexport A=1 # why\r\nB='x\ny'\nC=\"q\"  ";
    assert_eq!(
        all(text),
        [
            ("A".into(), Ok("1".into()), 3),
            ("B".into(), Ok("x\ny".into()), 4),
            ("C".into(), Ok("q".into()), 6)
        ]
    );
}

/// `MOTD=it's` … `BYE=that's`: only a quote that opens a value spans lines.
#[test]
fn an_apostrophe_or_an_unclosed_quote_swallows_no_other_line() {
    for (before, after) in [
        ("MOTD=it's", "BYE=that's"),
        ("MOTD=5\" screen", "BYE=6\" screen"),
        ("MOTD='tis", "BYE=so"),
        ("MOTD=\"open", "BYE=so"),
        ("MOTD='tis", "BYE='twas"),
        ("MOTD='a' it's", "BYE=so"),
        ("MOTD=don't # it's", "BYE=so"),
        ("it's a note", "that's all"),
        ("A-B='", "x"),
    ] {
        let text = format!("{before}\nV=1\n{after}\n");
        assert_eq!(v(&text).as_deref(), Ok("1"), "{text}");
    }
}

/// A quote that spans lines may include one of our lines by mistake. A warning says so.
#[test]
fn a_quoted_value_that_takes_in_a_line_of_ours_is_a_warning() {
    let mut warnings = Vec::new();
    let text = b"\nNOTE='tis\nAPP_ENV=prod\nOTHER=x\nDATABASE_URL=y\nEND=it'\n";
    let read = parse(text, &BTreeMap::new(), &mut warnings);
    assert_eq!(read.len(), 1);
    assert_eq!(
        warnings,
        [
            ".env:3: the quote that opens in line 2 includes this line, so it does not set APP_ENV",
            ".env:5: the quote that opens in line 2 includes this line, so it does not set DATABASE_URL"
        ]
    );
}

/// diesel#3210, sqlx#2690: a URL made of other variables.
#[test]
fn names_after_a_dollar_are_replaced() {
    let text = "U=me\nPW='p$w'\nV=postgres://${U}:$PW@h/${D:-d}";
    assert_eq!(v(text).as_deref(), Ok("postgres://me:p$w@h/d"));
    let read = read_in("U=file\nV=\"a ${U} $P\"", &[("U", "process"), ("P", "p")]);
    assert_eq!(read[1].value.as_deref(), Ok("a process p"));
    assert_eq!(v("U=x\nV='${U}'").as_deref(), Ok("${U}"));
}

/// What dotenvy substitutes, value by value.
#[test]
fn substitution_is_that_of_dotenvy() {
    let before = "A=1\nB=two\nC_D='three 3'\n";
    for value in [
        "$A",
        "${A}",
        "x$A",
        "${A}x",
        "$A.$B",
        "$A$B",
        "${A}${B}",
        "${C_D}",
        "\"$A b\"",
        "\"${C_D}\"",
        "'$A'",
        "\\$A",
        "\"\\$A\"",
        "postgres://$B:$A@h/d",
        "a${A}b${B}c",
        "\"'$A'\"",
        "$A-$B",
        "$A:$B/x",
    ] {
        let text = format!("{before}V={value}\n");
        let theirs = dotenvy::from_read_iter(text.as_bytes())
            .map(Result::unwrap)
            .find(|(name, _)| name == "V")
            .unwrap();
        assert_eq!(v(&text).as_deref(), Ok(theirs.1.as_str()), "{value}");
    }
}

/// dotenvy would replace each of these with an empty text, which shortens a password.
#[test]
fn a_dollar_without_the_name_of_a_variable_that_is_set_is_no_value() {
    for value in [
        "pa$word",
        "pa${word}",
        "\"pa$word\"",
        "pa$",
        "$$",
        "pa$1",
        "$ x",
        "${",
        "${}",
        "$_",
        "$A_B",
        "${A",
        "${A:-$B}",
        "${A?x}",
        "\"$\"",
    ] {
        let reason = v(&format!("A=1\nV={value}")).err();
        if value == "${A:-$B}" {
            assert_eq!(reason, None, "the default is not needed");
            continue;
        }
        let reason = reason.unwrap_or_else(|| panic!("{value} has a value"));
        assert!(!reason.contains("word"), "{reason}");
    }
    assert_eq!(v("V='pa$word'").as_deref(), Ok("pa$word"));
    assert_eq!(v("V=x # costs $5").as_deref(), Ok("x"));
    let reason = v("A=`x`\nV=${A}").unwrap_err();
    assert!(reason.contains("another variable of .env"), "{reason}");
}

#[test]
fn a_variable_set_twice_has_no_value() {
    assert_eq!(
        v("V=1\nV=2").unwrap_err(),
        "already set in line 1; remove one of them"
    );
}

#[test]
fn a_line_in_another_syntax_is_known_by_the_name_in_it() {
    for text in [
        "V: x",
        "V x",
        "set V=x",
        "'V'=x",
        "\"V\"=\"x\"",
        "$env:V=\"x\"",
        "- V=x",
        "declare -x V=x",
        "let V = x",
    ] {
        assert_eq!(v(text).unwrap_err(), "expected NAME=value", "{text}");
    }
    for text in ["// V=x", "; V=x", "# V=x", "V", "--", "\"\"", "=x", "[V]"] {
        let read = read_in(text, &[]);
        assert!(
            read.iter().all(|a| a.name != "V" || a.value.is_err()),
            "{text}: {read:?}"
        );
    }
}

/// One byte that is not UTF-8 in the line of another program.
#[test]
fn bytes_that_are_not_utf8_spoil_their_own_value() {
    let read = parse(
        b"# Gr\xf6\xdfe\nA=\xff\nV=1\n",
        &BTreeMap::new(),
        &mut Vec::new(),
    );
    assert_eq!(read[0].value.as_deref(), Err(&"is not UTF-8".to_owned()));
    assert_eq!(read[1].value.as_deref(), Ok("1"));
}

proptest! {
    /// A text that has a value here has the same value with dotenvy, and no name is replaced by an
    /// empty text.
    #[test]
    fn any_substitution_is_that_of_dotenvy(
        pieces in proptest::collection::vec(
            proptest::sample::select(vec![
                "$A", "${A}", "$B", "${B}", "${C_D}", "$N", "${N}", "x", "-", ".", "/", ":", "@", "\\$", "é", "{", "}", "%", "=",
            ]),
            1..8,
        ),
        quoted in any::<bool>(),
    ) {
        let value = pieces.concat();
        let value = if quoted { format!("\"{value}\"") } else { value };
        let text = format!("A=1\nB=two\nC_D='three 3'\nV={value}\n");
        let theirs = dotenvy::from_read_iter(text.as_bytes()).last().unwrap();
        // dotenvy takes a quote after a name for a part of the value, and then misses the closing
        // quote.
        let Ok(theirs) = theirs else { return Ok(()) };
        match v(&text) {
            Ok(ours) => prop_assert_eq!(("V".to_owned(), ours), theirs, "{}", text),
            Err(reason) => {
                let expected = ["not set before", "backslash follows"];
                prop_assert!(expected.iter().any(|piece| reason.contains(piece)), "{}: {}", text, reason);
            },
        }
    }
}
