#!/bin/sh
# Builds a PgBouncer that keeps prepared statements (1.21 or later) into target/tools/pgbouncer, from the
# source of a newer Debian on the mirror that this machine uses already. Does nothing where the installed one
# is new enough, or where it has been built. Needs no root; what the build needs and the machine has not is
# installed by root, and unpacked by everybody else. Ends with 1 when it cannot be had.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
mkdir -p target/tools/pgbouncer
home=$PWD/target/tools/pgbouncer
release=trixie

is_new() {
    version=$(LD_LIBRARY_PATH="$(dirname "$1")/lib" "$1" --version 2>/dev/null | sed -n 's/^PgBouncer \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
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

dev=$home/dev
has_all() { command -v make >/dev/null && pkg-config --exists libevent openssl 2>/dev/null; }
install_all() {
    [ "$(id -u)" -eq 0 ] || return 1
    packages="libevent-dev libssl-dev pkg-config make gcc libc6-dev"
    install="env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends"
    echo "installing $packages by apt" >&2
    $install $packages >/dev/null 2>&1 </dev/null ||
        { apt-get update -qq >/dev/null && $install $packages >/dev/null </dev/null; }
}
unpack_all() {
    command -v cc >/dev/null || return 1
    rm -rf "$dev"
    sh "$here/unpack-debian.sh" "$dev" make libevent-dev libssl-dev || return 1
    libraries=$(tr ',' '\n' <"$dev/depends" | sed 's/[|(].*//; s/ //g' | grep '^lib' | grep -v '^libc6$')
    sh "$here/unpack-debian.sh" "$dev" $libraries || return 1
    triplet=$(cc -dumpmachine)
    export PATH="$PATH:$dev/usr/bin"
    export CPPFLAGS="-I$dev/usr/include -I$dev/usr/include/$triplet" LDFLAGS="-L$dev/usr/lib/$triplet"
    export LIBEVENT_CFLAGS=" " LIBEVENT_LIBS="-levent"
}
has_all || install_all || unpack_all

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
for library in $(ldd pgbouncer | sed -n 's/^[[:space:]]*\([^ ]*\) => not found.*/\1/p'); do
    mkdir -p "$home/lib"
    find "$dev" -name "$library" -exec cp -L {} "$home/lib/" \;
done
mv pgbouncer "$home/pgbouncer"
rm -rf "$work" "$dev" "$home/failed"
is_new "$home/pgbouncer"
