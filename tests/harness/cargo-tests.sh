#!/bin/sh
# Runs the tests with cargo-nextest (each in its own process, in parallel), or all the same with cargo test.
# Arguments: those of `cargo nextest run`, which `cargo test` understands too.
#
# DB_TESTS_LACKING has a line for each ability that the server has not: a word, and why. Tests with the word in their
# names are left out, counted, and told of at the end.
set -u
words=$(echo "${DB_TESTS_LACKING:-}" | cut -d ' ' -f 1)

if command -v cargo-nextest >/dev/null; then
    run="cargo nextest run --no-fail-fast"
    list="cargo nextest list --message-format oneline"
else
    echo "NOTICE: cargo-nextest is not installed; the tests run with cargo test" >&2
    # Documentation tests have a step of their own.
    case " $* " in
    *" --test "*) run="cargo test --quiet" ;;
    *) run="cargo test --quiet --no-fail-fast --lib --bins --tests" ;;
    esac
    list="$run"
fi

if [ -z "$words" ]; then
    exec $run "$@"
fi

count() {
    case $run in
    *nextest*) $list "$@" 2>/dev/null ;;
    *) $run "$@" --list 2>/dev/null ;;
    esac | grep -c "$word"
}
case " $* " in
*" -- "*) ;;
*) set -- "$@" -- ;;
esac
notices=
for word in $words; do
    why=$(echo "$DB_TESTS_LACKING" | sed -n "s/^$word //p")
    number=$(count "$@")
    [ "$number" -eq 0 ] || notices="$notices
NOTICE: $number tests did not run: they $why"
done
for word in $words; do
    set -- "$@" --skip "$word"
done
status=0
$run "$@" || status=$?
echo "$notices" >&2
exit $status
