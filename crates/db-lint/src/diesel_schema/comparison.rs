//! `schema.rs` against the catalogue.

use std::collections::{BTreeMap, BTreeSet};

use app_db::Column;
use serde::Serialize;

use crate::diesel_schema::schema_rs::SchemaRs;
use crate::diesel_schema::table::DeclaredColumn;

/// One difference between `schema.rs` and the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// The table, or `table.column`.
    pub object: String,
    /// What `schema.rs` has.
    pub schema_rs: String,
    /// What the database has.
    pub database: String,
}

/// Compares what `schema.rs` declares with the columns of the database.
///
/// A table that the file does not declare is a difference too, unless `is_left_out` says that the file leaves it out on
/// purpose. Its argument is the table's name, with the schema if that is not the first of the `search_path`.
#[must_use]
pub fn compare(
    schema: &SchemaRs,
    columns: &[Column],
    is_left_out: impl Fn(&str) -> bool,
) -> Vec<Difference> {
    let mut there: BTreeMap<String, Vec<&Column>> = BTreeMap::new();
    for column in columns {
        let table = full_name(column.schema.as_deref(), &column.table);
        there.entry(table).or_default().push(column);
    }
    let mut differences = Vec::new();
    let mut declared = BTreeSet::new();
    for table in &schema.tables {
        let mut name = full_name(table.schema.as_deref(), &table.name);
        if let (false, Some(schema)) = (there.contains_key(&name), &table.schema) {
            // The declared schema may be the first of the `search_path`.
            let of_path = there.contains_key(&table.name) && schema == "public";
            name = if of_path { table.name.clone() } else { name };
        }
        declared.insert(name.clone());
        match there.get(&name) {
            None => differences.push(difference(&name, "a table", "nothing")),
            Some(columns) => {
                compare_columns(schema, &name, &table.columns, columns, &mut differences);
            }
        }
    }
    let undeclared = there.iter().filter(|(table, columns)| {
        let is_view = columns.iter().any(|column| column.of_view);
        !declared.contains(*table) && !is_view && !is_left_out(table)
    });
    differences.extend(undeclared.map(|(table, _)| difference(table, "nothing", "a table")));
    differences.sort_by(|a, b| a.object.cmp(&b.object));
    differences
}

fn compare_columns(
    schema: &SchemaRs,
    table: &str,
    declared: &[DeclaredColumn],
    columns: &[&Column],
    differences: &mut Vec<Difference>,
) {
    for column in declared {
        let object = format!("{table}.{}", column.name);
        let Some(found) = columns.iter().find(|found| found.name == column.name) else {
            differences.push(difference(&object, "a column", "nothing"));
            continue;
        };
        let (ours, theirs) = (declared_type(schema, column), found_type(found));
        let nullable = column.nullable == found.nullable || found.of_view;
        let known = ours.known.is_none_or(|known| known == theirs);
        if !known || !nullable {
            let shown = |name: &str, nullable: bool| {
                format!("{name}{}", if nullable { "" } else { " not null" })
            };
            differences.push(Difference {
                object,
                schema_rs: shown(&ours.shown, column.nullable),
                database: shown(&theirs, found.nullable),
            });
        }
    }
    for column in columns {
        if !declared.iter().any(|declared| declared.name == column.name) {
            let object = format!("{table}.{}", column.name);
            differences.push(difference(&object, "nothing", "a column"));
        }
    }
}

/// A type with the server's name for it, if that is known, and with the name to show.
struct DeclaredType {
    known: Option<String>,
    shown: String,
}

fn declared_type(schema: &SchemaRs, column: &DeclaredColumn) -> DeclaredType {
    let of_server = TYPES.iter().find(|(rust, _)| *rust == column.rust_type);
    let known = schema
        .types
        .get(&column.rust_type)
        .cloned()
        .or_else(|| of_server.map(|(_, server)| (*server).to_owned()));
    let array = if column.is_array { "[]" } else { "" };
    let known = known.map(|known| format!("{known}{array}"));
    DeclaredType {
        shown: known
            .clone()
            .unwrap_or_else(|| format!("{}{array}", column.rust_type)),
        known,
    }
}

/// diesel has one word for text of any kind.
fn found_type(column: &Column) -> String {
    let name = match column.sql_type.as_str() {
        "varchar" | "bpchar" => "text",
        name => name,
    };
    format!("{name}{}", if column.is_array { "[]" } else { "" })
}

fn full_name(schema: Option<&str>, table: &str) -> String {
    schema.map_or_else(|| table.to_owned(), |schema| format!("{schema}.{table}"))
}

fn difference(object: &str, schema_rs: &str, database: &str) -> Difference {
    Difference {
        object: object.to_owned(),
        schema_rs: schema_rs.to_owned(),
        database: database.to_owned(),
    }
}

