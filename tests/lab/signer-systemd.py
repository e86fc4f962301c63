#!/usr/bin/env python3
"""Run by signer-systemd.sh as a service of a systemd that is process 1: sets the signer up as the head of its unit
says, starts the unit, has a package signed over the socket, and tries what the sandbox must refuse from inside a
unit with the same settings. Writes `passed` to /srv/share/result when every check held."""

import base64
import ctypes
import json
import os
import pathlib
import re
import socket
import struct
import subprocess
import sys
import time

SHARE = pathlib.Path("/srv/share")
UNIT = "hallmark-signer.service"
STATE = pathlib.Path("/var/lib/hallmark-signer")
failed = []


def check(what, holds, more=""):
    print(f"{'ok    ' if holds else 'FAILED'} {what}{': ' + str(more) if more and not holds else ''}", flush=True)
    if not holds:
        failed.append(what)


def run(*words, **settings):
    return subprocess.run(words, capture_output=True, text=True, **settings)


def must(*words, **settings):
    done = run(*words, **settings)
    if done.returncode != 0:
        print(f"FAILED {' '.join(words)}: {done.stdout}{done.stderr}", flush=True)
        sys.exit(1)
    return done.stdout


def hands_credentials(sealed):
    """Whether this systemd gives a credential to a unit that has nothing else special: one that is run in namespaces
    cannot always do it."""
    unit = pathlib.Path("/etc/systemd/system/credential.service")
    unit.write_text(
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nUser=hallmark-signer\n"
        f"LoadCredentialEncrypted=passphrase:{sealed}\nExecStart=/bin/sh -c 'cat $CREDENTIALS_DIRECTORY/passphrase'\n"
        "StandardOutput=append:/srv/share/credential\nStandardError=append:/srv/share/credential\n"
    )
    must("systemctl", "daemon-reload")
    done = run("systemctl", "start", unit.name)
    return done.returncode == 0


def set_up():
    """What the unit's header says, with a policy that demands nothing: judging has tests of its own."""
    must("groupadd", "--system", "hallmark")
    must("useradd", "--system", "--no-create-home", "-g", "hallmark", "hallmark-signer")
    must("useradd", "--system", "--no-create-home", "-g", "hallmark", "hallmark")
    server = int(must("id", "-u", "hallmark"))
    etc = pathlib.Path("/etc/hallmark")
    (etc / "policy").mkdir(parents=True)
    (etc / "policy/policy.toml").write_text(
        "version = 1\nmin_rebuilders = 0\nmin_operators = 0\nsbom_formats = []\nrequire_provenance = false\n"
    )
    (etc / "hallmark.toml").write_text(
        "[signer]\nunsigned_policy = true\nkey_backend = \"encrypted-file\"\n"
        f"passphrase_file = \"/run/credentials/{UNIT}/passphrase\"\nallowed_uids = [{server}]\n"
    )
    must("install", "-d", "-m", "0700", "-o", "hallmark-signer", "-g", "hallmark", str(STATE))
    # The passphrase, encrypted for this unit alone; the plain one only for the one command that makes the keys.
    plain = pathlib.Path("/run/passphrase")
    plain.write_text("a long passphrase that nobody guesses\n")
    plain.chmod(0o600)
    must("chown", "hallmark-signer", str(plain))
    store = pathlib.Path("/etc/credstore.encrypted")
    store.mkdir(exist_ok=True)
    sealed = str(store / "hallmark-signer.passphrase")
    must("systemd-creds", "encrypt", "--with-key=host", "--name=passphrase", str(plain), sealed)
    must(
        "setpriv", "--reuid", "hallmark-signer", "--regid", "hallmark", "--clear-groups",
        "/usr/bin/hallmark-signer", "init", "--config", "/etc/hallmark/hallmark.toml",
        env={"HALLMARK_SIGNER__PASSPHRASE_FILE": str(plain), "PATH": "/usr/bin:/bin"},
    )
    if hands_credentials(sealed):
        plain.unlink()
        return server
    said = (SHARE / "credential").read_text() if (SHARE / "credential").exists() else ""
    print(f"skip   the passphrase as a credential: systemd hands none to a plain unit here: {said.strip()}", flush=True)
    own = etc / "passphrase"
    must("mv", str(plain), str(own))
    config = etc / "hallmark.toml"
    config.write_text(config.read_text().replace(f"/run/credentials/{UNIT}/passphrase", str(own)))
    return server


