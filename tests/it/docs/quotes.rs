//! Finds where tests quote the demands of docs/requirements.md, such as `req` and a number.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::pages::{files, read, root};

/// The tests that quote a demand, by its quote.
pub(super) type Quotes = BTreeMap<String, Vec<QuotingTest>>;

pub(super) struct QuotingTest {
    pub(super) name: String,
    pub(super) file: PathBuf,
}

/// Every quote in the doc comment of a test, and where else something is quoted.
pub(super) fn in_tests() -> (Quotes, Vec<String>) {
    let (mut quotes, mut astray) = (Quotes::new(), Vec::new());
    for file in files(root(), "rs") {
        collect(&file, &read(&file), &mut quotes, &mut astray);
    }
    (quotes, astray)
}

fn collect(file: &Path, text: &str, quotes: &mut Quotes, astray: &mut Vec<String>) {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    for (nth, line) in lines.iter().enumerate() {
        for quote in quotes_of(line) {
            match test_below(&lines[nth..]) {
                Some(name) => quotes.entry(quote).or_default().push(QuotingTest {
                    name: name.to_owned(),
                    file: file.to_owned(),
                }),
                None => astray.push(format!("{}:{}: {quote}", file.display(), nth + 1)),
            }
        }
    }
}

/// The name of the test whose doc comment begins or goes on here.
fn test_below<'l>(lines: &[&'l str]) -> Option<&'l str> {
    let mut lines = lines.iter().skip_while(|line| line.starts_with("///"));
    if !lines.clone().next()?.starts_with("#[") {
        return None;
    }
    let mut is_test = false;
    let declared = loop {
        let line = lines.next()?;
        if !line.starts_with("#[") {
            break line;
        }
        is_test |= line.contains("test]") || line.contains("test(");
    };
    let (_, name) = declared.split_once("fn ")?;
    let name = name.split('(').next()?;
    is_test.then_some(name)
}

/// Each number of a demand in a text: `req` with two numbers, `case` with a letter and one.
pub(super) fn quotes_of(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (word, shape) in [("req ", "0.00"), ("case R", "00"), ("case F", "0")] {
        for (at, _) in text.match_indices(word) {
            let behind = &text[at + word.len()..];
            let fits = |char: char, shape: char| match shape {
                '0' => char.is_ascii_digit(),
                shape => char == shape,
            };
            let mut wanted = shape.chars().zip(behind.chars());
            if behind.chars().count() >= shape.len()
                && wanted.all(|(shape, char)| fits(char, shape))
            {
                let more = behind[shape.len()..]
                    .chars()
                    .take_while(char::is_ascii_digit);
                let length = shape.len() + more.count();
                found.push(format!("{word}{}", &behind[..length]));
            }
        }
    }
    found
}

#[test]
fn every_quote_stands_in_the_doc_comment_of_a_test() {
    let (_, mut astray) = in_tests();
    for ending in ["md", "toml", "sh", "yml", "sql"] {
        for file in files(root(), ending) {
            if file != Path::new("docs/requirements.md") {
                let quotes = quotes_of(&read(&file));
                astray.extend(
                    quotes
                        .iter()
                        .map(|quote| format!("{}: {quote}", file.display())),
                );
            }
        }
    }
    assert!(astray.is_empty(), "{}", astray.join("\n"));
}

#[test]
fn quotes_are_found() {
    let expected = [
        ("req", "1.23"),
        ("case", "R45"),
        ("case", "F1"),
        ("case", "F12"),
    ];
    let expected = expected.map(|(word, number)| format!("{word} {number}"));
    let line = format!("/// {}: req x, case of, case Fine", expected.join(", "));
    assert_eq!(quotes_of(&line), expected);
    let of = |below: &str| {
        let (mut quotes, mut astray) = (Quotes::new(), Vec::new());
        collect(
            Path::new("x.rs"),
            &format!("{line}\n{below}"),
            &mut quotes,
            &mut astray,
        );
        (quotes.len(), astray.len())
    };
    assert_eq!(of("#[test]\nfn f() {}"), (4, 0));
    assert_eq!(
        of("/// more\n#[tokio::test(flavor = \"x\")]\n#[expect(a)]\nasync fn f() {}"),
        (4, 0)
    );
    for astray in [
        "fn f() {}",
        "#[must_use]\nfn f() {}",
        "use a;\n#[test]\nfn f() {}",
    ] {
        assert_eq!(of(astray), (0, 4), "{astray}");
    }
}
