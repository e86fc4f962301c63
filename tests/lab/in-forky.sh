#!/usr/bin/env bash
# Runs a command in a root folder such as the client root: in-forky.sh [--bind DIR PLACE]... ROOT COMMAND [ARGUMENT]...
#
# The command gets its own mount namespace with /proc and /dev, this machine's network (loopback included), a clean
# environment, and each DIR of this machine at PLACE below /mnt. Nothing stays mounted, and runs do not see one another's
# mounts. Exit code and output are the command's; it takes this process's place, so a signal sent here reaches it.
# As root by chroot; else by bwrap as the root of a user namespace, where only files of root's own can be unpacked.
set -euo pipefail

usage() { sed -n '2,/^set -/p' "$0" | sed -n 's/^# \{0,1\}//p' >&2; exit 2; }
binds=()
while [ "${1-}" = --bind ]; do
  [ $# -ge 3 ] || usage
  case $3 in /mnt/*) ;; *) echo "error: $3 is not below /mnt" >&2; exit 2 ;; esac
  binds+=("$(realpath -e "$2")" "$3"); shift 3
done
[ $# -ge 2 ] || usage
root=$(realpath -e "$1"); shift
[ -d "$root/usr" ] || { echo "error: $root is no system root" >&2; exit 2; }

environment=(PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 TZ=UTC "no_proxy=*" "TERM=${TERM:-dumb}")
if [ "$(id -u)" = 0 ]; then
  exec unshare --mount --propagation private bash -c '
    set -euo pipefail
    root=$1 count=$2; shift 2
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=0755 tmpfs "$root/mnt"
    while [ "$count" -gt 0 ]; do
      mkdir -p "$root$2"; mount --bind "$1" "$root$2"; shift 2; count=$((count - 1))
    done
    exec chroot "$root" /usr/bin/env -i "$@"
  ' in-forky "$root" $(( ${#binds[@]} / 2 )) "${binds[@]}" "${environment[@]}" "$@"
fi
mounts=()
for ((i = 0; i < ${#binds[@]}; i += 2)); do mounts+=(--bind "${binds[i]}" "${binds[i+1]}"); done
exec bwrap --unshare-user --uid 0 --gid 0 --cap-add ALL --bind "$root" / --proc /proc --dev /dev --tmpfs /mnt "${mounts[@]}" \
  --die-with-parent --chdir / /usr/bin/env -i "${environment[@]}" "$@"
