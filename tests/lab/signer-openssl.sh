#!/usr/bin/env bash
# Builds the signer with OpenSSL (cargo feature `crypto-openssl`) and runs its tests: signer-openssl.sh [test|bench] [ARGUMENT...]
#
# Further arguments are cargo's, as in `test --test interop`. It is done in the client root, whose OpenSSL is new enough
# (3.5), with this machine's Rust toolchain and without network; what it takes to compile there (clang, OpenSSL's headers)
# is installed first, as root. A target folder of its own beside the root keeps what was built: the first run takes
# several minutes. Tests whose tools the root lacks skip by name, and so do those with checkers of `tests/oracles`, which
# would take longer to build than all else.
# Exit 3: cannot be done here (said why).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=scripts/lib.sh
. "$here/scripts/lib.sh"

packages=(libssl-dev clang libclang-dev pkg-config gcc libc6-dev)

cannot() { say "signer with OpenSSL: not built: $1"; exit 3; }

# Dependencies are built once for both; our own crates need no optimising for tests.
quick=()
for crate in repo-model hallmark-signer; do
  quick+=(--config "profile.release.package.$crate.opt-level=0" --config "profile.release.package.$crate.debug=false")
done
task=${1:-test}; shift || true
case $task in
  test) work=(test --release --no-fail-fast "${quick[@]}") ;;
  bench) work=(bench --bench sign) ;;
  *) die "unknown task $task" "one of test, bench" ;;
esac

[ "$(id -u)" = 0 ] || cannot "what it needs is installed into the client root by root only"
command -v bwrap >/dev/null || cannot "bubblewrap is not installed (scripts/install-deps.sh)"
root=$("$here/scripts/make-forky.sh") || cannot "there is no client root"

missing=()
for name in "${packages[@]}"; do
  [ "$(chroot "$root" dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
done
if [ ${#missing[@]} -gt 0 ]; then
  log=$(mktemp); trap 'rm -f "$log"' EXIT
  say "client root: installing ${missing[*]}"
  { cp -L /etc/resolv.conf "$root/etc/resolv.conf"; chroot "$root" apt-get -q -o Acquire::Check-Valid-Until=false update
    DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get -q -y install --no-install-recommends "${missing[@]}"; } > "$log" 2>&1 \
    || { tail -n 20 "$log" >&2; cannot "its packages could not be installed"; }
fi

cd "$here"
cargo fetch --quiet --locked
toolchain=$(rustc --print sysroot)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
target=$(cache_dir)/openssl-target
mkdir -p "$target"
say "signer with OpenSSL: $(chroot "$root" openssl version)"
# The root itself stays as it is: everything else is mounted below a folder in memory.
exec bwrap --die-with-parent --unshare-net --ro-bind "$root" / --dev /dev --proc /proc --tmpfs /tmp --tmpfs /var/tmp --tmpfs /mnt \
  --ro-bind "$here" /mnt/hallmark --ro-bind "$toolchain" /mnt/rust --bind "$cargo_home" /mnt/cargo --bind "$target" /mnt/target \
  --tmpfs /mnt/hallmark/tests/oracles \
  --chdir /mnt/hallmark --setenv HOME /tmp --setenv CARGO_HOME /mnt/cargo --setenv CARGO_TARGET_DIR /mnt/target \
  --setenv PATH /mnt/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin --unsetenv CI --unsetenv HALLMARK_FORKY \
  cargo "${work[@]}" --offline --locked -p hallmark-signer --no-default-features --features crypto-openssl "$@"
