//! Our own rules, about diesel's folders and what the migrator does with them.

use crate::rules::rule::{Rule, Severity};

const fn rule(
    code: &'static str,
    severity: Severity,
    summary: &'static str,
    recipe: &'static str,
) -> Rule {
    Rule {
        code,
        severity,
        by_size: false,
        summary,
        recipe,
    }
}

pub(crate) static SYNTAX: Rule = rule(
    "syntax",
    Severity::Warning,
    "The parser does not understand the statement.",
    "Run it on a server of your version: it may know what the parser does not.",
);

pub(crate) static FLAG: Rule = rule(
    "transaction-flag-mismatch",
    Severity::Error,
    "The statement and `run_in_transaction` do not fit together.",
    "Put a statement that cannot run in a transaction into a migration of its own, with `run_in_transaction = \
     false` in its metadata.toml. Let everything else run in a transaction, so that a failure undoes it.",
);

pub(crate) static CONTROL: Rule = rule(
    "transaction-control",
    Severity::Error,
    "The file begins or ends a transaction, but the migrator already runs it in one.",
    "Remove BEGIN and COMMIT: the migrator commits the migration together with its record.",
);

pub(crate) static SEVERAL: Rule = rule(
    "several-statements-without-transaction",
    Severity::Warning,
    "Several statements run outside a transaction, so after a failure the first ones stay done.",
    "Give each statement a migration of its own. `dbctl migrate run` goes on after the statements that have run, but \
     diesel's own tool starts again from the top.",
);

pub(crate) static EXISTS: Rule = rule(
    "if-not-exists-with-concurrently",
    Severity::Warning,
    "IF NOT EXISTS takes an invalid index of a failed build for the finished one.",
    "Leave IF NOT EXISTS out and name the index: the migrator drops an invalid one of that name and builds it anew.",
);

pub(crate) static UP_EMPTY: Rule = rule(
    "up-empty",
    Severity::Error,
    "up.sql has no statement, so a run refuses it.",
    "Write the statements, or delete the directory. `dbctl migrate run --allow-empty` records it as it is.",
);

pub(crate) static DOWN_MISSING: Rule = rule(
    "down-missing",
    Severity::Warning,
    "There is no down.sql, so the migration cannot be reverted.",
    "Write a down.sql that takes back what up.sql does, and check it with `dbctl migrate verify`.",
);

pub(crate) static DOWN_EMPTY: Rule = rule(
    "down-empty",
    Severity::Warning,
    "down.sql has no statement, so a revert would do nothing and forget the migration.",
    "Write the statements that take back up.sql, or delete the file, so that a revert is refused.",
);

pub(crate) static IN_SCHEMA: Rule = rule(
    "dropped-column-in-schema",
    Severity::Error,
    "The migration drops something that is still in schema.rs, so deployed code selects it.",
    "Remove it from schema.rs and deploy first. Drop it in a later migration with `phase = \"contract\"` under \
     `[dbctl]` in metadata.toml.",
);

pub(crate) static ENUM_VALUE: Rule = rule(
    "enum-value-used-where-added",
    Severity::Error,
    "A value of an enum cannot be used in the transaction that adds it.",
    "Add the value in one migration, and use it in the next one.",
);

pub(crate) static BACKFILL: Rule = Rule {
    by_size: true,
    ..rule(
        "backfill-beside-ddl",
        Severity::Error,
        "Rows are changed in the transaction that changes a table, so its lock is held until they are done.",
        "Change the table in one migration. Fill it in another one, or from the service, in batches that commit.",
    )
};

pub(crate) static SERIAL: Rule = Rule {
    by_size: true,
    ..rule(
        "serial-column-added",
        Severity::Error,
        "A serial column is filled for every row, so the whole table is written anew while nobody can use it.",
        "Add a nullable bigint, let the service fill new rows from a sequence, fill the old rows in batches, and only \
         then set the default and NOT NULL.",
    )
};

pub(crate) static REFRESH: Rule = Rule {
    by_size: true,
    ..rule(
        "refresh-without-concurrently",
        Severity::Error,
        "Nobody can read the view until it is refreshed.",
        "Give the view a unique index, and write REFRESH MATERIALIZED VIEW CONCURRENTLY.",
    )
};

pub(crate) static TRUNCATE: Rule = rule(
    "truncated-table",
    Severity::Error,
    "The rows of the table are gone, and `down.sql` cannot bring them back.",
    "Delete from the service, in batches that commit, or say with `dbctl:allow` why nobody needs the rows.",
);

pub(crate) static JSON: Rule = rule(
    "json-column-added",
    Severity::Warning,
    "The type json has no equality, so SELECT DISTINCT and GROUP BY over the whole table fail from now on.",
    "Use jsonb.",
);

pub(crate) static SECRET: Rule = rule(
    "secret-in-migration",
    Severity::Error,
    "The file has a secret, which everybody who has the repository can read.",
    "Create the role without a password, and set the password from the place where you keep secrets. Treat the secret \
     as known: change it.",
);

pub(crate) static PRIVILEGE: Rule = rule(
    "role-or-grant-changed",
    Severity::Note,
    "Roles, owners or rights change.",
    "Check that the role exists on every server, and that the old and the new code keep the rights that they need.",
);

pub(crate) static EDITED: Rule = rule(
    "migration-edited",
    Severity::Error,
    "A migration that was there before is changed or deleted; it may be applied somewhere.",
    "Restore it and write the change as a new migration.",
);

pub(crate) static OUT_OF_ORDER: Rule = rule(
    "migration-out-of-order",
    Severity::Error,
    "A new migration is older than one of the other branch. Where that one is applied, `dbctl migrate run` refuses the \
     new one.",
    "Give the directory a newer version, as `dbctl migrate new` does.",
);

pub(crate) static NO_REASON: Rule = rule(
    "allow-without-reason",
    Severity::Error,
    "A comment allows a finding and gives no reason.",
    "Write `-- dbctl:allow RULE reason=\"why it is safe here\"`.",
);

pub(crate) static UNKNOWN: Rule = rule(
    "unknown-rule",
    Severity::Error,
    "A comment allows a rule that does not exist.",
    "Write the name as `dbctl migrate lint` prints it.",
);

pub(crate) static UNUSED: Rule = rule(
    "unused-allow",
    Severity::Warning,
    "A comment allows a finding that does not exist.",
    "Remove the comment, or move it in front of its statement.",
);

/// All of them.
pub(super) static OURS: [&Rule; 22] = [
    &SYNTAX,
    &FLAG,
    &CONTROL,
    &SEVERAL,
    &EXISTS,
    &UP_EMPTY,
    &DOWN_MISSING,
    &DOWN_EMPTY,
    &IN_SCHEMA,
    &ENUM_VALUE,
    &BACKFILL,
    &SERIAL,
    &REFRESH,
    &TRUNCATE,
    &JSON,
    &SECRET,
    &PRIVILEGE,
    &EDITED,
    &OUT_OF_ORDER,
    &NO_REASON,
    &UNKNOWN,
    &UNUSED,
];
