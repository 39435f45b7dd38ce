#!/bin/sh
# Fetches PostgreSQL's regression scripts into target/regress, as the source distribution of pglast has them.
# They are nobody's here, and are not to be committed. Run again it finds them and does nothing.
set -eu
cd "$(dirname "$0")/../.."
version=8.8
hash=ff9998ec6bac4f30f84db6b6edb28a0fb03b1eda5c8ad211ab8362f5a08b833b
home=$PWD/target/regress
[ ! -e "$home/$version/transactions.sql" ] || exit 0

mkdir -p "$home"
work=$(mktemp -d "$home/fetching.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "fetching PostgreSQL's regression scripts (about 5 s, once)" >&2
# Only pglast itself as a source: what pip needs to read its name and version comes built.
echo "pglast==$version --hash=sha256:$hash" >"$work/requirements.txt"
(cd "$work" && python3 -m pip download --quiet --no-deps --no-binary pglast -r requirements.txt >&2)
tar xzf "$work/pglast-$version.tar.gz" -C "$work" "pglast-$version/libpg_query/test/sql/postgres_regress"
# Somebody else may have been quicker.
mv "$work/pglast-$version/libpg_query/test/sql/postgres_regress" "$home/$version" 2>/dev/null || [ -e "$home/$version/transactions.sql" ]
