#!/bin/sh
# Makes a folder of Node packages outside the source tree, and prints its directory. Run it again at no
# cost: a finished one is left as it is.  make-node.sh [sbom|bench]
#
#   sbom   CycloneDX's own validator in JavaScript, and the test cases of the package URL specification (the
#          default): $HALLMARK_CACHE/node
#   bench  cdxgen with its build of trivy, which tests/lab/sbom-bench.py compares with: $HALLMARK_CACHE/node-bench
#
# $HALLMARK_CACHE is /var/cache/hallmark when unset. Exit 3: there is no npm here.
set -eu

cache=${HALLMARK_CACHE:-/var/cache/hallmark}
case ${1:-sbom} in
    sbom)
        packages='@cyclonedx/cyclonedx-library@10.3.0 ajv@8.20.0 ajv-formats@3.0.1 ajv-formats-draft2019@1.6.1 packageurl-js@1.2.1'
        folder=$cache/node
        ;;
    bench)
        packages='@cyclonedx/cdxgen@12.8.4'
        folder=$cache/node-bench
        ;;
    *)
        echo "error: no folder is called $1: want sbom or bench" >&2
        exit 2
        ;;
esac
# The stamp holds the pins it was made from, so that changing a pin makes it anew.
stamp=$folder/.hallmark-pins

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$packages" ]; then
    echo "$folder"
    exit 0
fi
if ! command -v npm >/dev/null; then
    echo 'make-node: npm is not installed (package npm)' >&2
    exit 3
fi

rm -rf "$folder"
mkdir -p "$folder"
echo '{"private":true}' >"$folder/package.json"
# Word splitting is wanted: one argument for each pinned package.
# shellcheck disable=SC2086
npm install --prefix "$folder" --silent --no-audit --no-fund --ignore-scripts $packages >&2
printf '%s' "$packages" >"$stamp"
echo "$folder"
