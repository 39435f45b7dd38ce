#!/bin/sh
# Resolves the dependencies of the published crates to the lowest versions that their manifests allow, and checks that
# they compile with those: in a copy below target/lowest, without what only tests need.
#
# Only nightly cargo picks the lowest versions, or this one told to be nightly while it writes the lock file. What it
# then compiles with is the ordinary compiler.
set -eu
cd "$(dirname "$0")/../.."
copy=target/lowest
mkdir -p "$copy"
rm -rf "$copy/crates" "$copy/Cargo.lock"
git ls-files -z crates | grep -zv '^crates/[^/]*/\(tests\|fuzz\|examples\)/' | xargs -0 cp --parents -t "$copy"
cp README.md "$copy/"
sed 's/^members = .*/members = ["crates\/*"]/' Cargo.toml >"$copy/Cargo.toml"
for manifest in "$copy"/crates/*/Cargo.toml; do
    awk '/^\[/ { skip = /^\[(dev-dependencies|\[example)/ } !skip' "$manifest" >"$manifest.shorter"
    mv "$manifest.shorter" "$manifest"
done
cd "$copy"
RUSTC_BOOTSTRAP=1 cargo update --quiet -Z direct-minimal-versions
echo "the lowest versions resolve:"
cargo tree --quiet --locked --workspace --depth 1 --no-dedupe --edges normal --prefix none --format '{p}' |
    sed -n '/(\//!s/^\([^ ]* [^ ]*\).*/    \1/p' | sort -u
[ "${1:-}" = --resolve ] || cargo check --quiet --locked --workspace --lib --bins
