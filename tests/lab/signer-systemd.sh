#!/usr/bin/env bash
# Starts the shipped hallmark-signer.service under a real systemd and tries its sandbox: signer-systemd.sh [RPM]
#
# systemd runs as process 1 of namespaces of its own, on this machine's root with everything that is written kept
# in memory; nothing of the machine is changed. The unit is the shipped one; only the line that it has in store for
# the passphrase of the keys is switched on. What is asked inside is in signer-systemd.py beside this. RPM is the
# package that is signed; without it, one of the test packages.
# Exit 3: cannot be done here (said why).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=scripts/lib.sh
. "$here/scripts/lib.sh"

cannot() { say "signer under systemd: not run: $1"; exit 3; }

systemd=/lib/systemd/systemd

# Inside: builds the root in memory, then becomes systemd.
become_systemd() {
  local work=$1 root=$1/root
  mount --make-rprivate /
  mount -t tmpfs tmpfs "$work"
  mkdir "$work/upper" "$work/scratch" "$root"
  mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/scratch" "$root"
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  mount -t sysfs sysfs "$root/sys"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  mount -t tmpfs tmpfs "$root/run"
  mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
  mkdir -p "$root/srv/share"
  mount --bind "$2" "$root/srv/share"
  # Nothing of this machine's own services.
  rm -rf "$root"/etc/systemd/system/*
  cp "$root/srv/share/hallmark-signer" "$root/usr/bin/hallmark-signer"
  cp "$root/srv/share/test.service" "$root/srv/share/test.target" "$root/srv/share/hallmark-signer.service" \
    "$root/etc/systemd/system/"
  cd "$root"
  pivot_root . mnt
  umount -l /mnt
  # As systemd does itself where it believes the machine to be its own: what it mounts for a unit must arrive.
  mount --make-rshared /
  exec env -i container=hallmark-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    "$systemd" --system --unit=test.target --log-target=kmsg --log-level=warning
}

if [ "${1-}" = --inside ]; then become_systemd "$2" "$3"; fi

[ "$(id -u)" = 0 ] || cannot "namespaces with a process 1 of their own are root's"
[ -x "$systemd" ] || cannot "systemd is not installed"
for tool in unshare python3 rpmkeys setpriv useradd; do
  command -v "$tool" >/dev/null || cannot "$tool is not installed"
done
signer=${HALLMARK_BIN_DIR:-$here/target/debug}/hallmark-signer
[ -x "$signer" ] || cannot "$signer is not built (make build)"
rpm=${1:-$(find "${HALLMARK_TEST_RPMS:-$here/target/test-rpms}" -name '*.rpm' ! -name '*.src.rpm' 2>/dev/null | sort | head -n 1)}
[ -n "$rpm" ] || cannot "there is no test package (make test-packages)"

share=$(mktemp -d); work=$(mktemp -d)
# A group of its own, so that what systemd makes there can be removed.
group=""
for parent in /sys/fs/cgroup /sys/fs/cgroup/unified; do
  [ -f "$parent/cgroup.controllers" ] || continue
  group=$parent/hallmark-test-$$
  mkdir "$group" 2>/dev/null || group=""
  break
done
clean() {
  rm -rf "$share"; rmdir "$work" 2>/dev/null || true
  [ -z "$group" ] || find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
}
trap clean EXIT
[ -n "$group" ] || cannot "there is no cgroup2 hierarchy to put it in"

# mktemp's folder is closed to others, and those inside are others.
chmod 0755 "$share"
cp "$signer" "$share/hallmark-signer"; cp "$rpm" "$share/package.rpm"
cp "$here/tests/lab/signer-systemd.py" "$share/test.py"
sed 's|^#\(LoadCredentialEncrypted=passphrase:\)|\1|' "$here/docs/systemd/hallmark-signer.service" > "$share/hallmark-signer.service"
printf '[Unit]\nDefaultDependencies=no\nWants=test.service\n' > "$share/test.target"
cat > "$share/test.service" <<'UNIT'
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/usr/bin/python3 /srv/share/test.py
ExecStopPost=/bin/systemctl --force --force poweroff
StandardOutput=append:/srv/share/said
StandardError=append:/srv/share/said
TimeoutStartSec=100
UNIT

say "signer under systemd: $("$systemd" --version | head -n 1)"
bash -c 'echo $$ > "$1/cgroup.procs"; shift; exec "$@"' in-group "$group" \
  timeout -k 5 120 unshare --pid --fork --mount --cgroup --ipc --uts --net \
  "${BASH_SOURCE[0]}" --inside "$work" "$share" > "$share/boot" 2>&1 || true
cat "$share/said" 2>/dev/null || { cat "$share/boot" >&2; cannot "systemd did not start as process 1 here"; }
[ "$(cat "$share/result" 2>/dev/null)" = passed ] || die "the signer under systemd: a check failed" "the line that says FAILED above"