def ask(server, *requests):
    """Over the socket, as the server's user."""
    code = (
        "import json,socket,struct,sys\n"
        "s=socket.socket(socket.AF_UNIX); s.connect('/run/hallmark/signer.sock'); s.settimeout(60)\n"
        "def take(n):\n b=b''\n while len(b)<n:\n  p=s.recv(n-len(b))\n  if not p: sys.exit('closed')\n  b+=p\n return b\n"
        "out=[]\n"
        "for r in json.load(sys.stdin):\n"
        " j=json.dumps(r).encode(); s.sendall(struct.pack('>I',len(j))+j)\n"
        " out.append(json.loads(take(struct.unpack('>I',take(4))[0])))\n"
        "print(json.dumps(out))\n"
    )
    group = must("id", "-g", "hallmark").strip()
    done = run("setpriv", "--reuid", str(server), "--regid", group, "--clear-groups", "python3", "-c", code, input=json.dumps(requests))
    if done.returncode != 0:
        return [{"response": "none", "why": done.stderr}] * len(requests)
    return json.loads(done.stdout)


def header_length(data, at):
    """Bytes of the RPM header at `at` (RPM file format: magic, entries, bytes of data)."""
    entries, size = struct.unpack(">II", data[at + 8 : at + 16])
    return 16 + 16 * entries + size


def sign(server):
    data = (SHARE / "package.rpm").read_bytes()
    signature = header_length(data, 96)
    main = 96 + signature + (-signature % 8)
    end = main + header_length(data, main)
    identity, signed = ask(
        server,
        {"request": "identity"},
        {"request": "sign-package", "repo": "base", "head": base64.b64encode(data[:end]).decode(), "envelopes": [], "sboms": []},
    )
    if signed["response"] != "package-signed":
        check("a package is signed over the socket", False, signed)
        return
    made = base64.b64decode(signed["signature_header"])
    path = pathlib.Path("/run/signed.rpm")
    path.write_bytes(data[:96] + made + data[main:])
    key = pathlib.Path("/run/key.asc")
    key.write_text(identity["package_certificate"])
    db = "/run/rpmdb"
    must("rpmkeys", "--dbpath", db, "--import", str(key))
    done = run("rpmkeys", "--dbpath", db, "-Kv", "--define", "_pkgverify_level all", str(path))
    check("rpm takes the signed package", done.returncode == 0 and "Signature" in done.stdout, done.stdout + done.stderr)


def prop(name):
    return must("systemctl", "show", "-P", name, UNIT).strip()


