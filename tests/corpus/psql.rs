//! psql and pg_dump.

use std::path::Path;
use std::process::Command;

/// Makes diesel's table, on which a migration may rely.
pub(crate) fn make_history(url: &str) -> Result<(), String> {
    let mut psql = Command::new("psql");
    psql.args([url, "--no-psqlrc", "--quiet", "-c", HISTORY]);
    said(&mut psql).map(|_| ())
}

/// Applies one `up.sql` as psql does, in one transaction unless its metadata says otherwise.
pub(crate) fn apply(url: &str, migration: &Path) -> Result<(), String> {
    let metadata = std::fs::read_to_string(migration.join("metadata.toml")).unwrap_or_default();
    let outside = metadata
        .replace(' ', "")
        .contains("run_in_transaction=false");
    let mut psql = Command::new("psql");
    psql.args([url, "--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1"]);
    if !outside {
        psql.arg("--single-transaction");
    }
    psql.arg("-f").arg(migration.join("up.sql"));
    said(&mut psql).map(|_| ())
}

/// The schema as pg_dump shows it, without the migrator's tables and the random parts of pg_dump.
pub(crate) fn schema(url: &str) -> Result<String, String> {
    let mut dump = Command::new("pg_dump");
    dump.args([url, "--schema-only", "--no-owner"]);
    for table in ["__diesel_schema_migrations", "__dbctl_migrations"] {
        dump.args(["--exclude-table", &format!("*.{table}")]);
    }
    let text = said(&mut dump)?;
    let lines = text.lines().filter(|line| {
        !line.starts_with("--")
            && !line.starts_with("\\restrict")
            && !line.starts_with("\\unrestrict")
    });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

fn said(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

const HISTORY: &str = "CREATE TABLE __diesel_schema_migrations (version VARCHAR(50) PRIMARY KEY NOT NULL, \
     run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)";
