#!/bin/sh
# Unpacks Debian's PgBouncer into target/tools/pgbouncer-debian, without root, and beside it, in `lib`, the libraries
# that the machine has not. Ends with 1 when it cannot be had.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
home=$PWD/target/tools/pgbouncer-debian
[ ! -x "$home/pgbouncer" ] || exit 0
mkdir -p target/tools
work=$(mktemp -d "$PWD/target/tools/pgbouncer-fetching.XXXXXX")
trap 'rm -rf "$work"' EXIT

echo "fetching Debian's PgBouncer into target/tools" >&2
sh "$here/unpack-debian.sh" "$work/unpacked" pgbouncer
mkdir -p "$work/pgbouncer/lib"
mv "$work/unpacked/usr/sbin/pgbouncer" "$work/pgbouncer/pgbouncer"
missing() { ldd "$work/pgbouncer/pgbouncer" | sed -n 's/^[[:space:]]*\([^ ]*\) => not found.*/\1/p'; }
if [ -n "$(missing)" ]; then
    # The C library is the machine's own, and so is every other that it has.
    libraries=$(tr ',' '\n' <"$work/unpacked/depends" | sed 's/[|(].*//; s/ //g' | grep '^lib' | grep -v '^libc6$')
    sh "$here/unpack-debian.sh" "$work/unpacked" $libraries
    for library in $(missing); do
        find "$work/unpacked" -name "$library" -exec cp -L {} "$work/pgbouncer/lib/" \;
    done
fi
chmod -R go+rX "$work/pgbouncer"
LD_LIBRARY_PATH="$work/pgbouncer/lib" "$work/pgbouncer/pgbouncer" --version >/dev/null
# Somebody else may have been quicker.
[ -x "$home/pgbouncer" ] || mv "$work/pgbouncer" "$home"
