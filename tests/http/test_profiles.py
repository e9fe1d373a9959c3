# SPDX-License-Identifier: Apache-2.0
"""What all profiles have in common: they are taken without a warning, and their pages tell their keys."""

import re

import pytest

from harness import profiles
from harness.keys import sha256_of

SHIPPED = sorted(path.stem for path in profiles.FOLDER.glob("*.conf"))


def test_readme_lists_every_profile():
    listed = (profiles.PAGES / "README.md").read_text()
    assert [name for name in SHIPPED if f"| [{name}]({name}.md) |" not in listed] == []


@pytest.mark.parametrize("name", SHIPPED)
def test_profile_is_taken_without_a_warning(server, dead_backend, name):
    status, said = profiles.serve(server, name, dead_backend, start=False).configtest()
    assert (status, said.splitlines()[-1]) == (0, "Syntax OK"), said
    assert not re.search(r":(warn|error|crit|alert|emerg)\]", said), said


@pytest.mark.parametrize("name", SHIPPED)
def test_page_tells_every_key_of_the_file_and_no_other(name):
    keys = profiles.ExampleKeys(name)
    in_file = {(entry["id"], entry["sha256"]) for entry in keys.document["keys"]}
    assert in_file == {(key.id, sha256_of(key)) for key in keys.shown()}


@pytest.mark.parametrize("name", SHIPPED)
def test_example_keys_open_it(server, backend, name):
    web = profiles.serve(server, name, backend)
    for key in web.keys.shown():
        assert web.get(profiles.ECHO[name], key=key).status == 200, key.id
    assert web.get(profiles.ECHO[name], key="not-of-this-file").status == 401
