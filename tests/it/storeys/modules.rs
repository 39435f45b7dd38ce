//! Reads the modules of a crate from its files, without those that are compiled for tests only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item, ItemMod, Meta};

/// The path of a module in its crate, such as `["wire", "rules"]`.
pub(super) type ModulePath = Vec<String>;

pub(super) struct Module {
    pub(super) file: PathBuf,
    pub(super) items: Vec<Item>,
}

/// All modules of a crate by their paths. The path of the root is empty.
#[derive(Default)]
pub(super) struct Modules(pub(super) BTreeMap<ModulePath, Module>);

impl Modules {
    /// Reads the file `root` and all files of its modules. `read` returns the text of a file, if it exists.
    pub(super) fn read(root: &Path, read: impl Fn(&Path) -> Option<String>) -> Self {
        let mut modules = Self::default();
        let folder = root.parent().unwrap();
        modules.read_file(&read, Vec::new(), root, folder);
        modules
    }

    /// Reads the module of `file`. The files of its children are in `folder`.
    fn read_file(
        &mut self,
        read: &impl Fn(&Path) -> Option<String>,
        path: ModulePath,
        file: &Path,
        folder: &Path,
    ) {
        let text = read(file).unwrap_or_else(|| panic!("{} cannot be read", file.display()));
        let parsed =
            syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.read_items(read, path, file, folder, parsed.items);
    }

    fn read_items(
        &mut self,
        read: &impl Fn(&Path) -> Option<String>,
        path: ModulePath,
        file: &Path,
        folder: &Path,
        items: Vec<Item>,
    ) {
        let mut own = Vec::new();
        for item in items {
            match item {
                item if is_for_tests(&item) => {}
                Item::Mod(module) => {
                    assert!(
                        !module.attrs.iter().any(|attr| attr.path().is_ident("path")),
                        "{}: this test cannot follow #[path]",
                        file.display()
                    );
                    let name = module.ident.to_string();
                    let child = [&*path, std::slice::from_ref(&name)].concat();
                    let below = folder.join(&name);
                    match module.content {
                        Some((_, items)) => self.read_items(read, child, file, &below, items),
                        None => {
                            let flat = folder.join(format!("{name}.rs"));
                            let is_flat = read(&flat).is_some();
                            let file = if is_flat { flat } else { below.join("mod.rs") };
                            self.read_file(read, child, &file, &below);
                        }
                    }
                }
                item => own.push(item),
            }
        }
        let file = file.to_owned();
        self.0.insert(path, Module { file, items: own });
    }
}

/// Whether an item is compiled for tests only.
pub(super) fn is_for_tests(item: &Item) -> bool {
    let attributes = match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(ItemMod { attrs, .. }) => attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(is_cfg_test)
}

/// Whether this is `#[cfg(test)]` or `#[cfg(doctest)]`. No other condition in use means "only in tests".
pub(super) fn is_cfg_test(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else {
        return false;
    };
    let condition = list.parse_args::<syn::Ident>();
    list.path.is_ident("cfg") && condition.is_ok_and(|name| name == "test" || name == "doctest")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The modules of a crate of these files.
    fn files(files: &[(&str, &str)]) -> Vec<(String, String)> {
        let read = |path: &Path| {
            let file = files.iter().find(|(name, _)| Path::new(name) == path)?;
            Some(file.1.to_owned())
        };
        let modules = Modules::read(Path::new("src/lib.rs"), read);
        let named = |(path, module): (&ModulePath, &Module)| {
            (path.join("::"), module.file.display().to_string())
        };
        modules.0.iter().map(named).collect()
    }

    #[test]
    fn a_module_is_found_in_each_of_its_places() {
        let found = files(&[
            (
                "src/lib.rs",
                "mod flat; mod folder; mod inline { mod below; }",
            ),
            ("src/flat.rs", "mod below;"),
            ("src/flat/below.rs", ""),
            ("src/folder/mod.rs", "mod below;"),
            ("src/folder/below.rs", ""),
            ("src/inline/below.rs", ""),
        ]);
        let expected = [
            ("", "src/lib.rs"),
            ("flat", "src/flat.rs"),
            ("flat::below", "src/flat/below.rs"),
            ("folder", "src/folder/mod.rs"),
            ("folder::below", "src/folder/below.rs"),
            ("inline", "src/lib.rs"),
            ("inline::below", "src/inline/below.rs"),
        ];
        assert_eq!(
            found,
            expected.map(|(path, file)| (path.to_owned(), file.to_owned()))
        );
    }

    #[test]
    fn modules_for_tests_are_not_read() {
        let found = files(&[(
            "src/lib.rs",
            "#[cfg(test)] mod gated; #[cfg(test)] mod tests { mod missing; } #[cfg(unix)] mod unix {}",
        )]);
        let paths: Vec<_> = found.iter().map(|(path, _)| &**path).collect();
        assert_eq!(paths, ["", "unix"]);
    }
}
