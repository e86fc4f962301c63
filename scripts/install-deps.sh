#!/usr/bin/env bash
# Installs the system packages that Hallmark needs here: install-deps.sh [demo|test|bench]
#
#   demo    what building Hallmark and running the demo needs (the default)
#   test    that, and the clients and tools that the tests use
#   bench   that, and the peers that the benches measure against
#
# Debian and Fedora and their kin; as root, or through sudo. Installs only what is missing and touches nothing, the
# network included, when all is there. HALLMARK_NO_INSTALL=1: only say what is missing.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Level, Debian's names, Fedora's names. `-`: nothing to install there. `name?`: left out where the distribution
# has no such package; what needs it is then skipped by name.
packages_table() { cat <<'END'
demo	gcc libc6-dev	gcc glibc-devel	C parts of crates, and the packages that the demo builds
demo	make	make	-
demo	pkg-config	pkgconf-pkg-config	-
demo	rpm	rpm rpm-build redhat-rpm-config	rpmbuild
demo	bubblewrap	bubblewrap	the rebuild sandbox
demo	util-linux	util-linux	setpriv, unshare, prlimit
demo	zlib1g-dev	zlib-devel	headers for the package that needs zlib
demo	tar gzip bzip2 xz-utils	tar gzip bzip2 xz	upstream tarballs
demo	-	cpio dnf-command(download)?	upstream tarballs out of source packages
demo	ca-certificates	ca-certificates	-
demo	curl jq	curl jq	-
test	openssl zstd	openssl zstd	-
test	gnupg sqv?	gnupg2 sequoia-sqv?	independent checks of our signatures
test	strace	strace	what a run asks of the disk, and in which order
test	softhsm2	softhsm	a token for the PKCS #11 backend
test	swtpm tpm2-abrmd tpm2-tools libtpm2-pkcs11-1 libtpm2-pkcs11-tools libtss2-tcti-swtpm0? libtss2-tcti-swtpm0t64? libtss2-tcti-tabrmd0? dbus-daemon	swtpm tpm2-abrmd tpm2-tools tpm2-pkcs11 tpm2-pkcs11-tools dbus-daemon	a TPM in software, and its PKCS #11 module
test	dnf zypper?	dnf zypper?	clients of this machine
test	createrepo-c	createrepo_c	the reference for repodata
test	zchunk?	zchunk?	judges of zchunk files
test	nginx rsync	nginx rsync	a web server for copies of repositories, and what copies them
test	python3 python3-venv	python3	reference libraries in Python
test	nodejs? npm?	nodejs? npm?	the second validator of CycloneDX
test	chromium? fonts-dejavu-core?	chromium?	looking at the web pages with a real browser
test	diffoscope-minimal? faketime disorderfs?	diffoscope? libfaketime? disorderfs?	explaining packages that differ
test	user-mode-linux?	-	a kernel with control groups of version 2 only
test	shellcheck?	ShellCheck?	make lint
test	bsdutils	util-linux util-linux-script?	a terminal for programs that show bars on one
test	mmdebstrap? uidmap?	-	the root with the newest clients
bench	wrk	wrk	peers for serving
bench	dnf-plugins-core	dnf-command(reposync)?	peers for copying
bench	cpio	cpio	packages unpacked for other SBOM tools
bench	hyperfine valgrind	hyperfine valgrind	measuring
END
}

level=${1:-demo}
case $level in
  demo) levels="demo" ;;
  test) levels="demo test" ;;
  bench) levels="demo test bench" ;;
  -h|--help) sed -n '2,/^set -/p' "${BASH_SOURCE[0]}" | sed -n 's/^# \{0,1\}//p'; exit 0 ;;
  *) die "unknown level $level" "one of demo, test, bench" ;;
esac

# Names of column $1 (2: Debian, 3: Fedora) for the wanted levels, one a line.
names() {
  packages_table | awk -F '\t' -v column="$1" -v levels=" $levels " \
    'index(levels, " " $1 " ") && $column != "-" { n = split($column, name, " "); for (i = 1; i <= n; i++) print name[i] }'
}

installed_debian() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
installed_fedora() { rpm -q --quiet --whatprovides "$1" >/dev/null 2>&1; }
known_debian() { apt-cache show --no-all-versions "$1" >/dev/null 2>&1; }
known_fedora() { [ -n "$(dnf -q repoquery --whatprovides "$1" 2>/dev/null)" ]; }

refresh_debian() { as_root apt-get -q -o DPkg::Lock::Timeout=300 update; }
refresh_fedora() { :; }
install_debian() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
}
install_fedora() { as_root dnf -q -y install --setopt=install_weak_deps=False "$@"; }

family=$(distribution_family)
case $family in
  debian) column=2 ;;
  fedora) column=3 ;;
  *)
    say "hint: Debian's names: $(names 2 | tr -d '?' | tr '\n' ' ')"
    say "hint: Fedora's names: $(names 3 | tr -d '?' | tr '\n' ' ')"
    die "this distribution is neither of Debian's nor of Fedora's family" "install the packages above by hand, then set HALLMARK_NO_INSTALL=1" ;;
esac

log=$(mktemp); trap 'rm -f "$log"' EXIT
missing=() wanted=()
while read -r name; do
  # An optional program may have come another way than as a package.
  case $name in *\?) command -v "${name%\?}" >/dev/null && continue ;; esac
  "installed_$family" "${name%\?}" || missing+=("$name")
done < <(names $column)
if [ ${#missing[@]} = 0 ]; then say "packages: all of $level are installed"; exit 0; fi
if [ "${HALLMARK_NO_INSTALL-}" = 1 ]; then
  say "packages: missing, not installed as HALLMARK_NO_INSTALL is set: ${missing[*]%\?}"; exit 0
fi

# An optional package that the distribution lacks is missing at each run: no reason to refresh when there are lists.
required=no
for name in "${missing[@]}"; do case $name in *\?) ;; *) required=yes ;; esac; done
if [ $required = yes ] || ! "known_$family" make; then
  "refresh_$family" > "$log" 2>&1 || say "packages: the package lists could not be refreshed; trying with those at hand"
fi
for name in "${missing[@]}"; do
  case $name in
    *\?) if "known_$family" "${name%\?}"; then wanted+=("${name%\?}"); else say "packages: ${name%\?} is not in this distribution"; fi ;;
    *) wanted+=("$name") ;;
  esac
done
[ ${#wanted[@]} -gt 0 ] || exit 0
say "packages: installing ${wanted[*]}"
"install_$family" "${wanted[@]}" > "$log" 2>&1 || {
  tail -n 20 "$log" >&2
  die "the system packages could not be installed" "install them by hand: ${wanted[*]}"
}
