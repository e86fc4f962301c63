#!/usr/bin/env bash
# Builds one source package in a sandbox without network: build-srpm.sh SRPM OUT_DIR [CHALLENGE]
#
# A plain reference for tests, independent of our own rebuilder: this machine's /usr as build root, everything that could
# differ pinned (docs: the rebuilding chapter). OUT_DIR gets the binary packages. With CHALLENGE set to `other`, host name,
# time zone, umask, home and CPU count differ, which must not show in the result.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,/^set -/p' "$0" | sed -n 's/^# \{0,1\}//p' >&2; exit 2; }
srpm=$(realpath "$1"); mkdir -p "$2"; out=$(realpath "$2"); challenge=${3:-plain}
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir "$work/builddir" "$work/builddir/build" "$work/out"; cp "$srpm" "$work/in.src.rpm"

cat > "$work/macros" <<'END'
%_buildhost reproducible
%source_date_epoch_from_changelog 1
%use_source_date_epoch_as_buildtime 1
%clamp_mtime_to_source_date_epoch 1
%build_mtime_policy clamp_to_source_date_epoch
%dist %{nil}
END

host=plain zone=UTC home=/builddir mask=0022
first_cpu=$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')
pin=()
if [ "$challenge" = other ]; then host=elsewhere zone=Pacific/Kiritimati home=/nowhere mask=0077 pin=(taskset -c "$first_cpu"); fi

# bwrap as root would leave the build root's powers to the build: step down first.
drop=()
if [ "$(id -u)" = 0 ]; then
  chown -R 65533:65533 "$work"; chmod 0755 "$work"
  drop=(setpriv --reuid 65533 --regid 65533 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs)
fi
system=()
for path in /bin /sbin /lib /lib32 /lib64 /libx32; do
  if [ -L "$path" ]; then system+=(--symlink "$(readlink "$path")" "$path")
  elif [ -d "$path" ]; then system+=(--ro-bind "$path" "$path"); fi
done
( umask "$mask"; exec "${drop[@]}" "${pin[@]}" bwrap --unshare-all --hostname "$host" --uid 1000 --gid 1000 \
    --ro-bind /usr /usr "${system[@]}" --ro-bind /etc /etc --proc /proc --dev /dev --tmpfs /tmp --tmpfs /run --dir /var/tmp \
    --bind "$work/builddir" /builddir --ro-bind "$work/in.src.rpm" /builddir/in.src.rpm \
    --ro-bind "$work/macros" /builddir/in.macros --bind "$work/out" /builddir/out \
    --clearenv --setenv PATH /usr/bin:/usr/sbin:/bin:/sbin --setenv HOME "$home" --setenv LC_ALL C.UTF-8 \
    --setenv TZ "$zone" --setenv USER mockbuild --cap-drop ALL --die-with-parent --new-session --chdir /builddir \
    rpmbuild --nodeps --load /builddir/in.macros --define '_topdir /builddir/build' --define '_rpmdir /builddir/out' \
      --rebuild /builddir/in.src.rpm ) > "$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; exit 1; }
find "$work/out" -name '*.rpm' -exec cp -t "$out" -- {} +
