# SPDX-License-Identifier: Apache-2.0
"""What bash offers behind apiquotactl."""

import os
import subprocess

import pytest

from harness import paths

SCRIPT = paths.REPOSITORY / "conf" / "completion" / "apiquotactl.bash"
ASK = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _apiquotactl; printf "%s\\n" "${COMPREPLY[@]}"'


def offered(*words):
    path = os.pathsep.join([str(paths.CTL.parent), os.environ["PATH"]])
    done = subprocess.run(["bash", "-c", ASK, "bash", str(SCRIPT), "apiquotactl", *words], capture_output=True,
                          text=True, timeout=30, check=True, env={**os.environ, "PATH": path})
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize("words, expected", [
    (("",), {"key", "tenant", "usage", "batch", "config", "store", "simulate"}),
    (("te",), {"tenant"}),
    (("key", ""), {"create", "list", "revoke", "rotate"}),
    (("--json", "key", "r"), {"revoke", "rotate"}),
    (("--state-dir", "/nowhere", "tenant", "s"), {"set", "show"}),
    (("batch", "list", "--status", "can"), {"canceling", "canceled"}),
    (("--tenant", "acme", "key", ""), {"create", "list"}),
    (("nothing", "like", ""), set()),
], ids=lambda value: " ".join(value) if isinstance(value, tuple) else "")
def test_words_are_offered(words, expected):
    assert offered(*words) >= expected
    assert all(word.startswith(words[-1]) for word in offered(*words))


def test_states_are_those_that_the_command_knows():
    assert offered("webhook", "list", "--status", "") == {"pending", "delivered", "failed", "dropped"}
    assert offered("batch", "purge", "--status", "") == {"succeeded", "failed", "canceled"}


def test_names_are_those_of_the_keys_file_that_is_named(tmp_path):
    keys = tmp_path / "keys.json"
    keys.write_text('{"tenants": {"acme": {"plan": "basic"}}, "keys": [{"id": "k_1", "tenant": "acme"}]}')
    for words in (("tenant", "show"), ("webhook", "test"), ("webhook", "rotate"), ("usage", "show", "--tenant")):
        assert offered("--key-file", str(keys), *words, "") == {"acme"}, words
    for words in (("key", "revoke"), ("usage", "show", "--key")):
        assert offered("--key-file", str(keys), *words, "") == {"k_1"}, words


def test_options_are_those_of_the_command():
    assert offered("key", "create", "--") >= {"--tenant", "--scope", "--expires", "--json"}
    assert "--overlap" not in offered("key", "create", "--")
    assert offered("simulate", "--key-f") == {"--key-field", "--key-file"}
