//! What stands inside one `table!`.

use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{
    Attribute, Expr, GenericArgument, Ident, ItemUse, Lit, Meta, PathArguments, Token, Type,
};

/// One table, as `schema.rs` declares it.
#[derive(Clone, Debug)]
pub(crate) struct DeclaredTable {
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
    pub(crate) columns: Vec<DeclaredColumn>,
}

/// One column of it.
#[derive(Clone, Debug)]
pub(crate) struct DeclaredColumn {
    pub(crate) name: String,
    /// The last part of the path of the innermost type.
    pub(crate) rust_type: String,
    pub(crate) is_array: bool,
    pub(crate) nullable: bool,
}

impl Parse for DeclaredTable {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        while input.peek(Token![use]) {
            input.parse::<ItemUse>()?;
        }
        let attributes = input.call(Attribute::parse_outer)?;
        let first: Ident = input.parse()?;
        let (schema, name) = if input.peek(Token![.]) {
            input.parse::<Token![.]>()?;
            (Some(first.to_string()), input.parse::<Ident>()?)
        } else {
            (None, first)
        };
        if input.peek(syn::token::Paren) {
            let keys;
            syn::parenthesized!(keys in input);
            Punctuated::<Ident, Token![,]>::parse_terminated(&keys)?;
        }
        let body;
        syn::braced!(body in input);
        let columns = Punctuated::<DeclaredColumn, Token![,]>::parse_terminated(&body)?;
        Ok(Self {
            schema,
            name: sql_name(&attributes).unwrap_or_else(|| plain(&name)),
            columns: columns.into_iter().collect(),
        })
    }
}

impl Parse for DeclaredColumn {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let name: Ident = input.parse()?;
        input.parse::<Token![->]>()?;
        let declared: Type = input.parse()?;
        let mut column = Self {
            name: sql_name(&attributes).unwrap_or_else(|| plain(&name)),
            rust_type: String::new(),
            is_array: false,
            nullable: false,
        };
        column.read(&declared);
        Ok(column)
    }
}

impl DeclaredColumn {
    /// Reads `Nullable<Array<Nullable<Text>>>` from the outside in.
    fn read(&mut self, declared: &Type) {
        let Type::Path(path) = declared else {
            return;
        };
        let Some(segment) = path.path.segments.last() else {
            return;
        };
        let inner = match &segment.arguments {
            PathArguments::AngleBracketed(arguments) => match arguments.args.first() {
                Some(GenericArgument::Type(inner)) => Some(inner),
                _ => None,
            },
            _ => None,
        };
        match (segment.ident.to_string().as_str(), inner) {
            ("Nullable", Some(inner)) => {
                // The elements of an array may always be NULL, even in a column that is NOT NULL.
                self.nullable |= !self.is_array;
                self.read(inner);
            }
            ("Array", Some(inner)) => {
                self.is_array = true;
                self.read(inner);
            }
            // `Range<Int4>` and the like are one type of the server.
            (outer, Some(inner)) => {
                self.read(inner);
                self.rust_type = format!("{outer}<{}>", self.rust_type);
            }
            (name, None) => name.clone_into(&mut self.rust_type),
        }
    }
}

/// `#[sql_name = "type"]`
fn sql_name(attributes: &[Attribute]) -> Option<String> {
    attributes
        .iter()
        .find_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("sql_name") => match &pair.value {
                Expr::Lit(literal) => match &literal.lit {
                    Lit::Str(text) => Some(text.value()),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        })
}

/// `r#type` is `type`.
fn plain(name: &Ident) -> String {
    let name = name.to_string();
    name.strip_prefix("r#").unwrap_or(&name).to_owned()
}
