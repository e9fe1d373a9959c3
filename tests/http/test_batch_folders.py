# SPDX-License-Identifier: Apache-2.0
"""Folders of queue and spool that httpd's user spoils while httpd runs: batches stop, nothing else does. And what a killed
upload leaves in them."""

import os
import shutil
import time

import pytest

from harness import batches, checks, paths
from harness.waiting import eventually


@pytest.fixture
def key(keys):
    return keys.add("acme")


def make_link(folder):
    folder.rename(folder.with_name("moved"))
    folder.symlink_to("moved")


def make_writable(folder):
    folder.chmod(0o770)


def mend(folder):
    if folder.is_symlink():
        folder.unlink()
        folder.with_name("moved").rename(folder)
    folder.chmod(0o700)


@pytest.mark.parametrize("spoil", [make_link, make_writable])
@pytest.mark.parametrize("part", ["", "spool"])
@pytest.mark.parametrize("how", ["graceful", "restart"])
def test_f71_folder_spoiled_while_httpd_runs_stops_batches_and_nothing_else(server, keys, key, dead_backend, part, spoil,
                                                                           how):
    web = server(batches.conf(dead_backend.url), keys=keys, worker=False)
    url = batches.submit(web, key)
    folder = batches.folder(web) / part
    spoil(folder)
    web.expect_log(r"AQ01272: .*; batches are answered 503 until a restart finds it in order", must=True)
    getattr(web, how)()
    assert web.get("/v1/item.json").status == 200
    for answer in (web.post("/v1/imports", body=b"x", key=key), web.get(url, key=key), web.get(batches.STATUS_PATH, key=key)):
        checks.assert_problem(answer, 503, code="queue-unavailable", retry_after=5)
    mend(folder)
    getattr(web, how)()
    assert web.get(url, key=key).json()["status"] == "queued"
    batches.submit(web, key)
    assert len(batches.left(web).body) == 2


def orphan(web, letter, age_s):
    """A body without a row, as a child leaves that is killed between the two; returns its file."""
    file = batches.folder(web) / "spool" / "body" / ("batch_" + letter * 26)
    file.write_bytes(b"orphan\n")
    if paths.AS_ROOT:
        shutil.chown(file, paths.HTTPD_USER, paths.HTTPD_USER)
    os.utime(file, (time.time() - age_s,) * 2)
    return file


def test_f41_body_of_an_upload_killed_before_its_row_is_swept_after_an_hour(server, keys, key, backend):
    conf = batches.conf(backend.url + "/import")
    web = server(conf, keys=keys, worker=False)
    url = batches.submit(web, key)
    old, fresh = orphan(web, "0", 3700), orphan(web, "1", 3000)
    known = batches.folder(web) / "spool" / "body" / url.rpartition("/")[2]
    os.utime(known, (time.time() - 7200,) * 2)
    web.write_conf(conf + "APIQuotaWorker on\n")
    web.graceful()  # its worker sweeps when it begins
    eventually(lambda: not old.exists(), what="the sweep")
    assert fresh.exists() and known.exists()
    assert batches.wait_over(web, key, url)["status"] == "succeeded"
