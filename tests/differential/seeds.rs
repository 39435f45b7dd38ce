//! The corpus as inputs of the wire's fuzz target, whose operations `crates/db-wire/fuzz` describes.

use std::fs;
use std::path::Path;

use crate::corpus::File;
use crate::failed::Failed;

/// Writes the statements of these scripts, a few to each file.
pub(crate) fn write(folder: &Path, files: &[File]) -> Result<usize, Failed> {
    fs::create_dir_all(folder)?;
    let mut count = 0;
    for file in files {
        let texts: Vec<&str> = file
            .script
            .statements
            .iter()
            .map(|statement| &*statement.sql)
            .filter(|sql| sql.len() < LONGEST && !sql.contains('\0'))
            .collect();
        for (nth, few) in texts.chunks(FEW).enumerate() {
            // Other rules for each file.
            let mut seed = vec![(count * 37 % 256) as u8];
            for sql in few {
                for operation in [QUERY, PREPARE] {
                    seed.extend_from_slice(&[operation, 0]);
                    seed.extend_from_slice(sql.as_bytes());
                    seed.push(0);
                    seed.extend_from_slice(ANSWERS);
                }
            }
            fs::write(folder.join(format!("{}-{nth}", file.name)), seed)?;
            count += 1;
        }
    }
    Ok(count)
}

const QUERY: u8 = 40;
const PREPARE: u8 = 41;

/// The statement is described and done; the last one is run, with COMMIT, and done.
const ANSWERS: &[u8] = &[18, 0, 27, 0, 42, 0, 4, 0, 37, 0];

const FEW: usize = 4;
const LONGEST: usize = 1000;
