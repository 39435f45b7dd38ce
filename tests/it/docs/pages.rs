//! Finds and reads the documents of the repository.

use std::path::{Path, PathBuf};

/// The root of the repository.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The text of a file, whose path begins at the root.
pub(super) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Markdown file of the repository.
pub(super) fn documents() -> Vec<PathBuf> {
    files(root(), "md")
}

/// Every file below a folder with this ending, by its path from the root; hidden and built ones are left out.
pub(super) fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.starts_with('.') || name == "target" || name == "node_modules" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == ending) {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The text of each code block of a language, such as `toml`.
pub(super) fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(opened) = line.strip_prefix("```") else {
            continue;
        };
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        if opened.split(',').next() == Some(language) {
            blocks.push(block.join("\n"));
        }
    }
    blocks
}

/// The cells of a table's row; `None` for what is none, and for a row of dashes.
pub(super) fn cells(line: &str) -> Option<Vec<&str>> {
    let row = line.strip_prefix('|')?.strip_suffix('|')?;
    let cells: Vec<_> = row.split('|').map(str::trim).collect();
    let is_rule = cells
        .iter()
        .all(|cell| cell.chars().all(|char| "-:".contains(char)));
    (!is_rule).then_some(cells)
}

/// What stands between backticks.
pub(super) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn tables_and_blocks_are_found() {
    let text = "| a | `b`, `c` |\n|---|:--|\n```toml\nx = 1\n```\n```rust,no_run\nfn f() {}\n```";
    let rows: Vec<_> = text.lines().filter_map(cells).collect();
    assert_eq!(rows, [["a", "`b`, `c`"]]);
    assert_eq!(quoted(rows[0][1]).collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(blocks(text, "toml"), ["x = 1"]);
    assert_eq!(blocks(text, "rust"), ["fn f() {}"]);
}
