# SPDX-License-Identifier: Apache-2.0
"""The harness's way to programs and libraries of npm."""

import pytest

from harness import npm


def test_packages_are_pinned_installed_once_and_found_by_scripts():
    with pytest.raises(AssertionError, match="name a version"):
        npm.install("is-number")
    packages = npm.install("is-number@7.0.0")
    stamp = (packages.folder / ".installed").stat()
    said = packages.node("const is = require('is-number'); console.log(is(process.argv[1]), is(process.argv[2]))", "5", "x")
    assert (said.returncode, said.stdout) == (0, "true false\n"), said.stderr
    assert (npm.install("is-number@7.0.0").folder / ".installed").stat() == stamp


def test_package_that_cannot_be_had_fails_the_test_and_says_why():
    with pytest.raises(pytest.fail.Exception, match=r"(?s)npm cannot install is-number@999\.0\.0:\n.*999"):
        npm.install("is-number@999.0.0")
