#!/bin/sh
# Runs the tests with cargo-nextest (each in its own process, in parallel), or all the same with cargo test.
# Arguments: those of `cargo nextest run`, which `cargo test` understands too.
set -eu
if command -v cargo-nextest >/dev/null; then
    exec cargo nextest run --no-fail-fast "$@"
fi
echo "NOTICE: cargo-nextest is not installed; the tests run with cargo test" >&2
# Documentation tests have a step of their own.
case " $* " in
*" --test "*) exec cargo test --quiet "$@" ;;
*) exec cargo test --quiet --no-fail-fast --lib --bins --tests "$@" ;;
esac
