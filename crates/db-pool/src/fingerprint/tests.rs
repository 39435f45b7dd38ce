//! Tests of folding, and that no value remains.

use proptest::prelude::*;

use super::*;

fn of(sql: &str) -> Fingerprint {
    Fingerprint::of(sql.as_bytes())
}

fn text(sql: &str) -> String {
    of(sql).text.to_string()
}

#[test]
fn values_become_question_marks() {
    for (sql, folded) in [
        ("select 1", "select ?"),
        (
            "SELECT  a.b FROM\n\tt WHERE c=-1.5e3",
            "SELECT a.b FROM t WHERE c = ?",
        ),
        (
            "select $1, 'a''b', E'a\\'b', $x$ a ' $x$, X'1F', U&'\\0061'",
            "select ?, ?, ?, ?, ?, ?",
        ),
        (
            "select 'a'\n'b'::text, x - 1, count(*)",
            "select ?::text, x - ?, count(*)",
        ),
        ("select 1 -- 2\n/* 3 /* 4 */ */ ;", "select ?;"),
        (
            "select a[1:2], b->>'c', d>=-1, e@>'{}'",
            "select a[?:?], b ->> ?, d >= ?, e @> ?",
        ),
        (
            "select \"a b\".\"c\" from \"T\"",
            "select \"a b\".\"c\" from \"T\"",
        ),
        (
            "select E'a'\n'b\\' c', e'd' -- e\n 'f\\\\' 'g''h'::text, 'i\\'",
            "select ?, ?::text, ?",
        ),
        ("select E'a'\n'b\\' never closed", "select ?"),
        ("select 'never closed", "select ?"),
        ("select $tag$never closed", "select ?"),
        ("", ""),
    ] {
        assert_eq!(text(sql), folded, "{sql}");
    }
}

#[test]
fn lists_and_rows_are_there_once() {
    for (sql, folded) in [
        (
            "select * from t where a in (1, -2, $3)",
            "select * from t where a in (?)",
        ),
        (
            "select * from t where a = any(array['a','b'])",
            "select * from t where a = any(array[?])",
        ),
        (
            "insert into t (a, b) values (1, 'x'), (2, 'y') returning a",
            "insert into t (a, b) values (?) returning a",
        ),
        (
            "insert into t values (default, $1, now()), (default, $2, now()), (default, $3, now())",
            "insert into t values (?, now())",
        ),
        (
            "select * from t where (a, b) in ((1, 2), (3, 4))",
            "select * from t where (a, b) in ((?))",
        ),
        (
            "select * from t where a in ('x'::uuid, 'y'::uuid)",
            "select * from t where a in (?::uuid)",
        ),
        (
            "select * from t where a in (1, null, 2, 3, NULL)",
            "select * from t where a in (?)",
        ),
        (
            "insert into t values (1, default), (2, 'x'), (null, true)",
            "insert into t values (?)",
        ),
        (
            "select a is null, null, (true and b) from t",
            "select a is null, null, (true and b) from t",
        ),
        // The arguments of a function are not a list: a call with one more argument is another call.
        ("select substr(x, 1)", "select substr(x, ?)"),
        ("select substr(x, 1, 2)", "select substr(x, ?, ?)"),
        (
            "select \"f\"(1, 2), g((1), (2))",
            "select \"f\"(?, ?), g((?), (?))",
        ),
        (
            "select * from t where a in (f(1, 2), f(3, 4))",
            "select * from t where a in (f(?, ?))",
        ),
        // The `?` operator of jsonb is no value.
        ("select d ? 'k' from t", "select d ? ? from t"),
        (
            "select d->'a' ?| array['b'], d ?& $1",
            "select d -> ? ?| array[?], d ?& ?",
        ),
        (
            "select ? from t where a = ? and b in (?)",
            "select ? from t where a = ? and b in (?)",
        ),
        // Items without a value are not repetitions.
        (
            "select (a, a), (a, a) from t",
            "select (a, a), (a, a) from t",
        ),
        ("select ) 1, (2, 3] ), (2, 3] )", "select) ?, (?]), (?])"),
    ] {
        assert_eq!(text(sql), folded, "{sql}");
    }
}

