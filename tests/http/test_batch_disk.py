# SPDX-License-Identifier: Apache-2.0
"""The disk is bounded: what is oldest goes where room is short, a tenant's uploads take no more than it may have, and what
a crash left on either side, a file without a row or a row without its file, is found."""

import json
import os
import shutil

import pytest

from harness import batches, checks
from harness.waiting import eventually
from harness.wire import pairs_of, request_bytes

HOUR_S = 3600
KILOBYTE = 1000


@pytest.fixture
def key(keys):
    return keys.add("acme")


def done(web, key, size):
    """The URL of a batch that is over."""
    url = batches.submit(web, key, body=b"x" * size)
    assert batches.wait_over(web, key, url)["status"] == "succeeded"
    return url


def result_status(web, key, url):
    return web.get(url + "/result", key=key).status


def test_oldest_results_go_when_the_spool_is_nearly_full_and_their_batches_stay(server, keys, key, backend):
    web = server("APIQuotaSpool spool max=1m keep=50%\n" + batches.conf(backend.url + "/status/200"), keys=keys)
    waiting = batches.submit(web, key, body=b"y" * 50 * KILOBYTE)
    urls = [done(web, key, 60 * KILOBYTE) for _ in range(9)]
    eventually(lambda: result_status(web, key, urls[0]) == 410, what="room")
    web.expect_log(r"AQ00685", must=False)
    web.log.wait_for(r"AQ00685: the spool is nearly full: bodies and results of the oldest \d finished batches")
    checks.assert_problem(web.get(urls[0] + "/result", key=key), 410, code="result-expired")
    gone = [url for url in [waiting, *urls] if result_status(web, key, url) == 410]
    assert 2 <= len(gone) <= 5 and gone == [waiting, *urls][:len(gone)], "the oldest, and no more than needed"
    assert web.get(urls[0], key=key).json()["status"] == "succeeded"

    def on_disk():
        left = batches.left(web, web.root.path / "spool")
        return len(left.body), len(left.result)
    # The queue forgets them first.
    eventually(lambda: on_disk() == (10 - len(gone),) * 2, what="the end of their files")


def test_what_is_not_over_stays_when_the_spool_is_nearly_full(server, keys, key, dead_backend):
    web = server("APIQuotaSpool spool max=1m keep=50%\n" + batches.conf(dead_backend.url, "APIQuotaBatchAttempts 100"),
                 keys=keys)
    web.expect_log(r"AQ01220")
    urls = [batches.submit(web, key, body=b"x" * 100 * KILOBYTE) for _ in range(9)]
    checks.assert_problem(web.post("/v1/imports", body=b"x" * 200 * KILOBYTE, key=key), 507, code="spool-full")
    eventually(lambda: all(web.get(url, key=key).json()["attempt"] for url in urls), what="attempts")
    assert len(batches.left(web, web.root.path / "spool").body) == 9
    web.expect_log(r"AQ00686", must=True)
    web.log.wait_for(r"AQ00686: the spool is nearly full, and all of it is still needed")
    assert not web.log.matching(r"AQ00685")


@pytest.mark.parametrize("how", ["declared", "chunked"])
def test_uploads_of_a_tenant_that_arrive_together_take_no_more_than_it_may_have(server, keys, key, dead_backend, how):
    web = server("APIQuotaSpool spool tenant-max=500k\n" + batches.conf(dead_backend.url), keys=keys, worker=False)
    other = keys.add("other")
    web.save_keys()
    body = b"x" * 300 * KILOBYTE
    with web.raw() as slow:
        slow.send(request_bytes("POST", "/v1/imports", pairs_of(None, key) + [("Content-Length", len(body))], b"begun"))
        eventually(lambda: batches.left(web, web.root.path / "spool").incoming, what="the first upload")
        sent = body if how == "declared" else iter([body])
        checks.assert_problem(web.post("/v1/imports", body=sent, key=key), 507, code="tenant-spool-full")
        eventually(lambda: web.post("/v1/imports", body=body, key=other).status == 202, what="the other tenant's turn")
    eventually(lambda: web.post("/v1/imports", body=body, key=key).status == 202, what="room again")


def test_files_without_rows_and_rows_without_files_are_found(server, keys, key, backend):
    web = server(batches.conf(backend.url + "/status/200"), keys=keys)
    kept, lost = done(web, key, 10), done(web, key, 10)
    web.stop()
    spool = batches.folder(web) / "spool"
    name = "batch_01aryz6s410000000000000000"
    for orphan in (spool / "body" / name, spool / "result" / (name + ".1"), spool / "result" / (kept.split("/")[-1] + ".7")):
        shutil.copy2(next((spool / "body").iterdir()), orphan)
        shutil.chown(orphan, *[getattr(spool.stat(), owner) for owner in ("st_uid", "st_gid")])
        os.utime(orphan, times=(0, os.stat(orphan).st_mtime - 2 * HOUR_S))
    for part in ("body", "result"):
        for file in (spool / part).glob(lost.split("/")[-1] + "*"):
            file.unlink()
    web.expect_log(rf"AQ00688: batch {lost.split('/')[-1]}: its body and result is gone from the spool", must=True)
    web.start()
    web.log.wait_for(r"AQ00636: the spool is swept: 3 orphans removed")
    web.log.wait_for(r"AQ00688")  # rows are looked at behind the files
    left = batches.left(web)
    assert left.body == [kept.split("/")[-1]] and left.result == [kept.split("/")[-1] + ".1"]
    eventually(lambda: json.loads(web.get(lost + "/result", key=key).body).get("code") == "result-expired")
    assert result_status(web, key, kept) == 200
    row = next(row for row in batches.rows(web) if row["id"] == lost.split("/")[-1])
    assert row["body_gone"] == 1 and row["result_token"] == 0


@pytest.mark.parametrize("status", [200, 204])
def test_answer_without_a_body_is_given_again_and_takes_no_file(server, keys, key, backend, status):
    backend.script("/empty", status=status, body=b"", headers={"X-Kept": "yes"})
    web = server(batches.conf(backend.url + "/empty"), keys=keys)
    url = batches.submit(web, key)
    batch = batches.wait_over(web, key, url)
    assert batch["status"] == "succeeded" and batch["response"]["bytes"] == 0
    answer = web.get(url + "/result", key=key)
    assert answer.status == status and answer.body == b"" and answer.headers.get("APIQuota-Result") == "replay"
    assert batches.left(web).result == []
