# SPDX-License-Identifier: Apache-2.0
"""What clients do with batches that are there: cancel, delete, list."""

import collections
import os
import signal
import time

import pytest

from harness import batches, checks
from harness.keys import Keys
from harness.own_worker import suspend
from harness.waiting import eventually


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def running(server, keys, key, backend):
    """running(*lines, target="/import", before=, **fields of Spec): a server with its worker, and `backend` as target."""
    def make(*lines, target="/import", before="", **fields):
        return server(before + batches.conf(backend.url + target, *lines), keys=keys, **fields)
    return make


def cancel(web, key, url):
    return web.post(url + "/cancel", body=b"", key=key)


# ---- cancel ----------------------------------------------------------------------------------------

@pytest.mark.mpm_all
def test_f48_queued_batch_is_canceled_and_never_sent(running, key, backend):
    web = running(worker=False)
    url = batches.submit(web, key)
    assert web.get(url, key=key).json()["links"]["cancel"] == url + "/cancel"
    answer = cancel(web, key, url)
    assert answer.status == 200 and "Retry-After" not in answer.headers
    batch = answer.json()
    assert batch["status"] == "canceled" and batch["error"] is None
    assert batch["created_at"] <= batch["cancel_requested_at"] == batch["finished_at"] < batch["expires_at"]
    assert batch["links"]["cancel"] is None
    assert web.get(url, key=key).json() == batch
    checks.assert_problem(cancel(web, key, url), 409, code="batch-is-over")
    checks.assert_problem(web.get(url + "/result", key=key), 404, code="no-result")
    assert backend.seen() == []


def test_f48_running_batch_is_canceled_and_its_transfer_stopped(running, key, backend):
    web = running(target="/slow/200")
    url = batches.submit(web, key)
    batches.wait_status(web, key, url, "running")
    answer = cancel(web, key, url)
    assert answer.status == 200 and answer.json()["status"] == "canceling" and "Retry-After" in answer.headers
    again = cancel(web, key, url)
    assert again.status in (200, 409)  # by now it may be over
    assert batches.wait_status(web, key, url, "canceled")["attempt"] == 1


def test_f48_cancel_while_the_worker_is_dead_is_not_forgotten(running, key, backend):
    web = running(target="/slow/200")
    url = batches.submit(web, key)
    batches.wait_status(web, key, url, "running")
    web.expect_log(r"AQ01305: apiquota-worker .* ended with status 9", must=True)
    os.kill(web.worker_pid(), signal.SIGKILL)
    assert [cancel(web, key, url).status for _ in range(2)][0] == 200
    assert batches.wait_over(web, key, url)["status"] == "canceled"
    assert len(backend.seen()) <= 1  # the one that was under way


def test_f48_cancel_twice_is_the_same_cancel(running, key, backend):
    web = running(target="/slow/200")
    url = batches.submit(web, key)
    batches.wait_status(web, key, url, "running")
    worker = web.worker_pid()
    suspend(web, worker)  # so that it is still running at the second cancel
    try:
        first, second = cancel(web, key, url), cancel(web, key, url)
    finally:
        os.kill(worker, signal.SIGCONT)
    assert (first.status, second.status) == (200, 200)
    assert first.json()["status"] == second.json()["status"] == "canceling"
    assert first.json()["cancel_requested_at"] == second.json()["cancel_requested_at"]
    assert batches.wait_over(web, key, url)["status"] == "canceled"
    checks.assert_problem(cancel(web, key, url), 409, code="batch-is-over")