/// diesel's names of the server's types.
const TYPES: &[(&str, &str)] = &[
    ("Bool", "bool"),
    ("SmallInt", "int2"),
    ("Int2", "int2"),
    ("Integer", "int4"),
    ("Int4", "int4"),
    ("BigInt", "int8"),
    ("Int8", "int8"),
    ("Float", "float4"),
    ("Float4", "float4"),
    ("Double", "float8"),
    ("Float8", "float8"),
    ("Numeric", "numeric"),
    ("Decimal", "numeric"),
    ("Text", "text"),
    ("Varchar", "text"),
    ("VarChar", "text"),
    ("Bpchar", "text"),
    ("Char", "text"),
    ("Tinytext", "text"),
    ("Binary", "bytea"),
    ("Bytea", "bytea"),
    ("Date", "date"),
    ("Time", "time"),
    ("Timestamp", "timestamp"),
    ("Timestamptz", "timestamptz"),
    ("TimestamptzSql", "timestamptz"),
    ("Interval", "interval"),
    ("Uuid", "uuid"),
    ("Json", "json"),
    ("Jsonb", "jsonb"),
    ("Inet", "inet"),
    ("Cidr", "cidr"),
    ("MacAddr", "macaddr"),
    ("Macaddr", "macaddr"),
    ("MacAddr8", "macaddr8"),
    ("Macaddr8", "macaddr8"),
    ("Money", "money"),
    ("Oid", "oid"),
    ("CChar", "char"),
    ("Citext", "citext"),
    ("PgLsn", "pg_lsn"),
    ("Int4range", "int4range"),
    ("Range<Int4>", "int4range"),
    ("Range<Integer>", "int4range"),
    ("Int8range", "int8range"),
    ("Range<Int8>", "int8range"),
    ("Range<BigInt>", "int8range"),
    ("Numrange", "numrange"),
    ("Range<Numeric>", "numrange"),
    ("Tsrange", "tsrange"),
    ("Range<Timestamp>", "tsrange"),
    ("Tstzrange", "tstzrange"),
    ("Range<Timestamptz>", "tstzrange"),
    ("Daterange", "daterange"),
    ("Range<Date>", "daterange"),
];

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const SCHEMA: &str = r#"
        pub mod sql_types {
            #[derive(diesel::query_builder::QueryId, diesel::sql_types::SqlType)]
            #[diesel(postgres_type(name = "mood", schema = "app"))]
            pub struct Mood;
        }
        diesel::table! {
            use diesel::sql_types::*;
            use super::sql_types::Mood;
            /// People.
            people (id) {
                /// The number.
                id -> Int8,
                #[max_length = 20]
                name -> Varchar,
                #[sql_name = "type"]
                kind -> Nullable<Mood>,
                tags -> Array<Nullable<Text>>,
                gone -> Bool,
            }
        }
        diesel::table! { app.lost (id) { id -> Int4, } }
        diesel::joinable!(people -> lost (id));
        diesel::allow_tables_to_appear_in_same_query!(people, lost);
    "#;

    fn column(table: &str, name: &str, sql_type: &str, is_array: bool, nullable: bool) -> Column {
        let column = serde_json::json!({
            "schema": null, "table": table, "name": name, "sql_type": sql_type,
            "is_array": is_array, "nullable": nullable, "of_view": false,
        });
        serde_json::from_value(column).unwrap()
    }

    #[test]
    fn what_differs_is_named_with_both_sides() {
        let schema = SchemaRs::parse(PathBuf::from("schema.rs"), SCHEMA).unwrap();
        let columns = [
            column("people", "id", "int4", false, false),
            column("people", "name", "varchar", false, false),
            column("people", "type", "mood", false, false),
            column("people", "tags", "text", true, false),
            column("people", "new", "text", false, true),
            column("other", "id", "int4", false, false),
            column("spatial_ref_sys", "id", "int4", false, false),
        ];
        let differences = compare(&schema, &columns, |table| table == "spatial_ref_sys");
        let shown: Vec<_> = differences
            .iter()
            .map(|d| format!("{}: {} / {}", d.object, d.schema_rs, d.database))
            .collect();
        assert_eq!(
            shown,
            [
                "app.lost: a table / nothing",
                "other: nothing / a table",
                "people.gone: a column / nothing",
                "people.id: int8 not null / int4 not null",
                "people.new: nothing / a column",
                "people.type: mood / mood not null",
            ]
        );
        assert!(schema.has("people", Some("type")) && !schema.has("people", Some("kind")));
    }

    #[test]
    fn a_file_that_is_not_rust_is_named_with_its_line() {
        let error = SchemaRs::parse(PathBuf::from("schema.rs"), "\ntable! { a (").unwrap_err();
        assert!(error.to_string().starts_with("schema.rs: line "), "{error}");
    }
}
