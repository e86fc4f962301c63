#!/bin/sh
# Is what a mirror serves what the channel points to now? With curl, jq and openssl alone.
#
#   check-fresh.sh URL CHANNEL/REPO/ARCH statement.pub
#
# statement.pub is the key at /keys/statement.pub of the repository's own server; have it from there once, and
# compare it by another way. Exit code 0: fresh; 1: not, with the reason.
set -eu
url=$1 place=$2 key=$3
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "not fresh: $*" >&2; exit 1; }

curl -fsS --max-filesize 4194304 -o "$dir/envelope" "$url/$place/freshness.json" || fail "no statement"
curl -fsS --max-filesize 4194304 -o "$dir/repomd" "$url/$place/repodata/repomd.xml" || fail "no repomd.xml"

# What was signed (DSSE): the words DSSEv1, then length and bytes of the payload's type, and of the payload.
type=$(jq -r .payloadType "$dir/envelope")
jq -r .payload "$dir/envelope" | base64 -d >"$dir/payload"
jq -r '.signatures[0].sig' "$dir/envelope" | base64 -d >"$dir/signature"
printf 'DSSEv1 %d %s %d ' "${#type}" "$type" "$(wc -c <"$dir/payload")" | cat - "$dir/payload" >"$dir/signed"
openssl dgst -sha256 -verify "$key" -signature "$dir/signature" "$dir/signed" >/dev/null ||
    fail "the statement's signature is not by $key"

said() { jq -r "$@" "$dir/payload"; }
[ "$(said .predicateType)" = https://hallmark.example/attestation/channel-freshness/v0.1 ] || fail "another statement"
[ "$(said .predicate.channel)" = "${place%%/*}" ] || fail "the statement is about $(said .predicate.channel)"
expires=$(said .predicate.expires)
[ "$(date -u +%s)" -lt "$(date -u -d "$expires" +%s)" ] || fail "the statement ended at $expires"
# shellcheck disable=SC2016 # $name is jq's own.
want=$(said --arg name "$place/repodata/repomd.xml" '.subject[] | select(.name == $name) | .digest.sha256')
found=$(sha256sum <"$dir/repomd" | cut -d ' ' -f 1)
[ "$found" = "$want" ] || fail "repomd.xml is $found; of release $(said .predicate.release) it is $want"
echo "fresh: $place is at release $(said .predicate.release), good until $expires"
