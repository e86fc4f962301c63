#!/usr/bin/env bash
# Makes the client root: a Debian forky system in the cache folder with the newest clients and independent checkers
# (dnf5, dnf, zypper, rpm 6, createrepo_c, sqv, gpg, cosign, sigsum-witness), for tests only: make-forky.sh [--rebuild]
#
# Prints the root's folder. A finished root is left as it is unless the list of packages below has changed; a new one is
# built aside and then takes the old one's place. The mirror is the one this machine's apt uses.
# Exit 3: cannot be made here (said why); the tests that need it skip by name.
set -euo pipefail

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

suite=forky
packages=(
  dnf5 dnf zypper rpm rpm2cpio createrepo-c   # clients, and the reference for repodata
  sqv gnupg openssl cosign                    # independent checks of signatures and statements
  sigsum-go                                   # a witness of other makers
  ca-certificates curl python3                # scripts inside the root
  xz-utils zstd bzip2 cpio                    # payloads and metadata by hand
)

cannot() { say "client root: not made: $1"; say "client root: tests with dnf5, rpm 6 and the other clients of $suite are skipped"; exit 3; }

root=$(cache_dir)/$suite
stamp_text=$({ printf '%s\n' "$suite" "${packages[@]}"; sed -n '/^build() {/,/^}/p' "${BASH_SOURCE[0]}"; } | sha256sum | cut -d ' ' -f 1)
stamp=$root/etc/hallmark-client-root
up_to_date() { [ -x "$root/usr/bin/dnf5" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$stamp_text" ]; }

# The address of the Debian mirror in this machine's apt configuration, the security and third-party archives left out.
mirror() {
  apt-get indextargets --format '$(ORIGIN)|$(RELEASE)|$(REPO_URI)' 'Created-By: Packages' \
    | awk -F '|' '$1 == "Debian" && $2 !~ /security/ && !found { print $3; found = 1 }'
}

# Builds the root at the new folder $1 from mirror $2. A mirror that lags behind is good enough for tests, so an expired
# index is taken; its signature is checked all the same.
build() {
  local mode=root
  [ "$(id -u)" = 0 ] || mode=unshare
  # A tarball in between: a user's own files come out of it, whoever builds; device nodes are bound in at run time.
  TMPDIR=$(dirname "$1") mmdebstrap --quiet --mode=$mode --variant=minbase --format=tar \
    --include="$(IFS=,; echo "${packages[*]}")" \
    --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Retries "2"' --aptopt='Acquire::Check-Valid-Until "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    "$suite" - "deb $2 $suite main" > "$1.tar" || return 1
  mkdir "$1" && tar -C "$1" --exclude='./dev/*' --numeric-owner -xf "$1.tar" || return 1
  rm "$1.tar"
  mkdir -p "$1/proc" "$1/dev" "$1/mnt"
}

# Removes the folders of earlier roots that no process lives in any more. Never crosses into what may be mounted there.
sweep() {
  local old
  for old in "$root".old.*; do
    [ -d "$old" ] || continue
    if [ -n "$(find /proc -maxdepth 2 -name root -lname "$old*" -print -quit 2>/dev/null)" ] || grep -q " $old/" /proc/*/mountinfo 2>/dev/null; then
      say "client root: $old is still in use; left for the next time"
    else
      chmod -R u+w "$old" 2>/dev/null || true
      rm -rf --one-file-system "$old"
    fi
  done
}

[ "${1-}" = --rebuild ] || ! up_to_date || { printf '%s\n' "$root"; exit 0; }
[ "$(distribution_family)" = debian ] || cannot "apt is needed, and this is no distribution of Debian's family"
command -v mmdebstrap >/dev/null || cannot "mmdebstrap is not installed (scripts/install-deps.sh test installs it)"
[ "$(id -u)" = 0 ] || grep -q "^$(id -un):" /etc/subuid 2>/dev/null || cannot "needs root, or a line for $(id -un) in /etc/subuid"
address=$(mirror)
if [ -z "$address" ] && [ "$(id -u)" = 0 ]; then apt-get -qq update >&2 || true; address=$(mirror); fi
[ -n "$address" ] || cannot "this machine's apt has no Debian mirror, or its lists are empty (apt-get update)"

mkdir -p "$(dirname "$root")"
exec 9> "$root.lock"; flock 9
# Another process may have made it while this one waited.
[ "${1-}" = --rebuild ] || ! up_to_date || { printf '%s\n' "$root"; exit 0; }
say "client root: building $root (a minute or two)"
fresh=$root.new.$$; trap 'rm -rf --one-file-system "$fresh" "$fresh.tar"' EXIT
build "$fresh" "$address" >&2 || cannot "mmdebstrap failed, see above"
printf '%s\n' "$stamp_text" > "$fresh/etc/hallmark-client-root"
[ ! -d "$root" ] || mv -T "$root" "$root.old.$$"
mv -T "$fresh" "$root"
sweep
say "client root: $root is ready ($(du -shx "$root" 2>/dev/null | cut -f 1))"
printf '%s\n' "$root"
