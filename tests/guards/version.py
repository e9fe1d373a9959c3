#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One version: what the programs say is what the packages are called, and the change log knows it or is about to."""
import re

import guard

HEADER, PACKAGE, CONTROL, CHANGES = "src/base/aq_version.h", "debian/changelog", "debian/control", "CHANGELOG.md"


def found(path, pattern):
    """The group of the first match; a file without one offends."""
    match = re.search(pattern, guard.read(path), re.M)
    if not match:
        guard.offend(path, 1, f"has nothing like {pattern}")
    return match[1] if match else ""


def main():
    version = found(HEADER, r'^#define AQ_VERSION "(\d+\.\d+\.\d+)"$')
    package = found(PACKAGE, r"^mod-apiquota \(([^)]+)\)")
    if package.split("-")[0] != version:
        guard.offend(PACKAGE, 1, f"is of {package}, and {HEADER} of {version}")
    if not re.search(rf"^## \[(Unreleased|{re.escape(version)})\]", guard.read(CHANGES), re.M):
        guard.offend(CHANGES, 1, f"knows no {version}, and nothing that is to come")
    signed, maintainer = found(PACKAGE, r"^ -- (.+>)  "), found(CONTROL, r"^Maintainer: (.+)$")
    if signed != maintainer:
        guard.offend(PACKAGE, 1, f"is signed by {signed}; the maintainer is {maintainer}")
    guard.finish()


main()
