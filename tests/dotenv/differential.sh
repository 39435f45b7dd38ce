#!/bin/sh
# Compares how `.env` is read here with python-dotenv, node's dotenv and, where `go` is there, docker compose.
# Their packages go to target/dotenv. Arguments: how many texts to generate, and the seed.
# With UPDATE=1 the table that the unit test reads gets the answers of today.
set -eu
cd "$(dirname "$0")/../.."
count=$1
seed=${2:-$(date +%s)}
folder=$PWD/target/dotenv
table=crates/db-config/src/dotenv/cases.jsonl
mkdir -p "$folder"
for program in python3 npm node; do
    command -v "$program" >/dev/null || { echo "$program is not installed" >&2; exit 1; }
done
[ -x "$folder/python/bin/python" ] || python3 -m venv "$folder/python"
"$folder/python/bin/pip" install --quiet --disable-pip-version-check python-dotenv==1.2.4
npm install --silent --no-fund --no-audit --prefix "$folder/node" dotenv@18.0.10

compose=-
if command -v go >/dev/null; then
    mkdir -p "$folder/compose"
    cp tests/dotenv/compose/main.go tests/dotenv/compose/go.mod "$folder/compose"
    if (cd "$folder/compose" && go mod tidy >/dev/null 2>&1 && go build -o reader .); then
        compose=$folder/compose/reader
    fi
fi
compose=${DOTENV_COMPOSE:-$compose}
[ "$compose" != - ] || echo "NOTICE: docker compose's reader needs go and was not asked" >&2

echo "seed $seed"
answers() { "$folder/python/bin/python" tests/dotenv/answers.py "$table" "$1" "$folder/node/node_modules" "$compose" "$seed" "$2"; }
if [ "${UPDATE:-}" = 1 ]; then
    answers "$folder/table" 0
    cp "$folder/table" "$table"
fi
answers "$folder/answers" "$count"
DOTENV_ANSWERS=$folder/answers cargo test --quiet -p db-config --lib dotenv::differential -- --include-ignored
