#!/usr/bin/env python3
"""What the sandbox adds to a build: bench-rebuild.py HALLMARK [SRPM] [--buildroot LOCK] [--runs N]

Builds one source package (none given: a small one of its own) N times (default 15) by plain rpmbuild with our macros and
options, and by `hallmark buildinfo`, turn by turn on the same machine, and prints the medians, the set-up
time (their difference: scratch space, sandbox, hashing, writing the record) and the most memory that one process of a build
took. With --buildroot only the second runs in the layer, which must be there already, so the difference is then one of
compilers too."""
import argparse, os, resource, shutil, statistics, subprocess, sys, tempfile, time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("hallmark")
parser.add_argument("srpm", nargs="?")
parser.add_argument("--buildroot")
parser.add_argument("--runs", type=int, default=15)
arguments = parser.parse_args()

MACROS = """%_buildhost reproducible
%source_date_epoch_from_changelog 1
%use_source_date_epoch_as_buildtime 1
%clamp_mtime_to_source_date_epoch 1
"""
SPEC = """Name: bench
Version: 1.0
Release: 1
Summary: Small
License: Apache-2.0
BuildArch: noarch
%description
Small.
%install
mkdir -p %{buildroot}/usr/share/bench
echo data >%{buildroot}/usr/share/bench/data
%files
/usr/share/bench
%changelog
* Fri Jan 10 2025 Tester <t@example.invalid> - 1
- First
"""


def timed(words, **options):
    """Milliseconds. Of CPU time nothing can be said: what ends inside a sandbox is not counted for its parents."""
    start = time.monotonic()
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)
    took = time.monotonic() - start
    if done.returncode != 0:
        sys.exit(done.stderr.decode())
    return took * 1000


def small_package(work):
    spec = os.path.join(work, "bench.spec")
    with open(spec, "w") as file:
        file.write(SPEC)
    subprocess.run(["rpmbuild", "-bs", "--define", "_topdir " + work, spec], check=True, stdout=subprocess.DEVNULL)
    return os.path.join(work, "SRPMS", "bench-1.0-1.src.rpm")


with tempfile.TemporaryDirectory() as work:
    macros = os.path.join(work, "macros")
    with open(macros, "w") as file:
        file.write(MACROS)
    env = {"PATH": "/usr/bin:/usr/sbin:/bin:/sbin", "HOME": work, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    extra = ["--buildroot", arguments.buildroot] if arguments.buildroot else []
    srpm = arguments.srpm or small_package(work)
    plain, recorded = [], []
    for number in range(arguments.runs):
        top = os.path.join(work, "plain%d" % number)
        plain.append(timed(["rpmbuild", "--nodeps", "--load", macros, "--rebuild", "--define", "_topdir " + top, srpm], env=env))
        out = os.path.join(work, "out%d" % number)
        recorded.append(timed([arguments.hallmark, "buildinfo", srpm, "-o", out, *extra]))
        shutil.rmtree(top)
        shutil.rmtree(out)
    line = "%-19s %6.0f ms (least %.0f)"
    print("rebuild of %s, medians of %d" % (os.path.basename(srpm), arguments.runs))
    for name, runs in (("plain rpmbuild", plain), ("hallmark buildinfo", recorded)):
        print(line % (name, statistics.median(runs), min(runs)))
    print(line % ("set-up", statistics.median(recorded) - statistics.median(plain), min(recorded) - min(plain)))
    print("%-19s %6.0f MiB" % ("largest process", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024))
