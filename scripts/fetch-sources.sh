#!/usr/bin/env bash
# Makes the source packages that the demo and the tests build: fetch-sources.sh [--bundled] [--refresh] OUT_DIR
#
# OUT_DIR gets one .src.rpm for each project and `sources.tsv`: name, version, origin, file; one line each, tab
# separated, written last. The tarballs of real upstream projects (tests/specs) come from the source packages of this
# machine's distribution, by its own package manager and so checked against its signed index; they are kept in the cache
# folder and checked again there by digest. Projects that cannot be had are named, and the small ones of our own
# (tests/bundled) take their place. Nothing of the system's configuration or package state is touched; no root needed.
#
#   --bundled   only our own projects; no network
#   --refresh   fetch again, though the cache has them
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$top/scripts/lib.sh"

# --- fetching -----------------------------------------------------------------------------------

# Writes an apt configuration into $1 whose state lives in $1 and whose sources are the machine's own, as source entries.
apt_sandbox() {
  local dir=$1 list name
  mkdir -p "$dir/parts" "$dir/lists/partial" "$dir/cache/archives/partial"
  for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ -f "$list" ] || continue
    name=$(basename "$list")
    sed -E 's/^Types:.*/Types: deb-src/; s/^[[:space:]]*deb(-src)?([[:space:]])/deb-src\2/' "$list" > "$dir/parts/$name"
  done
  cat > "$dir/apt.conf" <<END
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$dir/parts";
Dir::State::lists "$dir/lists";
Dir::Cache "$dir/cache";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
END
}

# Fetches the upstream tarball of Debian source package $1 into the empty folder $2.
fetch_with_apt() {
  ( cd "$2" && apt-get -q -y source --download-only --tar-only "$1" ) >> "$work/fetch.log" 2>&1
}

# Upstream's version from Debian's file name: `zlib_1.2.13.dfsg.orig.tar.bz2` is 1.2.13.
version_from_apt() {
  local name=${1##*/}
  name=${name#*_}; name=${name%.orig.tar.*}; name=${name%.tar.*}
  printf '%s\n' "$name" | sed -E 's/[.+~](dfsg|ds|repack).*//; s/-/+/g'
}

# Fetches the source package of Fedora package $1 and unpacks its files into the empty folder $2.
fetch_with_dnf() {
  ( cd "$2" && dnf -q -y download --source "$1" && for srpm in *.src.rpm; do rpm2cpio "$srpm" | cpio -idm --quiet; done
  ) >> "$work/fetch.log" 2>&1
}

# The largest tarball below $1: upstream's, where a source package carries several.
largest_tarball() {
  find "$1" -maxdepth 1 -type f \( -name '*.tar.*' -o -name '*.tgz' \) -not -name '*.debian.tar.*' \
    -not -name '*.asc' -not -name '*.sig' -printf '%s\t%p\n' | sort -n | tail -n 1 | cut -f 2
}

# Fetches project `spec debian-source fedora-package` into folder $4 and adds its line to $4/fetched.tsv.
fetch_project() {
  local spec=$1 source=$2 package=$3 into=$4 dir tarball version
  dir=$work/fetch/$spec; mkdir -p "$dir"
  case $family in
    debian) fetch_with_apt "$source" "$dir" || return 1 ;;
    fedora) fetch_with_dnf "$package" "$dir" || return 1 ;;
    *) return 1 ;;
  esac
  tarball=$(largest_tarball "$dir")
  [ -n "$tarball" ] || return 1
  case $family in
    debian) version=$(version_from_apt "$tarball") ;;
    fedora) version=$(rpm -qp --nosignature --qf '%{VERSION}' "$dir"/*.src.rpm); source=$package ;;
  esac
  install -D -m 0644 "$tarball" "$into/$spec/$(basename "$tarball")"
  printf '%s\t%s\t%s\t%s\n' "$spec" "$version" "$(basename "$tarball")" \
    "source package $source of $(distribution_id)" >> "$into/fetched.tsv"
}

# Fetches all projects into a new folder and puts it at $1 when at least one came.
fetch_all() {
  local kept=$1 fresh spec source package missing=0
  mkdir -p "$(dirname "$kept")"
  fresh=$(mktemp -d "$kept.new.XXXXXX")
  case $family in
    debian)
      apt_sandbox "$work/apt"
      export APT_CONFIG=$work/apt/apt.conf
      say "sources: reading the source index of $(distribution_id)"
      apt-get -q update >> "$work/fetch.log" 2>&1 || true ;;
    fedora) say "sources: asking the source repositories of $(distribution_id)" ;;
    *) say "sources: no known package manager to fetch sources with" ;;
  esac
  while IFS=$'\t' read -r spec source package _; do
    case $spec in ''|'#'*) continue ;; esac
    if fetch_project "$spec" "$source" "$package" "$fresh"; then say "sources: fetched $spec"
    else missing=$((missing + 1)); say "sources: cannot fetch $spec"
    fi
  done < "$top/tests/specs/projects.tsv"
  unset APT_CONFIG
  if [ ! -s "$fresh/fetched.tsv" ]; then
    grep -aE '^(E:|Err|Error)' "$work/fetch.log" | head -n 3 >&2 || true
    rm -rf "$fresh"; return 1
  fi
  ( cd "$fresh" && find . -type f -path './*/*' -print0 | sort -z | xargs -0 sha256sum > SHA256SUMS )
  rm -rf "$kept"; mv -T "$fresh" "$kept"
  [ $missing = 0 ]
}