def test_f48_cancel_that_races_success_has_one_outcome(running, key, backend):
    web = running(target="/slow/0.05", before="APIQuotaWorker on threads=8\n")
    seen = collections.Counter()
    for number in range(40):
        url = batches.submit(web, key)
        if number % 4:
            time.sleep(0.004 * (number % 20))  # not a wait: the cancels are to come before, amid and after the run
        else:
            batches.wait_over(web, key, url)  # however busy the machine is, some come after it
        asked = cancel(web, key, url)
        batch = batches.wait_over(web, key, url)
        result = web.get(url + "/result", key=key)
        seen[asked.status, batch["status"]] += 1
        if batch["status"] == "succeeded":
            assert batch["response"]["status"] == 200 and batch["error"] is None and result.body == b"at last\n"
            assert (asked.status == 409) == (batch["cancel_requested_at"] is None)
        else:
            assert (batch["status"], asked.status, batch["response"], result.status) == ("canceled", 200, None, 404)
        assert web.get(url, key=key).json() == batch
    assert {status for _, status in seen} == {"canceled", "succeeded"}, seen
    # What came of an attempt that the cancel overtook is removed behind it.
    succeeded = sum(n for (_, status), n in seen.items() if status == "succeeded")
    eventually(lambda: len(batches.left(web).result) == succeeded, what="a result of each that succeeded")


def test_cancel_of_what_succeeded_is_a_conflict(running, key):
    web = running()
    url = batches.submit(web, key)
    done = batches.wait_over(web, key, url)
    checks.assert_problem(cancel(web, key, url), 409, code="batch-is-over")
    assert web.get(url, key=key).json() == done
    refused = web.get(url + "/cancel", key=key)
    checks.assert_problem(refused, 405)
    assert "POST" in refused.headers["Allow"] and "GET" not in refused.headers["Allow"]


# ---- delete ----------------------------------------------------------------------------------------

def test_delete_leaves_nothing_but_its_idempotency_key(running, key):
    web = running()
    again = {"Idempotency-Key": "order-1"}
    url = batches.submit(web, key, headers=again)
    batches.wait_over(web, key, url)
    answer = web.request("DELETE", url, key=key)
    assert answer.status == 204 and answer.body == b""
    checks.assert_problem(web.get(url, key=key), 404)
    checks.assert_problem(web.get(url + "/result", key=key), 404)
    checks.assert_problem(web.request("DELETE", url, key=key), 404)
    assert batches.left(web) == batches.NOTHING_LEFT
    checks.assert_problem(web.post("/v1/imports", body=b"one\ntwo\n", key=key, headers=again), 410, code="batch-deleted")
    assert batches.left(web) == batches.NOTHING_LEFT
    assert batches.submit(web, key, headers={"Idempotency-Key": "order-2"}) != url


def test_only_a_batch_that_is_over_can_be_deleted(running, key):
    web = running(worker=False)
    url = batches.submit(web, key)
    checks.assert_problem(web.request("DELETE", url, key=key), 409, code="batch-not-over")
    assert cancel(web, key, url).status == 200
    assert web.request("DELETE", url, key=key).status == 204
    assert batches.left(web) == batches.NOTHING_LEFT


def test_f65_anothers_batch_is_neither_canceled_nor_deleted_nor_listed(running, keys, key):
    other = keys.add("globex")
    web = running(worker=False)
    url = batches.submit(web, key)
    checks.assert_problem(cancel(web, other, url), 404)
    checks.assert_problem(web.request("DELETE", url, key=other), 404)
    assert web.get(batches.STATUS_PATH, key=other).json()["pagination"]["total"] == 0
    assert web.get(batches.STATUS_PATH + "?cursor=" + url.rpartition("_")[2], key=other).json()["data"] == []
    assert web.get(url, key=key).json()["status"] == "queued"


# ---- list ------------------------------------------------------------------------------------------

def pages(web, key, query=""):
    """All pages of a list, one after the other."""
    cursor, found = None, []
    while True:
        page = web.get(f"{batches.STATUS_PATH}?{query}" + (f"&cursor={cursor}" if cursor else ""), key=key).json()
        assert set(page) == {"data", "pagination"}
        assert set(page["pagination"]) == {"total", "limit", "cursor", "hasMore"}
        found.append(page)
        cursor = page["pagination"]["cursor"]
        assert page["pagination"]["hasMore"] == (cursor is not None)
        if not cursor:
            return found


