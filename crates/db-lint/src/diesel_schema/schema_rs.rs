//! The file itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syn::{Attribute, Expr, ExprLit, Item, Lit, Token, parenthesized};

use crate::diesel_schema::table::DeclaredTable;
use crate::error::LintError;

/// The tables that a `schema.rs` declares.
#[derive(Clone, Debug)]
pub struct SchemaRs {
    path: PathBuf,
    pub(super) tables: Vec<DeclaredTable>,
    /// The server's name of a type, by its name in Rust.
    pub(super) types: BTreeMap<String, String>,
}

impl SchemaRs {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// [`LintError::Unreadable`], and [`LintError::NotUnderstood`] with the line.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, LintError> {
        let path = path.into();
        let text = std::fs::read_to_string(&path).map_err(|source| LintError::Unreadable {
            path: path.clone(),
            source,
        })?;
        Self::parse(path, &text)
    }

    pub(super) fn parse(path: PathBuf, text: &str) -> Result<Self, LintError> {
        let mut schema = Self {
            path,
            tables: Vec::new(),
            types: BTreeMap::new(),
        };
        let parsed = syn::parse_file(text).and_then(|file| schema.add(&file.items));
        parsed.map_err(|error| LintError::NotUnderstood {
            path: schema.path.clone(),
            problem: format!("line {}: {error}", error.span().start().line),
        })?;
        Ok(schema)
    }

    fn add(&mut self, items: &[Item]) -> syn::Result<()> {
        for item in items {
            match item {
                Item::Macro(item) => {
                    let last = item.mac.path.segments.last();
                    if last
                        .is_some_and(|segment| segment.ident == "table" || segment.ident == "view")
                    {
                        self.tables.push(item.mac.parse_body()?);
                    }
                }
                Item::Mod(module) => {
                    if let Some((_, items)) = &module.content {
                        self.add(items)?;
                    }
                }
                Item::Struct(item) => {
                    if let Some(name) = postgres_type(&item.attrs)? {
                        self.types.insert(item.ident.to_string(), name);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The file from which it was read.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it declares a table, or a column of it.
    pub(crate) fn has(&self, table: &str, column: Option<&str>) -> bool {
        let declared = self.tables.iter().find(|declared| declared.name == table);
        declared.is_some_and(|declared| {
            column.is_none_or(|column| declared.columns.iter().any(|c| c.name == column))
        })
    }
}

/// `#[diesel(postgres_type(name = "mood", schema = "app"))]`
fn postgres_type(attributes: &[Attribute]) -> syn::Result<Option<String>> {
    let mut name = None;
    for attribute in attributes.iter().filter(|a| a.path().is_ident("diesel")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("postgres_type") {
                // Other options of diesel's, with or without a value.
                if meta.input.peek(Token![=]) {
                    meta.value()?.parse::<Expr>()?;
                } else if meta.input.peek(syn::token::Paren) {
                    let content;
                    parenthesized!(content in meta.input);
                    content.parse::<proc_macro2::TokenStream>()?;
                }
                return Ok(());
            }
            meta.parse_nested_meta(|part| {
                let value: ExprLit = part.value()?.parse()?;
                if let (true, Lit::Str(text)) = (part.path.is_ident("name"), &value.lit) {
                    name = Some(text.value());
                }
                Ok(())
            })
        })?;
    }
    Ok(name)
}
