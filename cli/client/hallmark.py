"""Hallmark: what dnf has downloaded is verified before anything is installed.

The work is done by `hallmark client check`, once for the whole transaction. Whatever goes wrong here refuses the
transaction: dnf only logs other exceptions of a plug-in than its own, and would go on.
"""

import json
import logging
import subprocess

import dnf
import dnf.exceptions

VERIFIER = "/usr/bin/hallmark"
# One look at some hundred packages takes seconds; a server that hangs must not hold dnf for ever.
LIMIT_SECS = 900


def urls_of(repo):
    """Where a repository takes its packages from."""
    single = [repo.metalink, repo.mirrorlist]
    return [str(url) for url in list(repo.baseurl or []) + single if url]


def transaction_of(base):
    """What comes in, as `hallmark client check` reads it."""
    packages = sorted(base.transaction.install_set, key=str)
    repos = {repo.id: repo for repo in base.repos.iter_enabled()}
    used = sorted({package.reponame for package in packages} & set(repos))
    return {
        "repositories": [{"id": name, "urls": urls_of(repos[name])} for name in used],
        "packages": [
            {"nevra": str(package), "repo_id": package.reponame, "paths": [package.localPkg()]}
            for package in packages
        ],
    }


def refuse(why):
    raise dnf.exceptions.Error("hallmark: " + why)


def check(transaction):
    """The verifier's report; raises when it cannot be had."""
    try:
        done = subprocess.run(
            [VERIFIER, "client", "check"],
            input=json.dumps(transaction).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=LIMIT_SECS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        refuse("cannot verify this transaction: %s" % error)
    said = done.stderr.decode(errors="replace").strip()
    try:
        report = json.loads(done.stdout.decode())
        may_go_on, message = report["may_go_on"], report["message"]
    except (ValueError, KeyError, TypeError):
        refuse("cannot verify this transaction: %s" % (said or "the verifier said nothing"))
    if done.returncode not in (0, 1) or may_go_on is not (done.returncode == 0):
        refuse("cannot verify this transaction: %s" % (said or "exit code %d" % done.returncode))
    return may_go_on, message


class Hallmark(dnf.Plugin):
    name = "hallmark"

    def pre_transaction(self):
        try:
            if not self.base.transaction or not self.base.transaction.install_set:
                return
            may_go_on, message = check(transaction_of(self.base))
        except dnf.exceptions.Error:
            raise
        except Exception as error:
            refuse("cannot verify this transaction: %r" % error)
        if not may_go_on:
            raise dnf.exceptions.Error(message)
        if message:
            logging.getLogger("dnf").warning(message)
