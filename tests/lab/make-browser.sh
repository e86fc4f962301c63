#!/bin/sh
# Makes the folder of Node packages that drive a real browser in the tests of the web pages, outside the source
# tree, and prints its directory: Playwright without browsers of its own (the system's Chromium is used), and
# axe-core, which checks accessibility. Run it again at no cost: a finished one is left as it is.
#
# Where: $HALLMARK_CACHE/browser, else /var/cache/hallmark/browser. Exit 3: there is no npm here.
set -eu

packages='playwright-core@1.65.1 axe-core@4.14.1'

folder=${HALLMARK_CACHE:-/var/cache/hallmark}/browser
# The stamp holds the pins it was made from, so that changing a pin makes it anew.
stamp=$folder/.hallmark-pins

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$packages" ]; then
    echo "$folder"
    exit 0
fi
if ! command -v npm >/dev/null; then
    echo 'make-browser: npm is not installed (package npm)' >&2
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
