#!/usr/bin/env bash
# The main job on this machine, with nothing configured: scripts/demo.sh (called by `make demo`)
#
# Starts a server, a signer and two rebuilders with keys of their own, builds real packages, publishes them, and shows how
# each fared: published with its evidence, or held with the cause. Keeps serving until Ctrl-C.
#
#   EXIT=1              stop when done; exit status 1 if the main job did not come out as it must
#   PORT=8080           port to serve on; the next free one when it is taken
#   HALLMARK_DEMO_DIR   where everything is kept (default: target/demo); emptied at the start
#   HALLMARK_BIN_DIR    where the binaries are (default: target/debug)
set -euo pipefail

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib.sh
. "$top/scripts/lib.sh"
bin=${HALLMARK_BIN_DIR:-$top/target/debug}
demo=${HALLMARK_DEMO_DIR:-$top/target/demo}
started=$SECONDS
arch=$(uname -m)

step() { say ""; say "==> $* ($((SECONDS - started)) s)"; }

# --- processes ----------------------------------------------------------------------------------

declare -A pids=()

start() { # NAME COMMAND...
  local name=$1; shift
  # HALLMARK_CONFIG is all that a process needs; what else is set for this script is not its business.
  env -u HALLMARK_BIN_DIR -u HALLMARK_DEMO_DIR HALLMARK_LOG="${HALLMARK_LOG:-info}" "$@" >"$demo/log/$name.log" 2>&1 &
  pids[$name]=$!
}

stop_all() {
  local pid
  trap - EXIT INT TERM
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
}
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

show_logs() {
  local name
  for name in "${!pids[@]}"; do say "--- end of $name.log"; tail -n 15 "$demo/log/$name.log" >&2; done
}
fail() { show_logs; die "$@"; }

alive() { # every process still runs
  local name
  for name in "${!pids[@]}"; do
    kill -0 "${pids[$name]}" 2>/dev/null || fail "$name has ended" "its log is $demo/log/$name.log"
  done
}

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
  local port=${PORT:-8080}
  while ! port_is_free "$port"; do port=$((port + 1)); done
  printf '%s\n' "$port"
}

get() { curl -fsS --noproxy '*' --max-time 10 "$url$1"; }

wait_ready() {
  local tries
  for tries in $(seq 150); do
    get /readyz >/dev/null 2>&1 && return
    [ $((tries % 10)) = 0 ] && alive
    sleep 0.2
  done
  fail "the server did not become ready in 30 s"
}

# --- configuration ------------------------------------------------------------------------------

configure() {
  local name
  mkdir -p "$demo"/{keys,log,server,out}
  cat > "$demo/policy.toml" <<END
# Two rebuilders of two operators must agree bit for bit, and the builder is neither of them.
version = 1
min_rebuilders = 2
min_operators = 2
sbom_formats = ["cyclonedx-1.6", "spdx-2.3"]
require_provenance = true

END
  "$bin/hallmark-rebuilder" keygen --builder --name builder --operator demo \
    --out "$demo/keys/builder.key" >> "$demo/policy.toml"
  for name in a b; do
    "$bin/hallmark-rebuilder" keygen --name "rebuilder-$name" --operator "operator-$name" \
      --out "$demo/keys/rebuilder-$name.key" >> "$demo/policy.toml"
  done
  cat > "$demo/hallmark.toml" <<END
[server]
listen = "127.0.0.1:$port"
public_url = "$url"
title = "Hallmark demo"
data_dir = "$demo/server"
signer_socket = "$demo/signer.sock"
policy_file = "$demo/policy/policy.toml"

[[repo]]
name = "base"
arches = ["$arch"]

[signer]
socket = "$demo/signer.sock"
state_dir = "$demo/signer"
policy_file = "$demo/policy/policy.toml"
END
  sign_policy
  for name in a b; do
    cat > "$demo/rebuilder-$name.toml" <<END
[rebuilder]
server_url = "$url"
name = "rebuilder-$name"
operator = "operator-$name"
key_file = "$demo/keys/rebuilder-$name.key"
work_dir = "$demo/rebuilder-$name"
END
  done
}

# The policy is what two of three people say it is. Their keys would be kept offline.
sign_policy() {
  local name keys=()
  for name in alice bob carol; do
    "$bin/hallmark-signer" root keygen "$demo/keys/$name.key" >/dev/null
    keys+=(--key "$demo/keys/$name.pub")
  done
  "$bin/hallmark-signer" root init "$demo/policy" "${keys[@]}" --threshold 2 >/dev/null
  "$bin/hallmark-signer" root policy "$demo/policy" "$demo/policy.toml" >/dev/null
  for name in alice bob; do
    "$bin/hallmark-signer" root sign "$demo/policy" --key "$demo/keys/$name.key" >/dev/null
  done
  "$bin/hallmark-signer" root verify "$demo/policy" >&2
  "$bin/hallmark-signer" root pin "$demo/policy/1.root.json" --config "$demo/hallmark.toml" >/dev/null
}

start_all() {
  local name
  "$bin/hallmark-signer" init --config "$demo/hallmark.toml" >&2
  start signer "$bin/hallmark-signer" serve --config "$demo/hallmark.toml"
  start server "$bin/hallmark" serve --config "$demo/hallmark.toml"
  wait_ready
  for name in a b; do
    start "rebuilder-$name" "$bin/hallmark-rebuilder" run --config "$demo/rebuilder-$name.toml"
  done
}

# --- the main job -------------------------------------------------------------------------------

