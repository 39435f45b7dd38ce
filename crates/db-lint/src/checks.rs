//! Our own rules, applied to one migration.

mod dropped;
mod secrets;
mod transactions;
mod up_file;
mod whole_table;

use app_db::Migration;

use crate::checks::up_file::UpFile;
use crate::diesel_schema::schema_rs::SchemaRs;
use crate::finding::Finding;
use crate::outline::{Outline, outline};
use crate::rules;

/// Everything that our rules find in a migration. `statements` come from `up.sql`.
pub(crate) fn find(
    migration: &Migration,
    statements: &[Outline<'_>],
    schema: Option<&SchemaRs>,
) -> Vec<Finding> {
    let up = UpFile {
        migration,
        statements,
    };
    let mut findings = transactions::find(&up);
    findings.extend(whole_table::find(&up));
    findings.extend(secrets::find(&up));
    findings.extend(privileges(&up));
    if statements.is_empty() {
        let path = migration.path.join("up.sql");
        findings.push(Finding::of_file(
            &rules::UP_EMPTY,
            path,
            rules::UP_EMPTY.summary,
        ));
    }
    findings.extend(down(migration));
    if let Some(schema) = schema {
        findings.extend(dropped::find(&up, schema));
    }
    findings
}

fn privileges(up: &UpFile<'_>) -> Vec<Finding> {
    let changes = [
        "grant",
        "revoke",
        "create role",
        "create user",
        "alter role",
        "alter user",
        "drop role",
        "drop user",
        "reassign owned",
        "drop owned",
        "alter default privileges",
    ];
    let changing = up.statements.iter().filter(|statement| {
        let owner = statement.begins("alter") && statement.has("owner to");
        owner || changes.iter().any(|change| statement.begins(change))
    });
    changing
        .map(|statement| up.at(&rules::PRIVILEGE, statement, rules::PRIVILEGE.summary))
        .collect()
}

fn down(migration: &Migration) -> Option<Finding> {
    match &migration.down {
        None => {
            let path = migration.path.join("up.sql");
            Some(Finding::of_file(
                &rules::DOWN_MISSING,
                path,
                rules::DOWN_MISSING.summary,
            ))
        }
        Some(text) if outline(text).is_empty() => {
            let path = migration.path.join("down.sql");
            Some(Finding::of_file(
                &rules::DOWN_EMPTY,
                path,
                rules::DOWN_EMPTY.summary,
            ))
        }
        Some(_) => None,
    }
}
