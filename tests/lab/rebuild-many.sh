#!/usr/bin/env bash
# Builds every source package of a folder once and checks it under each challenge profile:
# rebuild-many.sh HALLMARK SOURCES_DIR OUT_DIR [PROFILE]...
#
# HALLMARK is the program; SOURCES_DIR is what many-sources.sh or fetch-sources.sh made. OUT_DIR gets verdicts.tsv (source
# package, packages, seconds of the build, a verdict for each profile, causes) and, of what was not confirmed, the whole
# report. Prints the table of verdicts at the end. One package after the other, so that the times mean something.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,/^set -/p' "$0" | sed -n 's/^# \{0,1\}//p' >&2; exit 2; }
hallmark=$(realpath "$1"); sources=$(realpath "$2"); mkdir -p "$3"; out=$(realpath "$3"); shift 3
profiles=("$@"); [ ${#profiles[@]} -gt 0 ] || profiles=(plain one-cpu other-kernel fixed-addresses)
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
printf 'source\tpackages\tseconds\t%s\tcauses\n' "$(printf '%s\t' "${profiles[@]}" | sed 's/\t$//')" > "$out/verdicts.tsv"
began=$(date +%s)

# The worst verdict of a report on standard input, or what kept it from being one.
verdict() { jq -r '[.packages[].verdict] as $all | ["build-failed","set-differs","differs","same-files","same-content","identical-unsigned","identical"] | map(select(. as $v | $all | index($v))) | .[0] // "none"' 2>/dev/null || echo cannot-tell; }

for srpm in "$sources"/*.src.rpm; do
  name=$(basename "$srpm" .src.rpm); dir=$work/$name
  start=$(date +%s%N)
  if ! "$hallmark" buildinfo "$srpm" -o "$dir" > "$work/log" 2>&1; then
    printf '%s\t0\t-\t%s\t%s\n' "$name" "$(printf 'not-built\t%.0s' "${profiles[@]}" | sed 's/\t$//')" "$(tail -n 1 "$work/log" | tr '\t' ' ' | cut -c 1-200)" >> "$out/verdicts.tsv"
    continue
  fi
  took=$(( ($(date +%s%N) - start) / 1000000 ))
  mapfile -t packages < <(find "$dir" -name '*.rpm' ! -name '*.src.rpm' | sort)
  row=() causes=""
  for profile in "${profiles[@]}"; do
    "$hallmark" rebuild "${packages[@]}" --srpm "$srpm" --buildinfo "$dir"/*.buildinfo.json --profile "$profile" --json \
      > "$work/report" 2> "$work/log" || true
    found=$(verdict < "$work/report"); [ -n "$found" ] || found=cannot-tell
    row+=("$found")
    case $found in
      identical|identical-unsigned) ;;
      cannot-tell) causes="$causes $(tail -n 2 "$work/log" | tr '\n\t' '  ' | cut -c 1-200)" ;;
      *) cp "$work/report" "$out/$name.$profile.json"; causes="$causes $(jq -r '[.packages[].causes[].code] | unique | join(",")' "$work/report")" ;;
    esac
  done
  printf '%s\t%d\t%d.%03d\t%s\t%s\n' "$name" ${#packages[@]} $((took / 1000)) $((took % 1000)) "$(printf '%s\t' "${row[@]}" | sed 's/\t$//')" "${causes# }" >> "$out/verdicts.tsv"
  rm -rf "$dir"
done

total=$(($(wc -l < "$out/verdicts.tsv") - 1)); seconds=$(($(date +%s) - began))
printf '%d source packages, %d builds in %d s: %d an hour\n' "$total" $((total * (${#profiles[@]} + 1))) $seconds $((total * (${#profiles[@]} + 1) * 3600 / (seconds > 0 ? seconds : 1)))
column=4
for profile in "${profiles[@]}"; do
  printf '%-16s' "$profile"
  tail -n +2 "$out/verdicts.tsv" | cut -f $column | sort | uniq -c | sort -rn | awk '{ printf "  %s %d", $2, $1 } END { print "" }'
  column=$((column + 1))
done
