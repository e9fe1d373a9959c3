# SPDX-License-Identifier: Apache-2.0
"""apiquotactl batch, beside a real httpd with its worker."""

import json
import os
import pty
import subprocess

import pytest

from harness import batches, checks, paths
from harness.waiting import eventually


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def running(server, keys, key, backend):
    """running(target="/import", **fields of Spec): a server with its worker, and `backend` as target."""
    def make(*lines, target="/import", **fields):
        return server(batches.conf(backend.url + target, *lines), keys=keys, **fields)
    return make


def ctl(web, *words, code=0, use_json=False, says=False):
    """Runs apiquotactl batch: its standard output, or the object printed; with a code or `says` its standard error."""
    command = [paths.CTL, "--state-dir", web.root.state, *(["--json"] if use_json else []), "batch", *words]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    if code or says:
        return done.stderr
    return json.loads(done.stdout) if use_json else done.stdout


def id_of(url):
    return url.rpartition("/")[2]


def test_list_shows_the_newest_of_all_tenants_or_of_one(running, keys, key):
    other = keys.add("globex")
    web = running(worker=False)
    mine = [id_of(batches.submit(web, key)) for _ in range(3)]
    theirs = id_of(batches.submit(web, other))
    listed = ctl(web, "list", use_json=True)
    assert listed["total"] == 4 and {row["id"] for row in listed["batches"]} == {*mine, theirs}
    assert {row["tenant"] for row in listed["batches"]} == {"acme", "globex"}
    assert [row["id"] for row in ctl(web, "list", "--tenant", "globex", use_json=True)["batches"]] == [theirs]
    assert len(ctl(web, "list", "2", use_json=True)["batches"]) == 2
    assert ctl(web, "list", "--status", "failed", use_json=True) == {"batches": [], "total": 0}
    assert ctl(web, "list", "2", "--tenant", "acme", says=True) == "2 of 3; a COUNT shows more\n"
    assert ctl(web, "list", "3", "--tenant", "acme", says=True) == ""
    table = ctl(web, "list").splitlines()
    assert table[0].split()[:3] == ["ID", "TENANT", "STATUS"] and len(table) == 5
    assert "--status must be" in ctl(web, "list", "--status", "done", code=2)
    assert "COUNT" in ctl(web, "list", "0", code=2)
    owners = {os.stat(batches.folder(web) / name).st_uid for name in os.listdir(batches.folder(web))}
    assert owners == {os.stat(batches.folder(web)).st_uid}, "a file of root's would keep httpd out"


def test_batch_is_canceled_queued_again_and_purged(running, key, backend):
    backend.script("/echo", status=422, times=1)
    web = running(target="/echo")
    url = batches.submit(web, key)
    assert batches.wait_over(web, key, url)["status"] == "failed"
    assert "is over" in ctl(web, "cancel", id_of(url), code=1)
    assert ctl(web, "retry", id_of(url)) == f"{id_of(url)} is queued again.\n"
    batch = batches.wait_status(web, key, url, "succeeded")
    assert batch["attempt"] == 1 and batch["response"]["status"] == 200
    assert web.get(url + "/result", key=key).status == 200
    assert len(batches.left(web).result) == 1
    assert "neither failed nor" in ctl(web, "retry", id_of(url), code=1)
    assert ctl(web, "purge", id_of(url), use_json=True) == {"removed": 1}
    assert batches.left(web) == batches.NOTHING_LEFT
    checks.assert_problem(web.get(url, key=key), 404)
    for verb in ("show", "cancel", "retry", "purge"):
        assert "there is no batch" in ctl(web, verb, id_of(url), code=1), verb


def test_purge_removes_what_is_over_and_matches(running, keys, key):
    other = keys.add("globex")
    web = running(worker=False)
    mine = [batches.submit(web, key) for _ in range(3)]
    theirs = batches.submit(web, other)
    assert "is not over" in ctl(web, "purge", id_of(mine[0]), code=1)
    for url in mine[:2]:
        assert ctl(web, "cancel", id_of(url)) == f"{id_of(url)} is canceled.\n"
    ctl(web, "cancel", id_of(theirs))
    assert ctl(web, "purge", "--tenant", "acme", "--older-than", "1h") == "0 removed.\n"
    assert ctl(web, "purge", "--tenant", "acme", "--status", "canceled") == "2 removed.\n"
    assert {row["id"] for row in batches.rows(web)} == {id_of(mine[2]), id_of(theirs)}
    ctl(web, "purge", code=2)
    ctl(web, "purge", id_of(theirs), "--tenant", "globex", code=2)
    ctl(web, "purge", "--older-than", "soon", code=2)


def test_show_tells_of_a_batch_and_follows_it(running, key, backend):
    backend.hold_import(1000)
    web = running()
    url = batches.submit(web, key, body=b"".join(b"row %d\n" % n for n in range(2000)))
    backend.wait_held()
    shown = ctl(web, "show", id_of(url), use_json=True)
    assert shown["status"] == "running" and shown["tenant"] == "acme" and "links" not in shown
    assert json.loads(ctl(web, "show", id_of(url))) == shown
    command = [str(paths.CTL), "--state-dir", str(web.root.state), "batch", "show", "--follow", id_of(url)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert "running, attempt 1 of 5" in following.stdout.readline()
        backend.release()
        assert "succeeded" in following.stdout.readline()
        assert following.wait(60) == 0


def test_follow_ends_with_1_where_the_batch_did_not_succeed(running, key):
    web = running(target="/status/422")
    url = batches.submit(web, key)
    batches.wait_over(web, key, url)
    command = [str(paths.CTL), "--state-dir", str(web.root.state), "batch", "show", "--follow", id_of(url)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1 and done.stdout == "failed, attempt 1 of 5, target-status\n"


def test_follow_draws_a_bar_on_a_terminal(server, keys, key):
    web = server("", keys=keys, start=False)
    program, go = web.root.path / "program", web.root.path / "go"
    program.write_text(f"#!/bin/sh\necho 1 2 >&3\nwhile [ ! -e {go} ]; do sleep 0.05; done\necho 2 2 1 >&3\n")
    program.chmod(0o755)
    web = server(batches.conf(f"exec:{program}"), keys=keys)
    url = batches.submit(web, key)
    eventually(lambda: web.get(url, key=key).json()["progress"]["done"] == 1)
    terminal, theirs = pty.openpty()
    command = [str(paths.CTL), "--state-dir", str(web.root.state), "batch", "show", "--follow", id_of(url)]
    with subprocess.Popen(command, stdout=theirs) as following:
        os.close(theirs)
        shown = b""
        while b"50 %" not in shown:
            shown += os.read(terminal, 4096)
        go.touch()
        while not shown.endswith(b"\n"):
            shown += os.read(terminal, 4096)
        assert following.wait(60) == 0
    os.close(terminal)
    assert b"[###############               ] 50 %  1 of 2, 0 failed  running" in shown
    assert b"\r\x1b[K[##############################] 100 %  2 of 2, 1 failed  succeeded" in shown


def test_server_without_batches_has_none_to_show(server, keys):
    web = server("", keys=keys)
    assert "no location of the server takes batches" in ctl(web, "list", code=1)


def test_content_type_of_a_client_does_not_work_on_the_terminal(running, key):
    web = running(worker=False)
    url = batches.submit(web, key, headers={"Content-Type": "text/\xc2\x9b31m"})  # U+009B in UTF-8: ESC [ as one character
    assert "\x9b" not in ctl(web, "show", id_of(url))
    assert ctl(web, "show", id_of(url), use_json=True)["request"]["content_type"] == "text/\x9b31m"
