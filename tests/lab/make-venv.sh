#!/bin/sh
# Makes the Python environment that holds the SBOM validators of the tests, outside the source
# tree, and prints its directory. Run it again at no cost: a finished one is left as it is.
#
# Where: $HALLMARK_VENV, else $HALLMARK_CACHE/venv, else /var/cache/hallmark/venv.
set -eu

packages='cyclonedx-python-lib[validation]==11.12.0 spdx-tools==0.8.5 ntia-conformance-checker==6.0.0'

venv=${HALLMARK_VENV:-${HALLMARK_CACHE:-/var/cache/hallmark}/venv}
# The stamp holds the pins it was made from, so that changing a pin makes it anew.
stamp=$venv/.hallmark-pins

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$packages" ]; then
    echo "$venv"
    exit 0
fi

rm -rf "$venv"
mkdir -p "$(dirname "$venv")"
python3 -m venv "$venv"
# Word splitting is wanted: one argument for each pinned package.
# shellcheck disable=SC2086
"$venv/bin/pip" install --quiet --no-input $packages >&2
"$venv/bin/python" - >&2 <<'PY'
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.parse_anything import parse_file

from ntia_conformance_checker import SbomChecker

JsonStrictValidator(SchemaVersion.V1_6)
JsonStrictValidator(SchemaVersion.V1_7)
PY
printf '%s' "$packages" >"$stamp"
echo "$venv"
