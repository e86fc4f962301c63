#!/usr/bin/env bash
# Builds librepo and libsolv with zchunk, from Debian's own sources, for the dnf5 of the client root, and prints their folder:
# make-zchunk-dnf.sh
#
# Debian builds both without zchunk, so no client there opens a .zck file. In $HALLMARK_CACHE/zchunk-dnf (see scripts/lib.sh):
# lib/ with the two libraries, for LD_LIBRARY_PATH, and zchunk-cachedir.so, for LD_PRELOAD (see zchunk-cachedir.c). libsolv is
# configured as Debian does it and reads chunks through libzck, as Fedora's does. A finished folder is left as it is; for
# another client root it is made anew. The root stays as it is: all is installed and compiled in a copy, which is removed at the end.
# Some 100 MB are fetched and a minute is compiled. Of two runs at once the second one waits.
# Exit 3: cannot be done here (said why).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"

compiling=(gcc libc6-dev make cmake pkgconf dpkg-dev libzck-dev)
for_librepo=(libglib2.0-dev libxml2-dev libcurl4-gnutls-dev libssl-dev libgpgme-dev libselinux1-dev)
for_libsolv=(librpm-dev libexpat1-dev zlib1g-dev liblzma-dev libbz2-dev libzstd-dev)

cannot() { say "dnf5 with zchunk: not built: $1"; exit 3; }

[ "$(id -u)" = 0 ] || cannot "compilers go into a copy of the client root, which takes root rights"
root=$("$here/../../scripts/make-forky.sh") || cannot "there is no client root"
folder=$(cache_dir)/zchunk-dnf

