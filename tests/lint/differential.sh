#!/bin/sh
# Asks squawk's own program, of the version of our library, what it finds in tests/lint/cases, and compares it with what
# `dbctl migrate lint` finds. Its package goes to target/lint. With UPDATE=1 tests/lint/squawk.json, which the test
# reads, gets the answers of today.
set -eu
cd "$(dirname "$0")/../.."
folder=$PWD/target/lint
version=$(sed -n 's/^squawk-linter = "=\(.*\)"$/\1/p' Cargo.toml)
command -v python3 >/dev/null || { echo "python3 is not installed" >&2; exit 1; }
mkdir -p "$folder"
[ -x "$folder/python/bin/python" ] || python3 -m venv "$folder/python"
"$folder/python/bin/pip" install --quiet --disable-pip-version-check "squawk-cli==$version"
python3 tests/lint/answers.py "$folder/python/bin/squawk" "$folder/squawk.json"
[ "${UPDATE:-}" != 1 ] || cp "$folder/squawk.json" tests/lint/squawk.json
LINT_ANSWERS=$folder/squawk.json cargo test --quiet -p db-tests --test it lint_reference::
