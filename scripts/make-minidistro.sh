#!/usr/bin/env bash
# Makes a small RPM distribution out of Debian packages in the cache folder, for tests of build roots only:
# make-minidistro.sh [--rebuild]
#
# Prints the repository's folder. The converter is no part of this tree: ../shared/tools/minidistro beside it.
# Exit 3: cannot be made here (said why); the tests that need it skip by name.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cannot() { say "small distribution: not made: $1"; exit 3; }

repo=$(cache_dir)/minidistro
[ "${1-}" = --rebuild ] || [ ! -f "$repo/repodata/repomd.xml" ] || { printf '%s\n' "$repo"; exit 0; }
converter=$top/../shared/tools/minidistro/deb2rpm.py
[ -f "$converter" ] || cannot "../shared/tools/minidistro is not there"
[ "$(distribution_family)" = debian ] || cannot "this is no distribution of Debian's family"
for tool in python3 createrepo_c zstd; do command -v "$tool" >/dev/null || cannot "$tool is not installed"; done
mkdir -p "$(dirname "$repo")"
exec 9> "$repo.lock"; flock 9
[ "${1-}" = --rebuild ] || [ ! -f "$repo/repodata/repomd.xml" ] || { printf '%s\n' "$repo"; exit 0; }
say "small distribution: building $repo (a minute)"
fresh=$repo.new.$$; trap 'rm -rf "$fresh"' EXIT
python3 "$converter" --suite forky --cache "$repo-debs" --out "$fresh" >&2 || cannot "the converter failed, see above"
createrepo_c -q "$fresh" >&2 || cannot "createrepo_c failed, see above"
rm -rf "$repo"; mv -T "$fresh" "$repo"
printf '%s\n' "$repo"