build_all() {
  local srpm count=0 total
  total=$(wc -l < "$demo/sources/sources.tsv")
  for srpm in "$demo"/sources/*.src.rpm; do
    count=$((count + 1))
    say "[$count/$total] building $(basename "$srpm")"
    "$bin/hallmark" buildinfo "$srpm" -o "$demo/out" --key "$demo/keys/builder.key" --name builder \
      >"$demo/log/build-$count.log" || fail "$(basename "$srpm") does not build"
  done
}

publish_all() {
  local token
  token=$("$bin/hallmark" token create --config "$demo/hallmark.toml" --name demo --scope publish --scope operate --expires-days 1)
  printf '%s\n' "$token" > "$demo/keys/token"
  # Exit 1: some were held. Which ones is looked at below.
  say "(One of these projects writes the clock into a file on purpose: it must be held.)"
  HALLMARK_TOKEN=$token "$bin/hallmark" publish --server "$url" --repo base --wait "$demo/out" || [ $? = 1 ]
}

builds_in() { "$bin/hallmark" status --server "$url" --stage "$1" --json | jq -r '.[].source' | sort; }

# What must come out: everything published but the project that is not reproducible, held for its clock.
judge() {
  local held published expected
  held=$(builds_in held)
  published=$(builds_in published | wc -l)
  expected=$(($(wc -l < "$demo/sources/sources.tsv") - $(wc -l <<< "$held")))
  [ -n "$held" ] || { say "error: nothing is held, but one project is not reproducible"; return 1; }
  grep -qvE '^(tree|clockwork)-' <<< "$held" && { say "error: held, but should not be: $held"; return 1; }
  [ "$published" = "$expected" ] || { say "error: $published builds are published, not $expected"; return 1; }
  "$bin/hallmark" status --server "$url" --stage held --json \
    | jq -e 'all(.[]; [.rebuilds[].causes[].code] | index("embedded-clock"))' >/dev/null \
    || { say "error: a held build does not name its embedded clock"; return 1; }
}

# --- a client -----------------------------------------------------------------------------------

dnf_here() { command -v dnf5 || command -v dnf-3 || command -v dnf || true; }

install_with_dnf() {
  local dnf package root=$demo/root as_root_inside=()
  dnf=$(dnf_here)
  if [ -z "$dnf" ]; then say "No DNF on this machine: the installation is left out."; return; fi
  # Without root, a user namespace in which this user is root does as well.
  if [ "$(id -u)" != 0 ]; then
    unshare --map-root-user true 2>/dev/null || { say "Neither root nor user namespaces: the installation is left out."; return; }
    as_root_inside=(unshare --map-root-user)
  fi
  package=$(get '/api/v1/builds?stage=published&limit=100' \
    | jq -r '[.[].packages[].nevra] | map(capture("^(?<n>.*)-[^-]*-[^-]*$").n) | (index("gzrt") // index("tally")) as $i | .[$i // 0]')
  step "$(basename "$dnf") installs $package into a throw-away root, checking both signatures"
  mkdir -p "$root"/{etc/yum.repos.d,var/log,var/cache}
  get /preview.repo > "$root/etc/yum.repos.d/hallmark.repo"
  "${as_root_inside[@]}" "$dnf" -y -q --installroot="$root" --setopt=reposdir="$root/etc/yum.repos.d" --setopt=cachedir="$root/var/cache/dnf" \
    --setopt=logdir="$root/var/log" --setopt=plugins=0 --releasever=1 install "$package" > "$demo/log/dnf.log" 2>&1 \
    || { tail -n 20 "$demo/log/dnf.log" >&2; fail "$dnf could not install $package"; }
  # DNF starts a gpg-agent for its keys; it would outlive this script.
  find "$root/var/cache" -type d -name pubring -exec gpgconf --homedir {} --kill gpg-agent \; 2>/dev/null || true
  say "installed: $(rpm --root "$root" --dbpath "$(rpm --eval '%_dbpath')" -qa 2>/dev/null | grep -v '^gpg-pubkey' | sort | tr '\n' ' ' || true)"
  step "the evidence for $package"
  "$bin/hallmark" evidence --server "$url" "$package" || fail "there is no evidence for $package"
}

# --- the story ----------------------------------------------------------------------------------

for tool in rpmbuild bwrap curl jq; do
  command -v "$tool" >/dev/null || die "$tool is not installed" "scripts/install-deps.sh demo installs what the demo needs"
done
[ -x "$bin/hallmark" ] || die "$bin/hallmark is not built" "run: make demo"
# Only what an earlier run made is emptied.
if [ -n "${HALLMARK_DEMO_DIR:-}" ] && [ -e "$demo" ] && [ ! -e "$demo/.hallmark-demo" ] && [ -n "$(ls -A "$demo" 2>/dev/null)" ]; then
  die "$demo has files that no demo made" "name an empty or new directory in HALLMARK_DEMO_DIR, or remove it yourself"
fi
rm -rf --one-file-system "$demo"
mkdir -p "$demo"
: > "$demo/.hallmark-demo"
port=$(free_port)
url=http://127.0.0.1:$port

step "keys, policy and configuration in ${demo#"$PWD"/}"
configure
step "server, signer, two rebuilders"
start_all
step "sources"
"$top/scripts/fetch-sources.sh" "$demo/sources"
step "builds, in a sandbox, with provenance"
build_all
step "publishing: SBOMs, two independent rebuilds each, judgement, signatures, release"
publish_all
result=0
judge || result=1
alive
"$bin/hallmark" status --server "$url" --stage held
install_with_dnf
step "done"
get /preview.repo >&2
say "web pages:   $url/"
say "logs:        ${demo#"$PWD"/}/log/"
[ "$result" = 0 ] && say "All went as it must: what two rebuilders confirmed is published, what they could not is held." \
  || show_logs

if [ "${EXIT-}" = 1 ]; then exit "$result"; fi
say "Serving until Ctrl-C."
while sleep 2; do alive; done
