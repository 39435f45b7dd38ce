#!/bin/sh
# Builds a PgBouncer that keeps prepared statements (1.21 or later) into target/tools/pgbouncer, from the
# source of a newer Debian on the mirror that this machine uses already. Does nothing where the installed one
# is new enough, or where it has been built. Ends with 1 when it cannot be had.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p target/tools/pgbouncer
home=$PWD/target/tools/pgbouncer
release=trixie

is_new() {
    version=$("$1" --version 2>/dev/null | sed -n 's/^PgBouncer \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
    [ -n "$version" ] && [ "${version% *}" -ge 1 ] && { [ "${version% *}" -gt 1 ] || [ "${version#* }" -ge 21 ]; }
}

for found in "$home/pgbouncer" "${DB_TESTS_PGBOUNCER:-}" "$(command -v pgbouncer || :)" /usr/sbin/pgbouncer; do
    [ -n "$found" ] && is_new "$found" && exit 0
done

# A failure is not repeated for a day: without a network it takes long to fail.
[ -z "$(find "$home/failed" -mtime -1 2>/dev/null)" ] || exit 1
trap '[ $? -eq 0 ] || touch "$home/failed"' EXIT

. /etc/os-release
[ "${ID:-}" = debian ] || exit 1
command -v apt-get >/dev/null
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
    sed -n 's/^URIs: *\([^ ]*\/debian\)\/* *.*$/\1/p; s/^deb .* \([^ ]*:\/\/[^ ]*\/debian\)\/* .*/\1/p; s/^deb \([^ ]*:\/\/[^ ]*\/debian\)\/* .*/\1/p' | head -n 1)
[ -n "$mirror" ]

if ! command -v make >/dev/null || ! pkg-config --exists libevent openssl 2>/dev/null; then
    [ "$(id -u)" -eq 0 ]
    packages="libevent-dev libssl-dev pkg-config make gcc libc6-dev"
    install="env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends"
    echo "installing $packages" >&2
    $install $packages >/dev/null 2>&1 </dev/null ||
        { apt-get update -qq >/dev/null && $install $packages >/dev/null </dev/null; }
fi

echo "building a PgBouncer with prepared statements (about 20 s, once)" >&2
work=$home/build
rm -rf "$work"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/source"
cd "$work"
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" >sources.list
apt="apt-get -qq -o Dir::Etc::sourcelist=$work/sources.list -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::lists=$work/lists -o Dir::Cache=$work/cache -o APT::Sandbox::User=$(id -un)
    -o Acquire::http::Timeout=15 -o Acquire::Retries=1"
$apt update >&2
$apt source --download-only pgbouncer >&2
tar xzf pgbouncer_*.orig.tar.gz --strip-components=1 -C source
cd source
./configure --quiet --without-cares --with-openssl >"$work/log" 2>&1
make pgbouncer >>"$work/log" 2>&1
mv pgbouncer "$home/pgbouncer"
rm -rf "$work" "$home/failed"
is_new "$home/pgbouncer"