def status_of(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def running(server):
    done = run("systemctl", "start", UNIT)
    journal = run("systemctl", "status", "--no-pager", UNIT).stdout
    check("the unit starts, and says so itself (Type=notify)", done.returncode == 0 and prop("ActiveState") == "active", done.stderr + journal)
    if done.returncode != 0:
        return
    pid = int(prop("MainPID"))
    status = {name: value.split() for name, value in status_of(pid).items()}
    check("it is no user but its own", set(status["Uid"]) == {must("id", "-u", "hallmark-signer").strip()}, status["Uid"])
    check("it has no rights", set(status["CapEff"] + status["CapBnd"] + status["CapAmb"]) == {"0" * 16}, status["CapBnd"])
    check("it can get none", status["NoNewPrivs"] == ["1"], status["NoNewPrivs"])
    check("system calls are filtered", status["Seccomp"] == ["2"], status["Seccomp"])
    limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
    if re.search(r"^Max locked memory +unlimited", limits, re.M):
        check("its memory is locked", int(status["VmLck"][0]) > 0, status["VmLck"])
    else:
        print("skip   its memory is locked: systemd may not raise the limit here (CAP_SYS_RESOURCE)", flush=True)
    net = os.readlink(f"/proc/{pid}/ns/net")
    check("it has a network of its own", net != os.readlink("/proc/self/ns/net"), net)
    names = re.findall(r"^\s*(\w+):", pathlib.Path(f"/proc/{pid}/net/dev").read_text(), re.M)
    check("with nothing in it but the loop", names == ["lo"], names)
    sign(server)
    stranger = run("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "python3", "-c",
                   "import socket; socket.socket(socket.AF_UNIX).connect('/run/hallmark/signer.sock')")
    check("another user does not reach the socket", "PermissionError" in stranger.stderr, stranger.stderr)
    must("systemctl", "reload", UNIT)
    time.sleep(1)
    check("a reload leaves it running", prop("ActiveState") == "active" and int(prop("MainPID")) == pid)
    must("systemctl", "kill", "-s", "KILL", UNIT)
    for _ in range(100):
        if prop("ActiveState") == "active" and int(prop("MainPID")) not in (0, pid):
            break
        time.sleep(0.1)
    check("it starts again after it was killed", prop("ActiveState") == "active" and int(prop("MainPID")) != pid)
    answer = ask(server, {"request": "last-release"})[0]
    check("and answers", answer["response"] == "last-release", answer)
    level = run("systemd-analyze", "security", "--no-pager", UNIT).stdout.strip().splitlines()
    found = re.search(r"(\d+\.\d+) (\w+)", level[-1] if level else "")
    check("systemd-analyze calls its exposure OK", bool(found) and float(found[1]) < 2.0, level[-1:] or "no answer")
    print(f"       systemd-analyze security: {found[0] if found else '?'}", flush=True)
    must("systemctl", "stop", UNIT)
    check("it stops when it is told to", prop("Result") == "success", prop("Result"))
    audit = run("/usr/bin/hallmark-signer", "audit", "verify", "--journal", str(STATE / "journal.jsonl"))
    check("its journal is whole", audit.returncode == 0, audit.stdout + audit.stderr)


def attempt(what):
    """Whether it was possible."""
    try:
        return what() is not False
    except (OSError, subprocess.SubprocessError):
        return False


def syscall(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")


def spawn(path):
    return subprocess.run([path], check=True, capture_output=True)


def inside():
    """In a unit with the settings of the shipped one: names of what was possible, one a line."""
    mine = STATE / "scratch"
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p

    def program():
        mine.write_text("#!/bin/sh\n")
        mine.chmod(0o700)
        return spawn(str(mine))

    def writable_code():
        at = libc.mmap(None, 4096, 7, 0x22, -1, 0)
        return at not in (None, ctypes.c_void_p(-1).value)

    def suid():
        mine.write_text("x")
        os.chmod(mine, 0o4700)

    deeds = {
        "write its state": lambda: mine.write_text("x") and None,
        "write beside its socket": lambda: pathlib.Path("/run/hallmark/x").write_text("x") and None,
        "write /etc": lambda: pathlib.Path("/etc/x").write_text("x"),
        "write /usr/bin": lambda: pathlib.Path("/usr/bin/x").write_text("x"),
        "write /var/lib": lambda: pathlib.Path("/var/lib/x").write_text("x"),
        "write a kernel setting": lambda: pathlib.Path("/proc/sys/kernel/hostname").write_text("x"),
        "write a control group": lambda: os.mkdir("/sys/fs/cgroup/x"),
        "look into /root": lambda: os.listdir("/root"),
        "see other processes": lambda: pathlib.Path("/proc/1/status").read_text(),
        "open an IPv4 socket": lambda: socket.socket(socket.AF_INET),
        "open an IPv6 socket": lambda: socket.socket(socket.AF_INET6),
        "open a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        "open a packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "open a raw disk": lambda: os.open("/dev/vda", os.O_RDONLY),
        "make a namespace": lambda: syscall(272, 0x10000000),
        "mount": lambda: syscall(165, b"none", b"/tmp", b"tmpfs", 0, None),
        "trace a process": lambda: syscall(101, 0, 0, 0, 0),
        "become root": lambda: os.setuid(0),
        "raise a limit": lambda: syscall(160, 7, ctypes.byref((ctypes.c_ulong * 2)(99999, 99999))),
        "make memory writable and executable": writable_code,
        "run a program of its own making": program,
        "set the suid bit": suid,
        "set the clock": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
        "name the host": lambda: socket.sethostname("x"),
        "load a kernel module": lambda: syscall(175, b"x", 1, b""),
        "read the kernel's log": lambda: syscall(103, 3, ctypes.create_string_buffer(64), 64),
        "restart the machine": lambda: syscall(169, 0xFEE1DEAD, 672274793, 0, None),
        "ask for realtime": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    }
    for name, deed in deeds.items():
        print(f"{'could' if attempt(deed) else 'could not'} {name}", flush=True)


def sandbox():
    text = pathlib.Path(f"/etc/systemd/system/{UNIT}").read_text()
    text = re.sub(r"^ExecStart=.*$", "ExecStart=/usr/bin/python3 /usr/bin/hallmark-probe.py inside", text, flags=re.M)
    text = re.sub(r"^Type=.*$", "Type=oneshot", text, flags=re.M)
    text = re.sub(r"^(Restart\w*|ExecReload)=.*$", "", text, flags=re.M)
    text = text.replace("[Install]", "[Service]\nStandardOutput=file:/srv/share/probe\nStandardError=file:/srv/share/probe\n[Install]")
    pathlib.Path("/etc/systemd/system/hallmark-probe.service").write_text(text)
    pathlib.Path("/usr/bin/hallmark-probe.py").write_text(pathlib.Path(__file__).read_text())
    must("systemctl", "daemon-reload")
    done = run("systemctl", "start", "hallmark-probe.service")
    said = (SHARE / "probe").read_text().splitlines() if (SHARE / "probe").exists() else []
    check("the sandbox can be tried", done.returncode == 0 and len(said) > 20, said or done.stderr)
    for line in said:
        may = "its state" in line or "beside its socket" in line
        check(f"in the sandbox one {line}", line.startswith("could not ") != may)


def main():
    check("systemd is process 1", pathlib.Path("/proc/1/comm").read_text().strip() == "systemd")
    server = set_up()
    running(server)
    sandbox()
    (SHARE / "result").write_text("failed" if failed else "passed")


if __name__ == "__main__":
    inside() if sys.argv[1:] == ["inside"] else main()
