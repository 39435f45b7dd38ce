//! The first page is short, and prose names who acts.

use std::path::Path;

use super::pages::{blocks, documents, files, read, root};

/// A visitor reads the first page, or nothing.
#[test]
fn the_readme_is_short() {
    let words = read("README.md").split_whitespace().count();
    assert!(words <= 1200, "{words} words");
}

/// These words make a reader stop. Name the actor instead.
#[test]
fn nobody_has_to_guess_who_acts() {
    let mut found = Vec::new();
    let mut pages = documents();
    pages.extend(files(&root().join("crates"), "rs"));
    for page in pages {
        if page == Path::new("CHANGELOG.md") || is_about_tests(&page) {
            continue;
        }
        for (nth, line) in read(&page).lines().enumerate() {
            let lower = line.to_lowercase();
            for word in GUESSED.iter().filter(|word| lower.contains(**word)) {
                found.push(format!(
                    "{}:{}: {word}: {}",
                    page.display(),
                    nth + 1,
                    line.trim()
                ));
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

fn is_about_tests(page: &Path) -> bool {
    let text = page.to_str().unwrap();
    ["/tests/", "/tests.rs", "/gated/", "/gated.rs"]
        .iter()
        .any(|part| text.contains(part))
}

const GUESSED: [&str; 3] = ["whoever", "those that", "those who"];

/// The Japanese page has the same examples and links.
#[test]
fn the_japanese_readme_has_the_same_examples() {
    let (english, japanese) = (read("README.md"), read("README.ja.md"));
    for language in ["rust", "sql", "toml", "sh", "text"] {
        assert_eq!(blocks(&english, language), blocks(&japanese, language));
    }
    let targets = |text: &str| {
        let links = text.split("](").skip(1).map(|link| link.split(')').next());
        let mut targets: Vec<_> = links.flatten().map(str::to_owned).collect();
        targets.retain(|target| !target.starts_with("README"));
        targets
    };
    assert_eq!(targets(&english), targets(&japanese));
}
