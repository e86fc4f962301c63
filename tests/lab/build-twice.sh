#!/usr/bin/env bash
# Builds every source package of a folder twice, plain and under other circumstances, and compares the results:
# build-twice.sh SOURCES_DIR OUT_DIR
#
# SOURCES_DIR is what scripts/fetch-sources.sh made. Binary packages of the plain builds stay in OUT_DIR. One line for each
# source package: seconds, verdict, name. Exit 1 when a package that should be reproducible is not, or the other way round.
set -euo pipefail
[ $# = 2 ] || { sed -n '2,/^set -/p' "$0" | sed -n 's/^# \{0,1\}//p' >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
sources=$(realpath "$1"); mkdir -p "$2"; out=$(realpath "$2"); work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
wrong=0
while IFS=$'\t' read -r name _ _ srpm; do
  start=$(date +%s%N)
  "$here/build-srpm.sh" "$sources/$srpm" "$work/$name/a"
  took=$(( ($(date +%s%N) - start) / 1000000 ))
  "$here/build-srpm.sh" "$sources/$srpm" "$work/$name/b" other
  wanted=identical
  case $name in tree|clockwork) wanted=differs ;; esac
  verdict=identical
  ( cd "$work/$name/a" && sha256sum -- *.rpm ) > "$work/sums"
  ( cd "$work/$name/b" && sha256sum --quiet -c "$work/sums" && [ "$(ls | wc -l)" = "$(wc -l < "$work/sums")" ] ) >/dev/null 2>&1 || verdict=differs
  [ $verdict = $wanted ] || { wrong=1; verdict="$verdict, but should be $wanted"; }
  printf '%3d.%03d s  %-10s %s\n' $((took / 1000)) $((took % 1000)) "$verdict" "$srpm"
  cp "$work/$name/a"/*.rpm "$out/"
done < "$sources/sources.tsv"
exit $wrong
