//! The settings that the documents show are settings.

use db_config::Config;

use super::pages::{blocks, documents, read};

/// req 0.31, req 1.19: every block of settings loads as it is, among them the relaxed time limits.
#[test]
fn the_settings_of_the_documents_load() {
    let mut loaded = 0;
    for page in documents() {
        for block in blocks(&read(&page), "toml") {
            if !block.contains("[database") {
                continue;
            }
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("config")).unwrap();
            std::fs::write(folder.path().join("config/default.toml"), &block).unwrap();
            let variables = [
                ("APP_ENV", "test"),
                ("DATABASE_URL", "postgres://app:secret@localhost/app"),
            ];
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let config = Config::load_from(folder.path(), variables)
                .unwrap_or_else(|error| panic!("{}: {error}\n{block}", page.display()));
            let warnings = config.warnings();
            assert!(
                warnings.is_empty(),
                "{}: {warnings:?}\n{block}",
                page.display()
            );
            loaded += 1;
        }
    }
    assert!(loaded > 3, "{loaded} blocks are too few to be all");
}
