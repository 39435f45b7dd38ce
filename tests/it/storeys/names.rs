//! Finds the file that defines what a path names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use syn::visit::{self, Visit};
use syn::{Item, ItemUse, UseTree, Visibility};

use super::modules::{Module, ModulePath, Modules, is_for_tests};

/// What a path names. A path can name both a module and a function.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Meaning {
    Module(ModulePath),
    Item {
        file: PathBuf,
        name: String,
    },
    /// The file should define the name but does not show it, so a macro must define it.
    Made {
        file: PathBuf,
        name: String,
    },
}

/// A name that a `use` brings into its module.
pub(super) struct Import {
    /// The name in this module; `*` if all names are imported.
    pub(super) name: String,
    pub(super) path: Vec<String>,
    /// Whether other modules can take the name from here.
    pub(super) is_re_export: bool,
}

/// The names in each module of a crate.
pub(super) struct Names<'a> {
    modules: &'a Modules,
    defined: BTreeMap<&'a ModulePath, BTreeSet<String>>,
    imports: BTreeMap<&'a ModulePath, Vec<Import>>,
}

impl<'a> Names<'a> {
    pub(super) fn of(modules: &'a Modules) -> Self {
        let each = modules.0.iter();
        let defined = |module: &Module| module.items.iter().filter_map(defined_name).collect();
        Self {
            modules,
            defined: each
                .clone()
                .map(|(path, module)| (path, defined(module)))
                .collect(),
            imports: each.map(|(path, module)| (path, imports(module))).collect(),
        }
    }

    /// The imports of a module.
    pub(super) fn imports(&self, module: &ModulePath) -> &[Import] {
        &self.imports[module]
    }

    /// What `path` means in `module`. The answer is empty if the path leads out of the crate.
    pub(super) fn resolve(&self, module: &ModulePath, path: &[String]) -> Vec<Meaning> {
        self.follow(module, path, &mut BTreeSet::new())
    }

    fn follow(&self, module: &ModulePath, path: &[String], seen: &mut Seen) -> Vec<Meaning> {
        let mut here = module.clone();
        let mut names = path;
        while let [first, rest @ ..] = names {
            match &**first {
                "crate" => here.clear(),
                "self" => {}
                "super" => drop(here.pop()),
                _ => break,
            }
            names = rest;
        }
        let mut meanings = vec![Meaning::Module(here)];
        for (at, name) in names.iter().enumerate() {
            // In `log::Level` the first name may be another crate, in `crate::log` it cannot.
            let is_ours = at > 0 || names.len() < path.len();
            let next = |meaning| match meaning {
                Meaning::Module(module) if is_ours => self.member(&module, name, seen),
                Meaning::Module(module) => self.look_up(&module, name, seen),
                // After the name of a type comes a variant or an associated function.
                item => vec![item],
            };
            meanings = meanings.into_iter().flat_map(next).collect();
        }
        meanings
    }

    /// Finds a name that the module must have.
    fn member(&self, module: &ModulePath, name: &str, seen: &mut Seen) -> Vec<Meaning> {
        let found = self.look_up(module, name, seen);
        if found.is_empty() && self.imports_named(module, name).next().is_none() {
            let file = self.modules.0[module].file.clone();
            let name = name.to_owned();
            return vec![Meaning::Made { file, name }];
        }
        found
    }

    fn look_up(&self, module: &ModulePath, name: &str, seen: &mut Seen) -> Vec<Meaning> {
        // `use log::Level` imports `Level` through `log`, and `use log` imports `log` through itself.
        let question = (module.clone(), name.to_owned());
        if !seen.insert(question.clone()) {
            return Vec::new();
        }
        let mut meanings = Vec::new();
        let child = [&**module, &[name.to_owned()]].concat();
        if self.modules.0.contains_key(&child) {
            meanings.push(Meaning::Module(child));
        }
        if self.defined[module].contains(name) {
            let file = self.modules.0[module].file.clone();
            let name = name.to_owned();
            meanings.push(Meaning::Item { file, name });
        }
        for import in self.imports_named(module, name) {
            meanings.extend(self.follow(module, &import.path, seen));
        }
        if meanings.is_empty() {
            for glob in self.imports_named(module, "*") {
                for source in self.follow(module, &glob.path, seen) {
                    if let Meaning::Module(source) = source {
                        meanings.extend(self.look_up(&source, name, seen));
                    }
                }
            }
        }
        seen.remove(&question);
        meanings
    }

    fn imports_named(&self, module: &ModulePath, name: &str) -> impl Iterator<Item = &Import> {
        let imports = self.imports[module].iter();
        imports.filter(move |import| import.name == name)
    }
}

/// The look-ups that are under way. A look-up may lead to others.
type Seen = BTreeSet<(ModulePath, String)>;

fn defined_name(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

/// The imports of a module, with those inside its functions.
fn imports(module: &Module) -> Vec<Import> {
    struct Uses(Vec<Import>);

    impl<'ast> Visit<'ast> for Uses {
        fn visit_item(&mut self, item: &'ast Item) {
            if !is_for_tests(item) {
                visit::visit_item(self, item);
            }
        }

        fn visit_item_use(&mut self, item: &'ast ItemUse) {
            // `::name` is always another crate.
            if item.leading_colon.is_none() {
                let is_re_export = !matches!(item.vis, Visibility::Inherited);
                leaves(&item.tree, &[], is_re_export, &mut self.0);
            }
        }
    }

    let mut uses = Uses(Vec::new());
    for item in &module.items {
        uses.visit_item(item);
    }
    uses.0
}

/// Lists one import for each name of a `use`.
fn leaves(tree: &UseTree, prefix: &[String], is_re_export: bool, imports: &mut Vec<Import>) {
    let mut add = |name: String, path: Vec<String>| {
        imports.push(Import {
            name,
            path,
            is_re_export,
        });
    };
    match tree {
        UseTree::Path(path) => {
            let prefix = [prefix, &[path.ident.to_string()]].concat();
            leaves(&path.tree, &prefix, is_re_export, imports);
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                leaves(tree, prefix, is_re_export, imports);
            }
        }
        UseTree::Name(leaf) if leaf.ident == "self" => {
            let name = prefix.last().cloned().unwrap_or_default();
            add(name, prefix.to_vec());
        }
        UseTree::Name(leaf) => {
            let name = leaf.ident.to_string();
            add(name.clone(), [prefix, &[name]].concat());
        }
        UseTree::Rename(leaf) => {
            let mut path = prefix.to_vec();
            if leaf.ident != "self" {
                path.push(leaf.ident.to_string());
            }
            add(leaf.rename.to_string(), path);
        }
        UseTree::Glob(_) => add("*".to_owned(), prefix.to_vec()),
    }
}
