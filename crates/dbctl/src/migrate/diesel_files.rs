//! Where diesel's own tool keeps `schema.rs`, and what it leaves out of it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::command_failure::CommandFailure;
use crate::exit::Exit;

/// What `diesel.toml` says about `schema.rs`.
pub(crate) struct DieselFiles {
    pub(crate) schema_rs: PathBuf,
    filter: Filter,
}

#[derive(Default, Deserialize)]
struct DieselToml {
    #[serde(default)]
    print_schema: PrintSchema,
}

#[derive(Default, Deserialize)]
struct PrintSchema {
    file: Option<PathBuf>,
    #[serde(default)]
    filter: Filter,
}

/// Lists of regular expressions. Nearly all of them are plain names, so they are compared as names.
#[derive(Clone, Default, Deserialize)]
struct Filter {
    only_tables: Option<Vec<String>>,
    except_tables: Option<Vec<String>>,
}

impl DieselFiles {
    /// Whether `schema.rs` leaves a table out on purpose.
    pub(crate) fn leaves_out(&self, table: &str) -> bool {
        let named = |patterns: &Option<Vec<String>>| {
            patterns.as_ref().map(|patterns| {
                patterns
                    .iter()
                    .any(|pattern| pattern.trim_matches(['^', '$']) == table)
            })
        };
        named(&self.filter.except_tables) == Some(true)
            || named(&self.filter.only_tables) == Some(false)
    }
}

/// Reads the nearest `diesel.toml` at or above the working directory. Without one, the file is `src/schema.rs`.
pub(crate) fn read() -> Result<DieselFiles, CommandFailure> {
    let here = std::env::current_dir()?;
    for directory in here.ancestors() {
        let file = directory.join("diesel.toml");
        match std::fs::read_to_string(&file) {
            Ok(text) => return parse(&file, directory, &text),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(DieselFiles {
        schema_rs: PathBuf::from(USUAL),
        filter: Filter::default(),
    })
}

fn parse(file: &Path, root: &Path, text: &str) -> Result<DieselFiles, CommandFailure> {
    let parsed: DieselToml = toml::from_str(text).map_err(|error| {
        let problem = format!("{}: {}", file.display(), error.message());
        CommandFailure::new(Exit::Configuration, problem)
    })?;
    let named = parsed
        .print_schema
        .file
        .unwrap_or_else(|| PathBuf::from(USUAL));
    Ok(DieselFiles {
        schema_rs: root.join(named),
        filter: parsed.print_schema.filter,
    })
}

const USUAL: &str = "src/schema.rs";
