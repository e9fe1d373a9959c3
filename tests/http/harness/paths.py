# SPDX-License-Identifier: Apache-2.0
"""Where httpd, its modules and our build lie, from the environment that the Makefile sets."""

import atexit
import functools
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get("AQ_BUILD") or REPOSITORY / "build")
HTTPD_MODULES = pathlib.Path(os.environ.get("AQ_HTTPD_MODULES") or "/usr/lib/apache2/modules")
HTTPD = shutil.which("apache2", path="/usr/sbin:" + os.environ.get("PATH", "")) or "apache2"

AS_ROOT = os.geteuid() == 0
HTTPD_USER = "www-data"


def _reachable(program):
    """`program`, or a copy where httpd's user cannot come to it: in a checkout below root's home, say."""
    folders_are_open = all(folder.stat().st_mode & stat.S_IXOTH for folder in program.parents if folder.exists())
    if not AS_ROOT or folders_are_open or not program.exists():
        return program
    folder = pathlib.Path(tempfile.mkdtemp(prefix="apiquota-http-bin-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    return pathlib.Path(shutil.copy(program, folder))


MODULE = BUILD / "mod_apiquota.so"
WORKER = _reachable(BUILD / "apiquota-worker")
CTL = BUILD / "apiquotactl"


def sanitizer_preload():
    """The sanitizer runtimes that httpd must load first, as a list of paths."""
    return os.environ.get("AQ_LD_PRELOAD", "").replace(":", " ").split()


def sanitizer_environment():
    """How the sanitizers behave inside httpd; what the caller's environment says comes last and wins.

    httpd and APR never free what lives as long as they do, so leaks are not looked for. libfaketime must
    be loaded before ASan's runtime (the other order hangs), which ASan otherwise refuses.
    """
    ours = {"ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0",
            "UBSAN_OPTIONS": "print_stacktrace=1"}
    return {name: f"{value}:{os.environ.get(name, '')}".rstrip(":") for name, value in ours.items()}


@functools.lru_cache(maxsize=None)
def compiled_in_modules():
    """Names like `unixd` of the modules that this httpd holds without LoadModule."""
    listed = subprocess.run([HTTPD, "-l"], capture_output=True, text=True, check=True).stdout
    names = (line.strip() for line in listed.splitlines())
    return frozenset(n[len("mod_"):-len(".c")] for n in names if n.startswith("mod_"))