#[test]
fn what_does_not_change_a_statement_does_not_change_its_hash() {
    let one = of("select id from users where name = 'a' and n in (1, 2)");
    for same in [
        "SELECT id FROM users WHERE name=$1 AND n IN($2)",
        "select id\nfrom users -- comment\nwhere name = 'another' and n in (1,2,3,4,5)",
    ] {
        assert_eq!(of(same).hash, one.hash, "{same}");
    }
    for other in [
        "select id from users where name = 'a' or n in (1, 2)",
        "select id from \"users\" where name = 'a' and n in (1, 2)",
    ] {
        assert_ne!(of(other).hash, one.hash, "{other}");
    }
    // Names in dashboards must not change with a release.
    assert_eq!(of("select 1").id(), "e7085a9e36246ea0");
}

#[test]
fn a_summary_names_verb_and_table() {
    for (sql, summary) in [
        (
            "SELECT \"users\".\"id\" FROM \"users\" WHERE id = 1",
            "SELECT users",
        ),
        ("insert into app.users (a) values (1)", "INSERT app.users"),
        ("update only users set a = 1", "UPDATE users"),
        ("delete from users", "DELETE users"),
        (
            "with a as (select 1 from b) insert into c select * from a",
            "INSERT c",
        ),
        (
            "select extract(year from now()) from (select 1) x",
            "SELECT",
        ),
        ("create table if not exists t ()", "CREATE t"),
        ("commit", "COMMIT"),
        ("/* nothing */", ""),
    ] {
        assert_eq!(&*of(sql).summary, summary, "{sql}");
    }
}

/// case R63: any text becomes one line of harmless characters.
#[test]
fn a_text_forges_no_line() {
    let sql = "select 1 /* \r\n{\"level\":\"ERROR\"} \x1b[31m */, '\n{\"level\":\"ERROR\"}' as \"\x1b[2J\r\nforged\u{202e}\u{61c}\"";
    let folded = text(sql);
    assert_eq!(
        folded,
        "select ?, ? as \"\\u{1b}[2J\\u{d}\\u{a}forged\\u{202e}\\u{61c}\""
    );
    let folded = of("select 1 from \"a\nb\"");
    assert_eq!(&*folded.summary, "SELECT a\\u{a}b");
}

/// case R63: a setting decides whether a plain string ends after a backslash. No value is shown in either
/// case.
#[test]
fn nothing_is_read_behind_a_string_whose_end_is_doubtful() {
    assert_eq!(text("select 'it\\'s canary ', 1"), "select ? …");
    assert_eq!(text("select 'a\\''canary'"), "select ?");
    assert_eq!(text("select 'c:\\dir', 1 from t"), "select ?, ? from t");
    assert_eq!(text("select E'it\\'s', 1 from t"), "select ?, ? from t");
}

/// case R63: a megabyte is not read, let alone logged.
#[test]
fn a_megabyte_is_cut() {
    let literal = format!("insert into t values ('{}', 2)", "canary".repeat(200_000));
    assert_eq!(text(&literal), "insert into t values (? …");
    let name = format!("select \"{}\"", "ä".repeat(5_000));
    let cut = text(&name);
    assert!(cut.len() <= 2_003 && cut.ends_with('…'), "{}", cut.len());
    let all_of_it = format!("select \"{}\"", "ä".repeat(500_000));
    assert_eq!(text(&all_of_it), "select …");
    let not_utf8 = [b"select '".as_slice(), &[0xff; 100], b"'"].concat();
    assert_eq!(&*Fingerprint::of(&not_utf8).text, "select ?");
}

