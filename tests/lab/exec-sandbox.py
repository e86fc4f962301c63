#!/usr/bin/env python3
"""A program for the rebuild backend `exec`: exec-sandbox.py JOB_DIR

Shows the contract (rebuild-verifier/src/sandbox/exec.rs) at work with bubblewrap, without control groups. A real one
would start a virtual machine, or hand the job to another host."""
import json, os, subprocess, sys

if sys.argv[1:] == ["--version"]:
    print("exec-sandbox 1")
    sys.exit()
folder = sys.argv[1]
with open(os.path.join(folder, "job.json")) as file:
    job = json.load(file)
assert job["schema"] == "hallmark-exec-job/1" and job["root"] == "/"
identity, out = job["identity"], os.path.join(folder, "exec-out")
os.mkdir(out)
words = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--hostname", identity["hostname"]]
words += ["--uid", str(identity["uid"]), "--gid", str(identity["gid"]), "--ro-bind", "/usr", "/usr"]
for name in ("bin", "sbin", "lib", "lib64"):
    if os.path.islink("/" + name):
        words += ["--symlink", os.readlink("/" + name), "/" + name]
words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/var/tmp", "--tmpfs", job["home"]]
for entry in job["inputs"]:
    words += ["--ro-bind", entry["path"], entry["inside"]]
words += ["--bind", out, job["out_inside"], "--clearenv", "--chdir", job["home"]]
for name, value in job["env"].items():
    words += ["--setenv", name, value]
limits = job["limits"]
drop = []
if os.getuid() == 0:
    os.chown(out, job["build_uid"], job["build_uid"])
    drop = ["setpriv", "--pdeathsig", "KILL", "--reuid", str(job["build_uid"]), "--regid", str(job["build_uid"]), "--clear-groups", "--no-new-privs"]
limit = ["prlimit", "--core=0", "--fsize=%d" % limits["disk_bytes"], "--nproc=%d" % limits["max_processes"]]
os.umask(int(identity["umask"], 8))
# Nothing of the caller's environment, nor what shells add to it.
status = subprocess.run(drop + limit + words + ["/usr/bin/env", "-u", "PWD", "--"] + job["command"], stdin=subprocess.DEVNULL).returncode
if status == 0:
    for place, _, names in os.walk(out):
        for name in names:
            path = os.path.join(place, name)
            if os.path.isfile(path) and not os.path.islink(path):
                target = os.path.join(job["out"], os.path.relpath(path, out))
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.rename(path, target)
with open(os.path.join(folder, "result.json"), "w") as file:
    json.dump({"exit_code": status if status >= 0 else 128 - status, "limits": "weak"}, file)
