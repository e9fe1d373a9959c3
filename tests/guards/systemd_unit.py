#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""systemd takes the worker's unit, and finds it as little exposed as docs/operations.md says."""
import os
import re
import subprocess
import tempfile

import guard

UNIT, DOCS = "debian/apiquota-worker.service", "docs/operations.md"
FIGURE = re.compile(r"Overall exposure level for apiquota-worker\.service: (\d+\.\d+)")


def analyze(*words):
    done = subprocess.run(["systemd-analyze", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    return done.returncode, done.stdout


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "apiquota-worker.service")
        with open(path, "w", encoding="utf-8") as file:
            file.write(guard.read(UNIT).replace("/usr/libexec/", guard.BUILD + "/"))
        code, said = analyze("--man=no", "verify", path)
        # Other units of the machine, which it looks at as well, are not ours to judge.
        ours = [line for line in said.splitlines() if "apiquota" in line]
        if ours or (code != 0 and not said):
            guard.offend(UNIT, 1, "\n".join(ours) or f"systemd-analyze verify ends with {code}")
        code, said = analyze("security", "--offline=yes", path)
    found, documented = FIGURE.search(said), FIGURE.search(guard.read(DOCS))
    if not found:
        guard.offend(UNIT, 1, f"systemd-analyze security says no figure: {said}")
    elif not documented or float(found.group(1)) > float(documented.group(1)):
        guard.offend(DOCS, 1, f"the unit's exposure is {found.group(1)}, and that is not what stands here")
    guard.finish()


main()