def test_list_shows_the_newest_first_in_pages(running, key):
    web = running(worker=False)
    urls = [batches.submit(web, key) for _ in range(5)]
    whole = web.get(batches.STATUS_PATH, key=key)
    assert whole.status == 200 and whole.headers["Cache-Control"] == "private, no-cache"
    assert whole.json()["pagination"] == {"total": 5, "limit": 50, "cursor": None, "hasMore": False}
    listed = [batch["links"]["self"] for batch in whole.json()["data"]]
    assert sorted(listed) == sorted(urls)
    created = [batch["created_at"] for batch in whole.json()["data"]]
    assert created == sorted(created, reverse=True)
    assert whole.json()["data"][0] == web.get(listed[0], key=key).json()
    assert web.get(batches.STATUS_PATH + "/", key=key).json() == whole.json()
    paged = pages(web, key, "limit=2")
    assert [len(page["data"]) for page in paged] == [2, 2, 1]
    assert [batch["links"]["self"] for page in paged for batch in page["data"]] == listed


def test_list_by_status_and_while_batches_come_and_go(running, key):
    web = running(worker=False)
    urls = [batches.submit(web, key) for _ in range(4)]
    listed = [batch["links"]["self"] for batch in web.get(batches.STATUS_PATH, key=key).json()["data"]]
    first = web.get(batches.STATUS_PATH + "?limit=2", key=key).json()
    cancel(web, key, listed[1])
    assert web.request("DELETE", listed[1], key=key).status == 204  # the one that the cursor stands at
    batches.submit(web, key)
    rest = web.get(f"{batches.STATUS_PATH}?limit=2&cursor={first['pagination']['cursor']}", key=key).json()
    assert [batch["links"]["self"] for batch in rest["data"]] == listed[2:]
    assert rest["pagination"] == {"total": 4, "limit": 2, "cursor": None, "hasMore": False}
    cancel(web, key, listed[3])
    by_status = {status: web.get(f"{batches.STATUS_PATH}?status={status}", key=key).json()
                 for status in ("queued", "canceled", "running")}
    assert {status: page["pagination"]["total"] for status, page in by_status.items()} == {
        "queued": 3, "canceled": 1, "running": 0}
    assert [batch["links"]["self"] for batch in by_status["canceled"]["data"]] == [listed[3]]
    assert len(urls) == 4


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=", "limit=x", "limit=-1", "limit=1e2", "limit=%31x",
                                   "status=done", "status=", "status", "cursor=x", "cursor=", "cursor=../../etc/passwd",
                                   "cursor=" + "a" * 4000, "limit=1&limit=2", "status=queued%00"])
def test_list_refuses_bad_parameters(shared, query):
    web, key = shared
    refused = web.get(f"{batches.STATUS_PATH}?{query}", key=key)
    checks.assert_problem(refused, 400, code="parameter-invalid")


@pytest.mark.parametrize("query", ["", "limit=1", "limit=200", "limit=%32", "status=queued&limit=5", "sort=up", "&&",
                                   "cursor=01aryz6s410000000000000000"])
def test_list_takes_good_parameters(shared, query):
    web, key = shared
    assert web.get(f"{batches.STATUS_PATH}?{query}", key=key).json()["data"] == []


@pytest.fixture(scope="module")
def shared(shared_server):
    keys = Keys()
    key = keys.add("acme")
    return shared_server(batches.conf("http://127.0.0.1:9/"), keys=keys, worker=False), key


def test_list_takes_no_other_method_and_no_stranger(running, key):
    web = running(worker=False)
    refused = web.post(batches.STATUS_PATH, body=b"x", key=key)
    checks.assert_problem(refused, 405)
    assert "GET" in refused.headers["Allow"]
    checks.assert_problem(web.get(batches.STATUS_PATH), 401)