/// case R63: lists with missing values give no more fingerprints than other lists. diesel writes DEFAULT in
/// such inserts.
#[test]
fn lists_with_nulls_are_few_fingerprints() {
    let mut hashes = std::collections::HashSet::new();
    for nth in 0..4_096_u32 {
        let item = |bit: usize| match nth >> bit & 1 {
            0 => format!("{nth}"),
            _ => ["null", "true", "DEFAULT"][bit % 3].to_owned(),
        };
        let list: Vec<_> = (0..12).map(item).collect();
        hashes.insert(
            of(&format!(
                "select * from t where id in ({})",
                list.join(", ")
            ))
            .hash,
        );
        hashes.insert(of(&format!("insert into t values ({})", list.join("), ("))).hash);
    }
    assert_eq!(hashes.len(), 2);
}

/// case R63: lists of any length give few fingerprints.
#[test]
fn ten_thousand_lists_are_few_fingerprints() {
    let mut hashes = std::collections::HashSet::new();
    for length in 1..=10_000_usize {
        // Long lists come in steps, because building all of them would take too long.
        if length > 300 && !length.is_multiple_of(97) {
            continue;
        }
        let list: Vec<_> = (0..length).map(|n| format!("{}", n * length)).collect();
        hashes.insert(
            of(&format!(
                "select * from t where id in ({}) and a = 1",
                list.join(",")
            ))
            .hash,
        );
    }
    assert_eq!(hashes.len(), 2, "the short ones, and those that are cut");
}

/// A value that must not be seen, written in one of the possible ways.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("'canary'".to_owned()),
        Just("'it''s canary; -- '".to_owned()),
        Just("E'\\'canary'".to_owned()),
        Just("$$canary ' \" /* $$".to_owned()),
        Just("$q$ $$ canary $q$".to_owned()),
        Just("N'canary'".to_owned()),
        Just("/* canary */ 1".to_owned()),
        Just("7 -- canary \u{85} \x1b\n".to_owned()),
        Just("$1".to_owned()),
        (0..u32::MAX).prop_map(|n| format!("8{n}")),
        "'[^'\\\\]{0,20}'",
    ]
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("select".to_owned()),
        Just("from".to_owned()),
        Just("in (".to_owned()),
        Just("),(".to_owned()),
        Just(")".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just(",".to_owned()),
        Just("::text".to_owned()),
        Just("t.a".to_owned()),
        Just("->".to_owned()),
        Just("-".to_owned()),
        Just("@?".to_owned()),
        Just("\"a\n\"".to_owned()),
        Just(";".to_owned()),
    ]
}

/// Words and places for values.
fn skeleton() -> impl Strategy<Value = Vec<Option<String>>> {
    prop::collection::vec(prop_oneof![word().prop_map(Some), Just(None)], 0..40)
}

fn filled(skeleton: &[Option<String>], values: &[String]) -> String {
    let mut values = values.iter().cycle();
    let words: Vec<_> = skeleton
        .iter()
        .map(|word| {
            word.as_deref()
                .or(values.next().map(String::as_str))
                .unwrap_or_default()
        })
        .collect();
    words.join(" ")
}

proptest! {
    /// No value remains, and values make no difference.
    #[test]
    fn no_value_is_left(
        skeleton in skeleton(),
        one in prop::collection::vec(value(), 1..10),
        other in prop::collection::vec(value(), 1..10),
    ) {
        let (one, other) = (of(&filled(&skeleton, &one)), of(&filled(&skeleton, &other)));
        prop_assert!(!one.text.contains("canary") && !one.text.contains('8'), "{}", one.text);
        prop_assert!(!one.text.chars().any(char::is_control));
        prop_assert_eq!(one, other);
    }

    /// Folding a folded text changes nothing.
    #[test]
    fn folding_twice_is_folding_once(skeleton in skeleton(), values in prop::collection::vec(value(), 1..10)) {
        let once = of(&filled(&skeleton, &values));
        // A name with an escaped character is another name.
        prop_assume!(!once.text.contains("\\u"));
        prop_assert_eq!(of(&once.text), once);
    }

    /// Any bytes have a fingerprint.
    #[test]
    fn anything_has_a_fingerprint(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let folded = Fingerprint::of(&bytes);
        prop_assert!(!folded.text.chars().any(char::is_control));
    }
}
