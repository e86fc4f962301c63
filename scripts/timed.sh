#!/usr/bin/env bash
# Runs a command and says how long it took: timed.sh LABEL COMMAND [ARGUMENT]...
# Exit code and output are the command's; the two lines of our own go to standard error.
set -u
label=$1; shift
start=$(date +%s%N)
printf '==> %s\n' "$label" >&2
"$@"
code=$?
took_ms=$(( ($(date +%s%N) - start) / 1000000 ))
result='done'; [ $code = 0 ] || result="exit code $code"
printf '<== %s: %s, %d.%01d s\n' "$label" "$result" $((took_ms / 1000)) $((took_ms % 1000 / 100)) >&2
exit $code
