#!/bin/sh
# Packages the crates and builds each from its package, as `cargo publish` would. crates.io has other crates by three of
# our names, and cargo would build against those. So this gives ours other names, in a copy below target/package-names:
# the libraries and the program keep the old ones, so no code changes.
set -eu
cd "$(dirname "$0")/../.."
copy=target/package-names
mkdir -p "$copy"
rm -rf "$copy/crates" "$copy/Cargo.lock"
git ls-files -z crates Cargo.lock README.md | xargs -0 cp --parents -t "$copy"
sed 's/^members = .*/members = ["crates\/*"]/' Cargo.toml >"$copy/Cargo.toml"
cd "$copy"

# The old name, the new one, and the target that keeps the old one.
rename() {
    sed -i "s/^name = \"$1\"\$/name = \"$2\"/" "crates/$1/Cargo.toml"
    printf '\n%s\n' "$3" >>"crates/$1/Cargo.toml"
    sed -i "s/^$1 = { path/$1 = { package = \"$2\", path/" Cargo.toml
}
rename db-config app-db-config '[lib]
name = "db_config"'
rename db-pool app-db-pool '[lib]
name = "db_pool"'
rename dbctl app-db-cli '[[bin]]
name = "dbctl"
path = "src/main.rs"'

# Git does not know the copy, so it looks dirty.
exec cargo publish --workspace --dry-run --allow-dirty "$@"
