#!/usr/bin/env bash
# Builds siguldry from the package registry, outside the source tree, and prints its folder: make-siguldry.sh
#
# In $HALLMARK_CACHE/siguldry (see scripts/lib.sh): bin/ with server, bridge, signer and client, lib/ with the PKCS #11
# module. A finished one is left as it is. Nothing of it is optimised: it is for tests. The module is built for this
# machine, whose signer loads it; the programs want OpenSSL 3.5, and where this machine has an older one they are built in
# the client root, as root, and run with the root's libraries.
# Exit 3: cannot be done here (said why).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=scripts/lib.sh
. "$here/scripts/lib.sh"

programs=0.9.0
module=4.0.0
pins="siguldry $programs siguldry-pkcs11 $module"
folder=$(cache_dir)/siguldry
# The stamp holds the pins it was made from, so that changing a pin makes it anew.
stamp=$folder/.hallmark-pins
target=${SIGULDRY_TARGET:-$folder/target}
in_root=(libssl-dev libsqlite3-dev clang libclang-dev pkg-config gcc libc6-dev)

cannot() { say "siguldry: not built: $1"; exit 3; }

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$pins" ]; then echo "$folder"; exit 0; fi

command -v jq >/dev/null || cannot "jq is not installed (scripts/install-deps.sh)"
pkg-config --exists openssl \
  || cannot "OpenSSL's headers are not installed (Debian: libssl-dev; Fedora: openssl-devel)"
compgen -G '/usr/lib/llvm*/lib/libclang*.so*' >/dev/null || compgen -G '/usr/lib64/libclang.so*' >/dev/null \
  || cannot "libclang is not installed (Debian: clang libclang-dev; Fedora: clang-devel)"

rm -rf "${folder:?}/bin" "${folder:?}/lib" "$folder/real" "$folder/source" "$stamp"
mkdir -p "$folder/bin" "$folder/lib" "$folder/real" "$folder/source/all/src" "$target"
cd "$folder"

# Both sources as somebody's dependencies, then each by its own lock file.
cat > source/all/Cargo.toml <<END
[package]
name = "all"
version = "0.0.0"
edition = "2024"
[dependencies]
siguldry = "=$programs"
siguldry-pkcs11 = "=$module"
[workspace]
END
: > source/all/src/lib.rs
cargo metadata --quiet --format-version 1 --manifest-path source/all/Cargo.toml \
  | jq -r '.packages[] | select(.name == "siguldry" or .name == "siguldry-pkcs11") | "\(.name) \(.manifest_path)"' \
  | while read -r name manifest; do cp -r "$(dirname "$manifest")" "source/$name"; done
for name in siguldry siguldry-pkcs11; do cargo fetch --quiet --locked --manifest-path "source/$name/Cargo.toml"; done

cargo build --quiet --locked --manifest-path source/siguldry-pkcs11/Cargo.toml --target-dir "$target/here" >&2
cp "$target/here/debug/libsiguldry_pkcs11.so" lib/

names=(siguldry-server siguldry-bridge siguldry-signer siguldry-client)

native() {
  pkg-config --exists sqlite3 \
    || cannot "SQLite's headers are not installed (Debian: libsqlite3-dev; Fedora: sqlite-devel)"
  cargo build --quiet --locked --manifest-path source/siguldry/Cargo.toml --target-dir "$target/here" --bins >&2
  for name in "${names[@]}"; do cp "$target/here/debug/$name" bin/; done
}

in_client_root() {
  local root cargo_home loader name
  [ "$(id -u)" = 0 ] || cannot "its server wants OpenSSL 3.5, and only root can install that into the client root"
  command -v bwrap >/dev/null || cannot "bubblewrap is not installed (scripts/install-deps.sh)"
  root=$("$here/scripts/make-forky.sh") || cannot "there is no client root"
  chroot "$root" dpkg-query -W "${in_root[@]}" >/dev/null 2>&1 || {
    say "client root: installing ${in_root[*]}"
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    { chroot "$root" apt-get -q -o Acquire::Check-Valid-Until=false update
      DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get -q -y install --no-install-recommends "${in_root[@]}"; } >&2 \
      || cannot "its packages could not be installed"
  }
  cargo_home=${CARGO_HOME:-$HOME/.cargo}
  mkdir -p "$target/root"
  # The root itself stays as it is: everything else is mounted below a folder in memory.
  bwrap --die-with-parent --unshare-net --ro-bind "$root" / --dev /dev --proc /proc --tmpfs /tmp --tmpfs /mnt \
    --bind "$folder/source/siguldry" /mnt/source --ro-bind "$(rustc --print sysroot)" /mnt/rust --bind "$cargo_home" /mnt/cargo \
    --bind "$target/root" /mnt/target --chdir /mnt/source --setenv HOME /tmp --setenv CARGO_HOME /mnt/cargo \
    --setenv CARGO_TARGET_DIR /mnt/target --setenv PATH /mnt/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    cargo build --quiet --offline --locked --bins >&2
  loader=$(compgen -G "$root/lib64/ld-linux-*.so.*" || compgen -G "$root/lib/ld-linux-*.so.*")
  for name in "${names[@]}"; do
    cp "$target/root/debug/$name" real/
    # Programs of one distribution on another: with its loader and its libraries.
    printf '#!/bin/sh\nexec %s --library-path %s %s "$@"\n' \
      "$loader" "$(dirname "$(find "$root/usr/lib" -name libcrypto.so.3 -print -quit)")" "$folder/real/$name" > "bin/$name"
    chmod +x "bin/$name"
  done
}

if pkg-config --atleast-version=3.5 openssl; then native; else in_client_root; fi
rm -rf source
[ "$target" != "$folder/target" ] || rm -rf "$target"
printf '%s' "$pins" > "$stamp"
echo "$folder"