# --- making source packages ---------------------------------------------------------------------

# Builds the .src.rpm of spec file $1 at version $2 from the tarballs $3...; prints its file name.
# Equal input gives equal bytes: time, host and owners are pinned, as for the builds that follow, and so are the
# folders (rpm writes them into the header with the expanded spec), by running with relative ones.
source_package() {
  local spec=$1 version=$2 dir number="" tarball; shift 2
  dir=$(mktemp -d "$work/srpm.XXXXXX")
  mkdir "$dir/SOURCES" "$dir/SRPMS"
  {
    printf '%%global upstream_version %s\n' "$version"
    for tarball in "$@"; do
      install -m 0644 "$tarball" "$dir/SOURCES/"
      printf '%%global upstream_source%s %s\n' "$number" "$(basename "$tarball")"
      number=$(( ${number:-0} + 1 ))
    done
    cat "$top/tests/specs/prelude.inc"; echo; cat "$spec"
  } > "$dir/SOURCES/$(basename "$spec")"
  find "$dir/SOURCES" -type f -exec touch -d '2025-01-01T00:00:00Z' {} +
  (
    cd "$dir"
    LC_ALL=C.UTF-8 TZ=UTC rpmbuild -bs --nodeps --quiet --define '_topdir .' --define '_specdir ./SOURCES' \
      --define '_srcdefattr (-,root,root)' --define '_buildhost reproducible' --define 'dist %{nil}' \
      --define 'source_date_epoch_from_changelog 1' --define 'use_source_date_epoch_as_buildtime 1' \
      --define 'clamp_mtime_to_source_date_epoch 1' --define 'build_mtime_policy clamp_to_source_date_epoch' \
      "SOURCES/$(basename "$spec")"
  ) > "$dir/log" 2>&1 || { cat "$dir/log" >&2; die "cannot make the source package of $spec"; }
  basename "$dir"/SRPMS/*.src.rpm
  mv "$dir"/SRPMS/*.src.rpm "$out/"
}

# Adds the line of one project to the list: name, version, origin, file.
list_project() { printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >> "$work/sources.tsv"; }

# Source packages of the real projects in folder $1; one whose library did not come is left out.
package_fetched() {
  local kept=$1 spec version tarball origin needs file
  while IFS=$'\t' read -r spec version tarball origin; do
    needs=$(awk -F '\t' -v spec="$spec" '$1 == spec { print $4 }' "$top/tests/specs/projects.tsv")
    if [ "${needs:--}" != - ] && ! grep -q "^$needs	" "$kept/fetched.tsv"; then
      say "sources: $spec left out, for want of $needs"; continue
    fi
    file=$(source_package "$top/tests/specs/$spec.spec" "$version" "$kept/$spec/$tarball")
    list_project "$spec" "$version" "$origin" "$file"
  done < "$kept/fetched.tsv"
}

# Source packages of our own projects; their tarballs depend on nothing but the files in the tree.
package_bundled() {
  local spec version sources source tarballs stem file
  while IFS=$'\t' read -r spec version sources _; do
    case $spec in ''|'#'*) continue ;; esac
    tarballs=()
    for source in ${sources//,/ }; do
      stem=$(awk -F '\t' -v name="$source" '$1 == name { print $1 "-" $2 }' "$top/tests/bundled/projects.tsv")
      mkdir -p "$work/bundled/$stem"
      cp -R "$top/tests/bundled/src/$source/." "$top/LICENSE" "$work/bundled/$stem/"
      chmod -R u=rwX,go=rX "$work/bundled/$stem"
      tar -C "$work/bundled" --sort=name --owner=0 --group=0 --numeric-owner --mtime=2025-01-01T00:00:00Z --format=ustar \
        -cf - "$stem" | gzip -n -9 > "$work/bundled/$stem.tar.gz"
      tarballs+=("$work/bundled/$stem.tar.gz")
    done
    file=$(source_package "$top/tests/bundled/$spec.spec" "$version" "${tarballs[@]}")
    list_project "$spec" "$version" "bundled with Hallmark" "$file"
  done < "$top/tests/bundled/projects.tsv"
}

# --- the job ------------------------------------------------------------------------------------

bundled_only=no refresh=no out=""
while [ $# -gt 0 ]; do
  case $1 in
    --bundled) bundled_only=yes ;;
    --refresh) refresh=yes ;;
    -h|--help) sed -n '2,/^set -/p' "${BASH_SOURCE[0]}" | sed -n 's/^# \{0,1\}//p'; exit 0 ;;
    -*) die "unknown option $1" "options are --bundled and --refresh" ;;
    *) [ -z "$out" ] || die "more than one output folder: $out, $1"; out=$1 ;;
  esac
  shift
done
[ -n "$out" ] || die "no output folder given" "fetch-sources.sh [--bundled] [--refresh] OUT_DIR"
command -v rpmbuild >/dev/null || die "rpmbuild is not installed" "scripts/install-deps.sh demo installs it"
mkdir -p "$out"; out=$(cd "$out" && pwd)
rm -f "$out"/*.src.rpm "$out/sources.tsv"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
: > "$work/fetch.log"; : > "$work/sources.tsv"
family=$(distribution_family)
kept=$(cache_dir)/sources/$(distribution_id)
wanted=$(grep -cv '^#' "$top/tests/specs/projects.tsv")

complete=no
if [ $bundled_only = no ]; then
  if [ $refresh = no ] && [ -f "$kept/SHA256SUMS" ] && ( cd "$kept" && sha256sum --quiet -c SHA256SUMS ) >&2; then
    say "sources: taken from $kept (fetched earlier)"
  else
    fetch_all "$kept" || true
  fi
  if [ -s "$kept/fetched.tsv" ]; then package_fetched "$kept"; fi
  [ "$(wc -l < "$work/sources.tsv")" -lt "$wanted" ] || complete=yes
fi
if [ $complete = no ]; then
  [ $bundled_only = yes ] || say "sources: not all upstream sources could be had; our own sample projects are added"
  package_bundled
fi
mv "$work/sources.tsv" "$out/sources.tsv"
while IFS=$'\t' read -r name version origin file; do
  say "sources: $(printf '%-10s %-16s %s' "$name" "$version" "$origin")"
done < "$out/sources.tsv"
