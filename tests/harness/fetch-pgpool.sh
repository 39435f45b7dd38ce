#!/bin/sh
# Fetches Debian's Pgpool-II into target/tools/pgpool, without installing it: no service is started, and nobody has to
# be root. Does nothing where one is installed or fetched. Ends with 1 when it cannot be had.
set -eu
cd "$(dirname "$0")/../.."
home=$PWD/target/tools/pgpool
for found in "$home/usr/sbin/pgpool" "${DB_TESTS_PGPOOL:-}" "$(command -v pgpool || :)" /usr/sbin/pgpool; do
    [ -n "$found" ] && [ -x "$found" ] && exit 0
done
command -v apt-get >/dev/null && command -v dpkg >/dev/null || exit 1
mkdir -p "$home"

# A failure is not repeated for a day: without a network it takes long to fail.
[ -z "$(find "$home/failed" -mtime -1 2>/dev/null)" ] || exit 1
trap '[ $? -eq 0 ] || touch "$home/failed"' EXIT

echo "fetching Pgpool-II (2 MB, once)" >&2
mkdir -p "$home/packages"
cd "$home/packages"
apt-get download -qq pgpool2 libpgpool2 libmemcached11 libhashkit2 libpq5 >/dev/null 2>&1
for package in *.deb; do dpkg -x "$package" "$home"; done
mkdir -p "$home/libraries"
find "$home/usr/lib" "$home/lib" -name 'lib*.so*' -exec cp -a {} "$home/libraries" \;
rm -rf "$home/packages" "$home/failed"
LD_LIBRARY_PATH=$home/libraries "$home/usr/sbin/pgpool" --version >/dev/null
