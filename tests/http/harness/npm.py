# SPDX-License-Identifier: Apache-2.0
"""Programs and libraries of npm, for tests that ask somebody else's code whether we are right.

    packages = npm.install("standardwebhooks@1.0.0")         once, into the build folder; versions are pinned
    packages.node("const {Webhook} = require('standardwebhooks'); …", *arguments, text=…)
    packages.run("redocly", "lint", path)

A set of packages is installed at its first use, which needs the registry, and found there ever after. Without either
the test fails and says what npm said: a check that was not made is not passed.
"""

import dataclasses
import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest

from . import paths

FOLDER = paths.BUILD / "npm"
INSTALL_TIMEOUT_S = 900
ATTEMPTS, PAUSE_S = 4, 10
# What npm says where the registry was not reached, or did not answer as it should; a package that is not there is no such thing.
NETWORK = re.compile(r"npm (error|ERR!) (network|code (E(CONN|TIMEDOUT|AI_AGAIN|NOTFOUND|NETUNREACH|HOSTUNREACH|PIPE|5\d\d|429|INTEGRITY)"
                     r"|ERR_SOCKET|UND_ERR|Z_BUF))")
PINNED = re.compile(r"(@[a-z0-9-]+/)?[a-z0-9._-]+@\d+\.\d+\.\d+")
# Nothing that a test runs asks the network for newer versions of itself, or tells anybody that it ran.
QUIET = {"NO_UPDATE_NOTIFIER": "1", "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}


@dataclasses.dataclass(frozen=True)
class Packages:
    """An installed set; require() in a script finds what is in it."""

    folder: pathlib.Path

    def node(self, script, *arguments, text=None, timeout_s=300):
        """Runs a script (process.argv from 1 on are `arguments`, `text` is its input); a CompletedProcess of text."""
        return self._run(["node", "-e", script, "--", *arguments], text, timeout_s)

    def run(self, program, *arguments, text=None, timeout_s=300):
        """Runs a program of the set; a CompletedProcess of text."""
        return self._run([self.folder / "node_modules" / ".bin" / program, *arguments], text, timeout_s)

    def _run(self, command, text, timeout_s):
        return subprocess.run([str(word) for word in command], cwd=self.folder, env={**os.environ, **QUIET}, input=text,
                              capture_output=True, text=True, timeout=timeout_s, check=False)


def install(*packages):
    """Packages, each as "name@1.2.3"; what they need comes with them, their install scripts do not run."""
    for package in packages:
        assert PINNED.fullmatch(package), f"{package}: name a version, as in name@1.2.3"
    folder = FOLDER / re.sub(r"[^a-z0-9.@-]", "_", "+".join(sorted(packages)))
    folder.mkdir(parents=True, exist_ok=True)
    # Test processes side by side: one installs, the others wait for it.
    with open(folder / ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".installed").exists():
            _fetch(folder, packages)
            (folder / ".installed").touch()
    return Packages(folder)


def _fetch(folder, packages):
    shutil.rmtree(folder / "node_modules", ignore_errors=True)
    (folder / "package.json").write_text('{"private": true}\n')
    try:
        for attempt in range(ATTEMPTS):
            done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--save-exact",
                                   "--fetch-retries=5", *packages],
                                  cwd=folder, env={**os.environ, **QUIET}, capture_output=True, text=True,
                                  timeout=INSTALL_TIMEOUT_S, check=False)
            if done.returncode == 0 or attempt == ATTEMPTS - 1 or not NETWORK.search(done.stderr):
                break
            time.sleep(PAUSE_S)  # for a network to come back, of which nothing here tells
    except FileNotFoundError:
        pytest.fail("there is no npm: `make deps` installs it", pytrace=False)
    if done.returncode != 0:
        pytest.fail(f"npm cannot install {' '.join(packages)}:\n{done.stderr[-2000:]}", pytrace=False)