# Version of the source package that a package of the root was made from.
source_version() { chroot "$root" dpkg-query -W -f '${source:Version}' "$1"; }
librepo=$(source_version librepo0) && libsolv=$(source_version libsolvext1) || cannot "the client root has no librepo0 or libsolvext1"
pins="librepo $librepo libsolv $libsolv $(cat "${BASH_SOURCE[0]}" "$here/zchunk-cachedir.c" | sha256sum)"
stamp=$folder/.hallmark-pins
up_to_date() { [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$pins" ]; }

if up_to_date; then echo "$folder"; exit 0; fi
exec 9> "$folder.lock"; flock 9
if up_to_date; then echo "$folder"; exit 0; fi

work=$folder.new.$$
trap 'rm -rf --one-file-system "$work"' EXIT
rm -rf --one-file-system "$folder".new.*
mkdir -p "$work/lib" "$work/build"
say "dnf5 with zchunk: copying the client root"
# What is in it, never the folder itself: a root that is a symbolic link would be copied as one, and changed through it.
mkdir "$work/root"
cp -a --reflink=auto --one-file-system "$root/." "$work/root/"
[ ! "$work/root" -ef "$root" ] || cannot "the copy of the client root is the root itself"
cp -L /etc/resolv.conf "$work/root/etc/resolv.conf"
# A command in the copy, where /mnt/build is the folder for building.
in_copy() { "$here/in-forky.sh" --bind "$work/build" /mnt/build "$work/root" "$@"; }

# The mirror and suite of the root; a source that has left the suite may still be in another one.
lists=$work/root/etc/apt/sources.list
read -r address suite < <(sed -nE 's/^deb (\[[^]]*\] )?([^ ]+) ([^ ]+) .*/\2 \3/p' "$lists") || cannot "the client root has no apt source"
for one in "$suite" sid stable; do printf 'deb-src %s %s main\n' "$address" "$one"; done > "$lists.d/sources.list"
apt=(apt-get -q -o Acquire::Check-Valid-Until=false -o Acquire::Retries=2)
say "dnf5 with zchunk: installing compilers and headers into the copy"
in_copy "${apt[@]}" update >&2 || cannot "the package lists could not be fetched"
in_copy env DEBIAN_FRONTEND=noninteractive "${apt[@]}" -y install --no-install-recommends \
  "${compiling[@]}" "${for_librepo[@]}" "${for_libsolv[@]}" >&2 || cannot "the packages could not be installed"

# Fetches and unpacks source package $1, in version $2 or, where the mirror has lost that, the newest it has.
fetch() {
  local version others
  others=$(in_copy apt-cache showsrc "$1" | sed -n 's/^Version: //p' | sort -Vru)
  for version in "$2" $others; do
    # What a broken try has left.
    rm -rf --one-file-system "$work/build/$1"-*
    # shellcheck disable=SC2016
    if in_copy sh -c 'cd /mnt/build && "$@"' fetch "${apt[@]}" source "$1=$version" >&2; then
      [ "$version" = "$2" ] || say "dnf5 with zchunk: the mirror has no $1 $2 any more; $version is taken"
      mv "$(find "$work/build" -mindepth 1 -maxdepth 1 -type d -name "$1-*")" "$work/build/$1"
      return
    fi
  done
  cannot "the mirror has no source of $1"
}
fetch librepo "$librepo"
fetch libsolv "$libsolv"

# Configures and compiles $1 with the further CMake options; target $2.
compile() {
  local name=$1 target=$2; shift 2
  say "dnf5 with zchunk: compiling $name"
  in_copy cmake -S "/mnt/build/$name" -B "/mnt/build/$name.out" -DCMAKE_C_FLAGS='-O1 -w' "$@" >&2
  in_copy cmake --build "/mnt/build/$name.out" --target "$target" -j "$(nproc)" >&2
}
compile librepo librepo -DWITH_ZCHUNK=ON -DENABLE_TESTS=OFF -DENABLE_DOCS=OFF -DENABLE_EXAMPLES=OFF -DENABLE_PYTHON=OFF
# What Debian sets, but for the bindings: the layout of its structures follows from some of it.
mapfile -t as_debian < <(grep -oE -- '-D[A-Z0-9_]+=[A-Z0-9]+' "$work/build/libsolv/debian/rules" | grep -vE 'PERL|PYTHON|RUBY|TCL|LUA|CMAKE')
[ ${#as_debian[@]} -ge 10 ] || cannot "libsolv's debian/rules does not show its settings any more"
compile libsolv libsolvext "${as_debian[@]}" -DWITH_SYSTEM_ZCHUNK=ON

cp "$here/zchunk-cachedir.c" "$work/build/"
# shellcheck disable=SC2016
in_copy sh -ec 'cd /mnt/build && gcc -shared -fPIC -O1 -o zchunk-cachedir.so zchunk-cachedir.c -Ilibrepo.out -Ilibrepo.out/librepo -Ilibrepo \
  $(pkg-config --cflags glib-2.0 libxml-2.0 libcurl zck)' >&2
cp -L "$work/build/librepo.out/librepo/librepo.so.0" "$work/build/libsolv.out/ext/libsolvext.so.1" "$work/build/zchunk-cachedir.so" "$work/lib/"
for library in librepo.so.0 libsolvext.so.1; do
  grep -q libzck "$work/lib/$library" || cannot "$library was built without zchunk"
done
# They must fit the root's own dnf5; what it writes stays in the copy.
cp -r "$work/lib" "$work/build/try"
in_copy env LD_LIBRARY_PATH=/mnt/build/try LD_PRELOAD=/mnt/build/try/zchunk-cachedir.so HALLMARK_ZCHUNK_CACHE=/tmp dnf5 --version >&2 \
  || cannot "dnf5 does not run with the new libraries"

rm -rf --one-file-system "$work/root" "$work/build"
printf '%s' "$pins" > "$work/.hallmark-pins"
rm -rf --one-file-system "$folder.old"
[ ! -d "$folder" ] || mv -T "$folder" "$folder.old"
mv -T "$work" "$folder"
rm -rf --one-file-system "$folder.old"
echo "$folder"
