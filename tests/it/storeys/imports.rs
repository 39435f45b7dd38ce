//! Finds what each file of a crate takes from the other files.

use syn::buffer::{Cursor, TokenBuffer};
use syn::visit::{self, Visit};
use syn::{ImplItemFn, Item, ItemUse, Macro, MetaList, Path, Visibility};

use super::cycles::Graph;
use super::modules::{ModulePath, Modules, is_cfg_test, is_for_tests};
use super::names::{Meaning, Names};

/// Draws the graph of a crate.
pub(super) fn graph(modules: &Modules) -> Graph {
    let names = Names::of(modules);
    let mut graph = Graph::default();
    for (path, module) in &modules.0 {
        let taken = names
            .imports(path)
            .iter()
            .filter(|import| !import.is_re_export);
        let taken = taken
            .flat_map(|import| names.resolve(path, &import.path))
            .collect();
        let mut code = Code {
            names: &names,
            module: path,
            taken,
        };
        for item in &module.items {
            code.visit_item(item);
        }
        for meaning in code.taken {
            if let Meaning::Item { file, name } | Meaning::Made { file, name } = meaning {
                graph.add(&module.file, &file, &name);
            }
        }
    }
    graph
}

/// Collects what the code of a module names. Its `use`s are left to [`Names`].
struct Code<'a> {
    names: &'a Names<'a>,
    module: &'a ModulePath,
    taken: Vec<Meaning>,
}

impl<'ast> Visit<'ast> for Code<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, _: &'ast ItemUse) {}

    /// The path in `pub(in crate::wire)` takes nothing from that module.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    /// A single name matters only if it was imported: this module may use what it also re-exports.
    fn visit_path(&mut self, path: &'ast Path) {
        let segments: Vec<_> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        let mut imports = self.names.imports(self.module).iter();
        let is_of_interest = segments.len() > 1
            || imports.any(|import| [&segments[0], "*"].contains(&&*import.name));
        if path.leading_colon.is_none() && is_of_interest {
            self.taken
                .extend(self.names.resolve(self.module, &segments));
        }
        visit::visit_path(self, path);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        if !function.attrs.iter().any(is_cfg_test) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_meta_list(&mut self, attribute: &'ast MetaList) {
        self.visit_tokens(TokenBuffer::new2(attribute.tokens.clone()).begin());
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.visit_path(&call.path);
        self.visit_tokens(TokenBuffer::new2(call.tokens.clone()).begin());
    }
}

impl Code<'_> {
    fn visit_tokens(&mut self, tokens: Cursor<'_>) {
        for path in paths(tokens) {
            // The macro may define a module around the path, so `super` can also mean this module.
            let meanings = self.names.resolve(self.module, &path).into_iter();
            self.taken
                .extend(meanings.filter(|meaning| !matches!(meaning, Meaning::Made { .. })));
        }
    }
}

