# SPDX-License-Identifier: Apache-2.0
"""apiquotactl usage reset and top, store verify: what they change on a server that runs; and how mistakes are told."""

import json
import os
import pty
import subprocess

import pytest

from harness import checks, confs, paths

PLAN = confs.plan("basic", "minute 3/minute", "day 10/day per=tenant headers=suffix:Daily")


def run(web, *words):
    command = [paths.CTL, "--state-dir", web.root.state, *words] if web else [paths.CTL, *words]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=30, check=False)


def answer(web, *words):
    done = run(web, "--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(name="api")
def fixture_api(server, keys):
    """A server, and two keys of acme: k_1 has used 3 of its minute, k_2 one."""
    one, two = keys.add("acme", id="k_1"), keys.add("acme", id="k_2")
    web = server(PLAN + confs.location("/v1"), keys=keys)
    for key in (one, one, one, two):
        assert web.get("/v1/item.json", key=key).status == 200
    return web, one, two


def remaining(web, key):
    response = web.get("/v1/item.json", key=key)
    return response.status, checks.trio(response).remaining, checks.trio(response, "-Daily").remaining


def test_reset_of_a_key_leaves_what_its_tenant_shares(api):
    web, one, _ = api
    assert web.get("/v1/item.json", key=one).status == 429
    rows = answer(web, "usage", "reset", "--key", "k_1")["reset"]
    assert [(row["key"], row["limit"], row["used"]) for row in rows] == [("k_1", "minute", 0)]
    assert remaining(web, one) == (200, 2, 5)


def test_reset_of_a_tenant_is_one_of_all_its_keys(api):
    web, one, two = api
    rows = answer(web, "usage", "reset", "--tenant", "acme")["reset"]
    assert {(row["key"], row["limit"]) for row in rows} == {("k_1", "minute"), ("k_2", "minute"), (None, "day")}
    assert remaining(web, one) == (200, 2, 9)
    assert remaining(web, two) == (200, 2, 8)


def test_reset_of_one_limit_leaves_the_others(api):
    web, one, _ = api
    answer(web, "usage", "reset", "--tenant", "acme", "--limit", "minute")
    assert remaining(web, one) == (200, 2, 5)


def test_reset_says_whose_and_of_what(api):
    web, _, two = api
    for words, code, said in ((("--tenant", "nobody"), 1, "no key in force"), ((), 2, "--tenant NAME or --key ID"),
                              (("--tenant", "acme", "--limit", "hour"), 1, "limit of that name")):
        done = run(web, "usage", "reset", *words)
        assert (done.returncode, done.stdout) == (code, "") and said in done.stderr
    assert remaining(web, two) == (200, 1, 5)


def test_top_begins_with_who_is_nearest_to_a_limit(api):
    web, _, _ = api
    rows = answer(web, "usage", "top")["usage"]
    assert [(row["key"], row["limit"], row["share"]) for row in rows] == [
        ("k_1", "minute", 1.0), (None, "day", 0.4), ("k_2", "minute", pytest.approx(1 / 3))]
    assert len(answer(web, "usage", "top", "1")["usage"]) == 1
    assert [row["limit"] for row in answer(web, "usage", "top", "--limit", "day")["usage"]] == ["day"]
    assert "100.00 %" in run(web, "usage", "top").stdout.splitlines()[1]
    assert run(web, "usage", "top", "none").returncode == 2


def test_store_that_a_server_uses_is_found_in_order(api):
    assert run(api[0], "store", "verify").stdout == "Nothing found.\n"


def test_counter_out_of_its_place_is_found(api):
    """A slot copied to where nobody looks for it, as a disk's fault could leave it."""
    web, _, _ = api
    path = web.root.state / "counters"
    with open(path, "r+b") as file:
        content = file.read()
        slots = [content[at:at + 64] for at in range(4096, len(content), 64)]
        used = next(slot for slot in slots if slot.count(0) < 64)
        free = next(i for i, slot in enumerate(slots) if slot.count(0) == 64)
        file.seek(4096 + 64 * free)
        file.write(used)
    done = run(web, "store", "verify")
    assert done.returncode == 1
    assert f"place {free}: " in done.stdout


@pytest.mark.parametrize("words, said", [
    (("kye", "create"), 'there is no command "kye create"; did you mean "key create"?'),
    (("key",), "key takes one of: create, list, revoke, rotate, import, export"),
    (("frobnicate",), 'there is no command "frobnicate"; --help lists them'),
    (("key", "list", "--tenent", "x"), "there is no option --tenent; did you mean --tenant?"),
    (("key", "list", "--tenant"), "--tenant needs a value"),
    (("key", "list", "--overlap", "1h"), "key list takes no --overlap; usage: apiquotactl key list [--tenant NAME]"),
], ids=lambda value: "_".join(value) if isinstance(value, tuple) else "")
def test_mistake_is_named_with_what_was_meant(words, said):
    done = run(None, *words)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"apiquotactl: {said}\n")


def on_terminal(*words, **env):
    """What apiquotactl writes to a terminal."""
    ours, theirs = pty.openpty()
    environment = {**{name: os.environ[name] for name in os.environ if name != "NO_COLOR"}, "TERM": "xterm", **env}
    done = subprocess.run([str(paths.CTL), *(str(word) for word in words)], stdout=theirs, env=environment, timeout=30,
                          check=False)
    os.close(theirs)
    text = b""
    try:
        while piece := os.read(ours, 4096):
            text += piece
    except OSError:  # the end of a terminal that nobody writes to any more
        pass
    os.close(ours)
    assert done.returncode == 0
    return text


def test_colour_is_for_terminals_that_want_it(keys, tmp_path):
    keys.add("acme", id="k_1")
    keys.write(tmp_path / "keys.json")
    words = "--key-file", tmp_path / "keys.json", "key", "list"
    assert b"\x1b[32mactive\x1b[0m" in on_terminal(*words)
    for wanting_none in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert b"\x1b" not in on_terminal(*words, **wanting_none)
    assert b"active" in on_terminal(*words, NO_COLOR="1")
    assert "\x1b" not in run(None, *words).stdout
    assert b"\x1b" not in on_terminal("--json", *words)
