//! Finds the events and spans of the sources.

use std::collections::{BTreeMap, BTreeSet};

use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::visit::Visit;
use syn::{Expr, Ident, LitStr, Token};

use super::pages::{files, read, root};

/// An event or a span, by its target and its message or name.
pub(super) type Found = BTreeMap<(String, String), Logged>;

/// What is told with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Logged {
    /// An event has one; a span has none.
    pub(super) levels: BTreeSet<String>,
    pub(super) fields: BTreeSet<String>,
}

/// The events and the spans of every library and of dbctl.
pub(super) fn in_sources() -> (Found, Found) {
    let mut sources = Sources::default();
    let mut mentioned = 0;
    for path in files(&root().join("crates"), "rs") {
        if !path.components().any(|part| part.as_os_str() == "src") {
            continue;
        }
        let text = read(&path);
        mentioned += text.matches("target: \"app_db::").count();
        let file =
            syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        sources.visit_file(&file);
    }
    assert_eq!(
        sources.seen, mentioned,
        "an event stands where this test does not look, such as inside another macro"
    );
    (sources.events, sources.spans)
}

#[derive(Default)]
struct Sources {
    events: Found,
    spans: Found,
    /// How many macros name one of app-db's targets.
    seen: usize,
}

impl<'ast> Visit<'ast> for Sources {
    fn visit_macro(&mut self, found: &'ast syn::Macro) {
        let name = found.path.segments.last().unwrap().ident.to_string();
        let level = match &*name {
            "trace" | "debug" | "info" | "warn" | "error" => Some(name.clone()),
            "trace_span" | "debug_span" | "info_span" | "warn_span" | "error_span" => None,
            "event_enabled" | "span_enabled" | "enabled" => {
                self.seen += 1;
                return;
            }
            _ => return,
        };
        let said = found
            .parse_body_with(Punctuated::<Part, Token![,]>::parse_terminated)
            .unwrap_or_else(|error| panic!("{name}!({}): {error}", found.tokens));
        let (mut target, mut text, mut fields) = (None, None, BTreeSet::new());
        for part in said {
            match part {
                Part::Target(said) => target = Some(said),
                Part::Text(said) => text = Some(said),
                Part::Field(said) => drop(fields.insert(said)),
            }
        }
        let (Some(target), Some(text)) = (target, text) else {
            panic!("{name}!({}) has no target or no message", found.tokens);
        };
        assert!(target.starts_with("app_db::"), "{target} is none of ours");
        assert!(!text.contains('{'), "a message is constant: {text}");
        self.seen += 1;
        let kind = match level {
            Some(_) => &mut self.events,
            None => &mut self.spans,
        };
        let logged = kind.entry((target, text)).or_default();
        logged.levels.extend(level);
        logged.fields.extend(fields);
    }
}

/// A part of an event's macro.
enum Part {
    Target(String),
    Text(String),
    Field(String),
}

impl Parse for Part {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.peek(LitStr) {
            return Ok(Self::Text(input.parse::<LitStr>()?.value()));
        }
        shorthand(input)?;
        let mut name = input.call(Ident::parse_any)?.unraw().to_string();
        if name == "target" && input.peek(Token![:]) {
            input.parse::<Token![:]>()?;
            return Ok(Self::Target(input.parse::<LitStr>()?.value()));
        }
        while input.peek(Token![.]) {
            input.parse::<Token![.]>()?;
            let next = input.call(Ident::parse_any)?;
            name = format!("{name}.{}", next.unraw());
        }
        if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            shorthand(input)?;
            input.parse::<Expr>()?;
        }
        Ok(Self::Field(name))
    }
}

/// The `%` or `?` before a value.
fn shorthand(input: ParseStream<'_>) -> syn::Result<()> {
    if input.peek(Token![%]) {
        input.parse::<Token![%]>()?;
    } else if input.peek(Token![?]) {
        input.parse::<Token![?]>()?;
    }
    Ok(())
}

#[test]
fn an_event_is_read() {
    let file = "fn f() { tracing::warn!(target: \"app_db::x\", pool, %error, error.r#type = ?a.b(1, 2), \"it \\\n   fails\"); }";
    let mut sources = Sources::default();
    sources.visit_file(&syn::parse_file(file).unwrap());
    let (name, logged) = sources.events.pop_first().unwrap();
    assert_eq!(name, ("app_db::x".to_owned(), "it fails".to_owned()));
    assert_eq!(logged.levels, ["warn".to_owned()].into());
    assert_eq!(
        logged.fields,
        ["error", "error.type", "pool"].map(str::to_owned).into()
    );
}