/// Finds the paths of two and more names among tokens, which nothing parses.
fn paths(mut tokens: Cursor<'_>) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut colons = 0;
    while !tokens.eof() {
        if let Some((name, rest)) = tokens.ident() {
            if colons < 2 {
                paths.push(std::mem::take(&mut path));
            }
            path.push(name.to_string());
            (tokens, colons) = (rest, 0);
            continue;
        }
        let colon = tokens
            .punct()
            .filter(|(punct, _)| punct.as_char() == ':' && !path.is_empty());
        if let Some((_, rest)) = colon {
            (tokens, colons) = (rest, colons + 1);
            continue;
        }
        paths.push(std::mem::take(&mut path));
        colons = 0;
        if let Some((inside, _, _, rest)) = tokens.any_group() {
            paths.extend(self::paths(inside));
            tokens = rest;
        } else if let Some((_, rest)) = tokens.token_tree() {
            tokens = rest;
        }
    }
    paths.push(path);
    paths.retain(|path| path.len() > 1);
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reports on a crate that has these files.
    fn reports(files: &[(&str, &str)]) -> String {
        let modules = Modules::read(std::path::Path::new("lib.rs"), |path| {
            let file = files
                .iter()
                .find(|(name, _)| std::path::Path::new(name) == path)?;
            Some(file.1.to_owned())
        });
        let graph = graph(&modules);
        graph
            .cycles()
            .iter()
            .map(|cycle| graph.report(cycle))
            .collect()
    }

    #[test]
    fn one_way_is_no_cycle() {
        let files = [
            ("lib.rs", "mod a; mod b; pub use self::a::A;"),
            ("a.rs", "use std::fmt; use crate::b::B; pub struct A(B);"),
            ("b.rs", "use log::Level; pub struct B(Level);"),
        ];
        assert_eq!(reports(&files), "");
    }

    #[test]
    fn two_files_that_use_each_other_are_found() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::{B, C}; pub struct A;"),
            ("b.rs", "use super::a::A; pub struct B; pub struct C;"),
        ];
        assert_eq!(
            reports(&files),
            "2 files need each other:\n  a.rs → b.rs: B, C\n  b.rs → a.rs: A\n"
        );
    }

    #[test]
    fn three_files_in_a_circle_are_found() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B; pub struct A;"),
            ("b.rs", "use crate::c::C; pub struct B;"),
            ("c.rs", "use crate::a::A as Other; pub struct C;"),
        ];
        let report =
            "3 files need each other:\n  a.rs → b.rs: B\n  b.rs → c.rs: C\n  c.rs → a.rs: A\n";
        assert_eq!(reports(&files), report);
    }

    #[test]
    fn a_path_in_the_code_is_found() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "pub fn a() -> u8 { crate::b::b::<u8>() }"),
            ("b.rs", "use crate::a; pub fn b() { a::a(); }"),
        ];
        assert_eq!(
            reports(&files),
            "2 files need each other:\n  a.rs → b.rs: b\n  b.rs → a.rs: a\n"
        );
    }

    #[test]
    fn a_path_in_a_macro_or_an_attribute_is_found() {
        for a in [
            "pub fn a() { select! { _ = x => [crate::b::B::new(), y] } }",
            "#[arg(value_parser = crate::b::B::new)] pub fn a() {}",
        ] {
            let files = [
                ("lib.rs", "mod a; mod b;"),
                ("a.rs", a),
                ("b.rs", "use crate::a::a; pub struct B;"),
            ];
            assert_eq!(
                reports(&files),
                "2 files need each other:\n  a.rs → b.rs: B\n  b.rs → a.rs: a\n"
            );
        }
    }

    #[test]
    fn a_re_export_is_followed_to_the_file_that_defines_it() {
        let files = [
            ("lib.rs", "mod a; mod facade; pub use facade::inner::Inner;"),
            (
                "facade.rs",
                "pub mod inner; pub(crate) use self::inner::Inner as Seen;",
            ),
            ("facade/inner.rs", "use crate::a::A; pub struct Inner;"),
            ("a.rs", "use crate::facade::Seen; pub struct A;"),
        ];
        let report = "2 files need each other:\n  a.rs → facade/inner.rs: Inner\n  facade/inner.rs → a.rs: A\n";
        assert_eq!(reports(&files), report);
        let globs = [
            ("lib.rs", "mod a; mod facade;"),
            ("facade.rs", "mod inner; pub use self::inner::*;"),
            files[2],
            ("a.rs", "use crate::facade::*; pub struct A(Inner);"),
        ];
        assert_eq!(reports(&globs), report);
    }

    #[test]
    fn a_facade_that_only_passes_names_on_is_part_of_no_cycle() {
        let files = [
            ("lib.rs", "mod facade; pub use self::facade::Inner;"),
            (
                "facade.rs",
                "mod inner; mod other; pub(crate) use self::inner::Inner; pub use self::other::*;\
                 const SHARED: u8 = 1;",
            ),
            (
                "facade/inner.rs",
                "use super::{Other, SHARED}; pub struct Inner;",
            ),
            ("facade/other.rs", "pub(in crate::facade) struct Other;"),
        ];
        assert_eq!(reports(&files), "");
    }

    #[test]
    fn a_parent_that_uses_what_it_passes_on_needs_its_child() {
        let lib = ("lib.rs", "mod parent;");
        let child = ("parent/child.rs", "use super::Parent; pub struct Child;");
        let report = "2 files need each other:\n  parent/child.rs → parent.rs: Parent\n  parent.rs → parent/child.rs: Child\n";
        for parent in [
            "mod child; pub use self::child::Child; pub struct Parent(Child);",
            "mod child; use self::child::Child; pub struct Parent;",
            "mod child; pub struct Parent(child::Child);",
            "mod child; pub struct Parent; fn f() { use child::Child; }",
        ] {
            assert_eq!(
                reports(&[lib, ("parent.rs", parent), child]),
                report,
                "{parent}"
            );
        }
    }

    #[test]
    fn what_tests_take_does_not_count() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            (
                "a.rs",
                "use crate::b::B; pub struct A; #[cfg(not(test))] pub struct Never;",
            ),
            (
                "b.rs",
                "#[cfg(test)] use crate::a::A; pub struct B; #[cfg(test)] mod tests { use crate::a::A; }\
                 impl B { #[cfg(test)] fn b(_: crate::a::A) {} }",
            ),
        ];
        assert_eq!(reports(&files), "");
    }

    #[test]
    fn what_a_macro_may_have_made_is_in_the_file_that_should_have_it() {
        let files = [
            (
                "lib.rs",
                "mod a; mod schema; pub use log::Level; pub struct Root(schema::accounts::table);",
            ),
            (
                "a.rs",
                "use crate::Level; use crate::schema::accounts::table; pub struct A;",
            ),
            (
                "schema.rs",
                "use crate::a::A; table! { mod accounts { use super::A; } }",
            ),
        ];
        assert_eq!(
            reports(&files),
            "2 files need each other:\n  a.rs → schema.rs: accounts\n  schema.rs → a.rs: A\n"
        );
    }

    #[test]
    fn a_module_inside_a_file_is_that_file() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            (
                "a.rs",
                "pub mod inside { use super::A; pub fn f(_: A, _: crate::b::B) {} } pub struct A;",
            ),
            ("b.rs", "use crate::a::inside::f; pub struct B;"),
        ];
        assert_eq!(
            reports(&files),
            "2 files need each other:\n  a.rs → b.rs: B\n  b.rs → a.rs: f\n"
        );
    }
}
