#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The top level of the tree holds the fixed list, and every source file names its licence in its first lines."""
import os
import subprocess

import guard

ALLOWED = {"mod_apiquota.c", "src", "conf", "docs", "tests", "vagrant", "debian", "Makefile", "README.md", "LICENSE",
           "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
SPDX = "SPDX-License-Identifier: Apache-2.0"


def top_level():
    """What git keeps or would keep; in an unpacked archive, what lies there beside the build folder."""
    git = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=guard.ROOT, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True, check=False) if os.path.exists(
                             os.path.join(guard.ROOT, ".git")) else None
    if git and git.returncode == 0:
        return {path.split("/")[0] for path in git.stdout.splitlines()}
    return set(os.listdir(guard.ROOT)) - {"build", os.path.relpath(guard.BUILD, guard.ROOT).split("/")[0]}


def main():
    for name in sorted(top_level() - ALLOWED):
        if not name.startswith("."):
            guard.offend(name, 1, "is not on the list of what the top level holds")
    for path in guard.files(("mod_apiquota.c", "src", "tests", "conf", "vagrant", "Makefile"),
                            (".c", ".h", ".py", ".sh", ".mk", "/run", "Makefile", "Vagrantfile")):
        if SPDX not in "\n".join(guard.read(path).splitlines()[:3]):
            guard.offend(path, 1, f"does not say {SPDX}")
    guard.finish()


main()
