#!/bin/sh
# Installs what the tests and the demo need and the machine has not, by apt where that can be.
# Run again it finds everything in its place and takes a few milliseconds.
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
    echo "installing $*" >&2
    # A server package would start a server of its own: it finds this and does not.
    $as_root mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] ||
        echo "create_main_cluster = false" | $as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    install="env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold"
    $as_root $install "$@" >/dev/null 2>&1 </dev/null ||
        { $as_root apt-get update -qq >/dev/null && $as_root $install "$@" >/dev/null </dev/null; }
}

has_postgres() {
    for folder in "${DB_TESTS_POSTGRES_BIN:-/none}" "$(pg_config --bindir 2>/dev/null || echo /none)" \
        /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql* /usr/local/pgsql/bin \
        /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin \
        /Applications/Postgres.app/Contents/Versions/*/bin; do
        [ -x "$folder/postgres" ] && [ -x "$folder/initdb" ] && return 0
    done
    command -v postgres >/dev/null && command -v initdb >/dev/null
}

if ! has_postgres; then
    apt_install postgresql || {
        notice "no PostgreSQL server found. Install one (Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; Alpine: apk add postgresql; macOS: brew install postgresql) or set DB_TESTS_POSTGRES_BIN to the folder of postgres and initdb."
        exit 1
    }
fi

has_bouncer() {
    [ -n "${DB_TESTS_PGBOUNCER:-}" ] || command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ]
}

if ! has_bouncer; then
    apt_install pgbouncer || notice "no pgbouncer found, and what needs it will fail. Install it (apt-get install pgbouncer; dnf install pgbouncer; brew install pgbouncer)."
fi

if ! command -v cc >/dev/null; then
    apt_install gcc libc6-dev || notice "no C compiler found; the TLS library needs one."
fi

# A test makes a German locale for its own server.
if ! [ -e /usr/share/i18n/locales/de_DE ] && command -v localedef >/dev/null; then
    apt_install locales || notice "no sources of locales found, and the test of a German server will fail. Install them (apt-get install locales; dnf install glibc-locale-source)."
fi

sh tests/harness/build-pgbouncer.sh || notice "no PgBouncer of at least 1.21; tests of its prepared statements cannot run here."

sh tests/harness/fetch-pgpool.sh || notice "no Pgpool-II; the tests of it cannot run here. Install it (apt-get install pgpool2), or set DB_TESTS_PGPOOL."

sh tests/harness/fetch-regress.sh || notice "PostgreSQL's regression scripts cannot be fetched (by pip); the comparison with plain diesel-async will fail."
