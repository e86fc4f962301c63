#!/usr/bin/env bash
# Makes source packages of many small upstream projects, mechanically: many-sources.sh COUNT OUT_DIR
#
# The projects are the first COUNT (by the digest of their name, so by no taste) of this distribution's source packages
# that have a small upstream tarball and need nothing to build but a C compiler, make, Perl and Python. Their tarballs come
# by apt-get from the distribution's signed index and stay in the cache folder. One generic spec for all: unpack,
# ./configure, make, make install; where that does not work, the sources themselves are what the package holds.
# OUT_DIR gets the .src.rpm and `sources.tsv`: name, version, file. Debian's family only.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=scripts/lib.sh
. "$top/scripts/lib.sh"
[ $# = 2 ] || { sed -n '2,/^set -/p' "$0" | sed -n 's/^# \{0,1\}//p' >&2; exit 2; }
count=$1; mkdir -p "$2"; out=$(realpath "$2")
[ "$(distribution_family)" = debian ] || die "apt-get is needed, and this is no distribution of Debian's family"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
kept=$(cache_dir)/sources/many-$(distribution_id); mkdir -p "$kept"

# An apt state of our own whose sources are the machine's, as source entries.
mkdir -p "$work/parts" "$work/lists/partial" "$work/cache/archives/partial"
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
  [ -f "$list" ] || continue
  sed -E 's/^Types:.*/Types: deb-src/; s/^[[:space:]]*deb(-src)?([[:space:]])/deb-src\2/' "$list" > "$work/parts/$(basename "$list")"
done
cat > "$work/apt.conf" <<END
Dir::Etc::sourcelist "/dev/null"; Dir::Etc::sourceparts "$work/parts"; Dir::State::lists "$work/lists";
Dir::Cache "$work/cache"; Acquire::Languages "none"; Acquire::Retries "2"; APT::Sandbox::User "root";
#clear APT::Update::Post-Invoke; #clear APT::Update::Post-Invoke-Success;
END
export APT_CONFIG=$work/apt.conf

# Names of source packages, one a line, that fit; in the order of the digest of the name.
candidates() {
  apt-get -q update >&2
  for list in "$work"/lists/*_Sources*; do /usr/lib/apt/apt-helper cat-file "$list"; echo; done | python3 -c '
import hashlib, re, sys
plain = re.compile(r"^(debhelper|debhelper-compat|dh-exec|dh-autoreconf|autotools-dev|dpkg-dev|gcc|make|perl|python3|quilt|cdbs|po-debconf|gettext)$")
fit = set()
for stanza in sys.stdin.read().split("\n\n"):
    field = {}
    for line in stanza.split("\n"):
        if line[:1] == " ": field[key] += "\n" + line
        else: key, _, field[key] = line.partition(":")
    needs = [d.split()[0].split(":")[0] for k in ("Build-Depends", "Build-Depends-Indep") for d in field.get(k, "").replace("\n", " ").split(",") if d.strip()]
    tarballs = [l.split() for l in field.get("Checksums-Sha256", "").split("\n") if ".orig.tar." in l and not l.endswith(".asc")]
    if len(tarballs) == 1 and int(tarballs[0][1]) < 120_000 and needs and all(plain.match(n) for n in needs):
        fit.add(field["Package"].strip())
for name in sorted(fit, key=lambda n: hashlib.sha256(n.encode()).hexdigest()): print(name)'
}

spec() { # name, version, tarball
  cat <<END
%global debug_package %{nil}
%global __brp_python_bytecompile %{nil}
%global __requires_exclude .*
Name: $1
Version: $2
Release: 1
Summary: $1, packaged mechanically
License: see its sources
Source0: $3
%description
$1, packaged mechanically.
%prep
%setup -q -c -T
tar -xf %{SOURCE0} --strip-components=1 --no-same-owner
chmod -R u+rwX,go+rX-w .
%build
if [ -f configure ]; then sh ./configure --prefix=/usr --mandir=/usr/share/man || :; fi
if ls Makefile makefile GNUmakefile >/dev/null 2>&1; then make %{?_smp_mflags} CFLAGS='%{optflags}' PREFIX=/usr prefix=/usr || :; fi
%install
mkdir -p %{buildroot}
if ls Makefile makefile GNUmakefile >/dev/null 2>&1; then make install DESTDIR=%{buildroot} PREFIX=/usr prefix=/usr || :; fi
cd %{buildroot}
if [ -z "\$(find . -type f)" ] || find . -path './builddir*' | grep -q .; then
  rm -rf ./*; mkdir -p usr/share/$1
  tar -xf %{SOURCE0} -C usr/share/$1 --strip-components=1 --no-same-owner; chmod -R u+rwX,go+rX-w usr/share/$1
fi
# Names that a list of files cannot hold, and links that lead nowhere, are no part of the trial.
find . -name '*[][ *?{}%"'"'"'\\\\]*' -prune -exec rm -rf {} + ; find . -type l -delete
find . -type f -printf '"/%%P*"\n' | sort > %{_builddir}/%{name}-%{version}/files.list
%files -f files.list
%changelog
* Fri Jan 10 2025 Hallmark tests <tests@hallmark.invalid> - 1
- Packaged mechanically
END
}

[ -s "$kept/candidates" ] || { candidates > "$kept/candidates.new"; mv "$kept/candidates.new" "$kept/candidates"; }
say "sources: $(wc -l < "$kept/candidates") projects fit; $count are wanted"
: > "$work/sources.tsv"; made=0
while read -r name; do
  [ "$made" -lt "$count" ] || break
  if ! ls "$kept/$name"/*.orig.tar.* >/dev/null 2>&1; then
    compgen -G "$work/lists/*Sources*" > /dev/null || apt-get -q update >&2
    mkdir -p "$kept/$name"
    ( cd "$kept/$name" && apt-get -q -y source --download-only --tar-only "$name" ) > "$work/fetch.log" 2>&1 \
      || { say "sources: cannot fetch $name"; rm -rf "${kept:?}/$name"; continue; }
  fi
  tarball=$(find "$kept/$name" -name '*.orig.tar.*' ! -name '*.asc' | head -n 1)
  version=${tarball##*/}; version=${version#*_}; version=${version%.orig.tar.*}; version=${version//-/+}
  dir=$work/srpm; rm -rf "$dir"; mkdir -p "$dir/SOURCES" "$dir/SRPMS"
  cp "$tarball" "$dir/SOURCES/"; spec "$name" "$version" "$(basename "$tarball")" > "$dir/SOURCES/$name.spec"
  find "$dir/SOURCES" -type f -exec touch -d '2025-01-01T00:00:00Z' {} +
  ( cd "$dir" && LC_ALL=C.UTF-8 TZ=UTC rpmbuild -bs --nodeps --quiet --define '_topdir .' --define '_specdir ./SOURCES' \
      --define '_buildhost reproducible' --define 'source_date_epoch_from_changelog 1' \
      --define 'use_source_date_epoch_as_buildtime 1' "SOURCES/$name.spec" ) > "$work/rpm.log" 2>&1 \
    || { say "sources: no source package of $name: $(tail -n 1 "$work/rpm.log")"; continue; }
  mv "$dir"/SRPMS/*.src.rpm "$out/"
  printf '%s\t%s\t%s\n' "$name" "$version" "$(cd "$out" && ls "$name-$version"-1*.src.rpm)" >> "$work/sources.tsv"
  made=$((made + 1))
done < "$kept/candidates"
mv "$work/sources.tsv" "$out/sources.tsv"
say "sources: $made source packages in $out"
