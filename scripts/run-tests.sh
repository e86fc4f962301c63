#!/usr/bin/env bash
# Runs the tests of the workspace and sums them up: run-tests.sh [CARGO_ARGUMENT]...
#
# What passing tests printed is kept from the screen, but not what they skipped: a test that cannot run here prints
# `SKIP...` with its name and the reason, and the last lines list those. Everything is in target/test-log.txt.
set -euo pipefail

log=${CARGO_TARGET_DIR:-target}/test-log.txt
mkdir -p "$(dirname "$log")"
code=0
cargo test "$@" --no-fail-fast -- --show-output 2>&1 | tee "$log" \
  | awk '/^successes:$/ { hidden = 1 } /^(failures:$|test result:)/ { hidden = 0 } !hidden { print; fflush() }' || code=$?

if grep -qE '^SKIP' "$log"; then
  echo
  echo 'Not tested here:'
  grep -E '^SKIP' "$log" | sort -u | sed 's/^/  /'
fi
awk '/^test result:/ { passed += $4; failed += $6 } END { printf "\ntests: %d passed, %d failed\n", passed, failed }' "$log"
exit $code
