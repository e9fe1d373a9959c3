# SPDX-License-Identifier: Apache-2.0
"""Workers that sleep through their lease, a queue that is locked, read-only or torn, bodies that are gone or changed, and
several workers at once: nothing is done twice, nothing is lost, and what is wrong is said."""

import os
import sqlite3
import threading
import time

import pytest

from harness import batches, checks
from harness.own_worker import OwnWorker
from harness.waiting import eventually, wait_until

LONG = os.environ.get("AQ_LONG") == "1"
LEASE_S = 30 if LONG else 4  # longer than a busy machine lets a worker stand still
LINES = b"".join(b"row %d\n" % number for number in range(3000))
SECTOR = 512


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def taking(server, keys, key, backend):
    """A server whose batches nobody runs, unless the test starts a worker."""
    def make(*lines, **fields):
        return server(batches.conf(backend.url + "/import", *lines), keys=keys, **{"worker": False, **fields})
    return make


def own_worker(web, *options):
    worker = OwnWorker(web, *(options or ("--lease-ms", str(LEASE_S * 1000))))
    worker.start()
    return worker


def row_of(web, url):
    return next(row for row in batches.rows(web) if row["id"] == url.rsplit("/", 1)[1])


def test_f42_late_finish_of_a_worker_that_slept_for_two_leases_is_refused(taking, key, backend):
    web = taking()
    sleeper = own_worker(web)
    backend.hold_import(after_lines=1000)
    url = batches.submit(web, key, body=LINES)
    backend.wait_held()
    sleeper.suspend()
    began, until_ms = time.monotonic(), row_of(web, url)["lease_until_ms"]
    backend.release()  # the answer now waits for the sleeper, in its socket
    other = own_worker(web)
    eventually(lambda: web.get(url, key=key).json()["attempt"] == 2, timeout_s=LEASE_S + 60, what="another attempt")
    assert time.time() * 1000 >= until_ms, "taken before the lease was over"
    assert batches.wait_over(web, key, url)["attempt"] == 2
    wait_until(lambda: time.monotonic() - began > 2 * LEASE_S, 3 * LEASE_S)
    before = row_of(web, url)
    sleeper.resume()
    sleeper.log.wait_for(r"AQ00613: batch \S+ attempt 1: no longer ours; what came of it is dropped")
    assert row_of(web, url) == before and before["result_token"] == 2
    assert batches.left(web).result == [f"{before['id']}.2"] and batches.left(web).incoming == []
    assert backend.store.count() == 3000
    sleeper.stop()
    other.stop()


class Locker:
    """Another program that holds SQLite's own lock on the queue."""

    def __init__(self, web):
        self._queue = sqlite3.connect(batches.folder(web) / "queue.db", isolation_level=None, timeout=20)

    def __enter__(self):
        self._queue.execute("BEGIN IMMEDIATE")

    def __exit__(self, *_):
        self._queue.execute("ROLLBACK")
        self._queue.close()


def test_f45_queue_locked_by_another_program_is_503_in_time_and_loses_nothing(taking, key, backend):
    web = taking()
    earlier = batches.submit(web, key, body=LINES)
    with Locker(web):
        began = time.monotonic()
        answer = web.post("/v1/imports", body=b"x", key=key)
        assert time.monotonic() - began < 30
        checks.assert_problem(answer, 503, code="queue-unavailable", retry_after=checks.retry_after(answer))
        web.expect_log(r"AQ01222", must=True)
        assert web.get(earlier, key=key).json()["status"] == "queued", "reading waits for nobody"
        assert len(batches.left(web).body) == 1
    later = batches.submit(web, key, body=LINES)
    worker = own_worker(web)
    assert [batches.wait_over(web, key, url)["status"] for url in (earlier, later)] == ["succeeded"] * 2
    worker.stop()


def test_f45_job_ends_well_though_the_queue_is_locked_for_longer_than_its_lease(taking, key, backend):
    """30 seconds with the usual lease of 30 under AQ_LONG; else as much longer than a shorter lease."""
    web = taking()
    worker = own_worker(web)
    backend.hold_import(after_lines=1000)
    url = batches.submit(web, key, body=LINES)
    backend.wait_held()
    with Locker(web):
        worker.log.wait_for(r"AQ00621: batch \S+: the lease cannot be renewed; its transfer is stopped",
                            timeout_s=2 * LEASE_S + 30)
        backend.release()
    batch = batches.wait_over(web, key, url, timeout_s=LEASE_S + 30)
    assert batch["status"] == "succeeded" and batch["attempt"] == 2, batch
    assert backend.store.lines(batch["id"]) == LINES.splitlines()
    worker.stop()


def test_f45_read_only_queue_is_503_with_a_reason_and_is_used_again_once_it_can_be_written(taking, key):
    web = taking()
    earlier = batches.submit(web, key)
    web.stop()
    database = batches.folder(web) / "queue.db"
    database.chmod(0o400)
    web.start()
    checks.assert_problem(web.post("/v1/imports", body=b"x", key=key), 503, code="queue-unavailable")
    web.expect_log(r"AQ01212: the queue cannot be opened: the queue \S+queue.db cannot be used: "
                   r"attempt to write a readonly database", must=True)
    database.chmod(0o600)
    assert web.get(earlier, key=key).json()["status"] == "queued"
    batches.submit(web, key)


def test_f45_queue_that_is_no_database_any_more_is_503_with_a_reason_and_stays_as_it_is(taking, key):
    web = taking()
    batches.submit(web, key)
    web.stop()
    database = batches.folder(web) / "queue.db"
    os.truncate(database.with_name("queue.db-wal"), 0)  # it would mend what it holds
    torn = b"torn" * 1000 + database.read_bytes()[4000:]
    database.write_bytes(torn)
    web.start()
    checks.assert_problem(web.post("/v1/imports", body=b"x", key=key), 503, code="queue-unavailable")
    web.expect_log(r"AQ01212: the queue cannot be opened: .*file is not a database", must=True)
    assert database.read_bytes() == torn, "what could be repaired by hand was written over"


def test_f45_log_of_the_queue_torn_by_a_crash_keeps_what_was_acknowledged_before(taking, key, backend):
    """Each 512th byte is tried on the queue alone (test_sqlite_queue.c); here httpd starts on some of them."""
    web = taking()
    urls, ends = [], []
    wal = batches.folder(web) / "queue.db-wal"
    for number in range(6):
        urls.append(batches.submit(web, key, body=b"%d\n" % number))
        ends.append(wal.stat().st_size)
    web.kill9_parent_and_orphans()
    for kept in (5, 3):
        cut = (ends[kept - 1] + SECTOR - 1) // SECTOR * SECTOR
        os.truncate(wal, cut)
        web.start()
        assert [web.get(url, key=key).status for url in urls[:kept]] == [200] * kept
        web.kill9_parent_and_orphans()
    web.start()
    worker = own_worker(web)
    assert {batches.wait_over(web, key, url)["status"] for url in urls[:3]} == {"succeeded"}
    worker.stop()


@pytest.mark.parametrize("how, code", [("missing", "body-missing"), ("changed", "body-changed"), ("cut", "body-changed")])
def test_f47_batch_whose_body_is_not_what_was_received_fails_with_that_reason_and_is_not_sent(taking, key, backend, how,
                                                                                             code):
    web = taking()
    url, whole = batches.submit(web, key, body=LINES), batches.submit(web, key, body=LINES)
    body = batches.folder(web) / "spool" / "body" / url.rsplit("/", 1)[1]
    if how == "missing":
        body.unlink()
    else:
        with body.open("r+b") as file:
            file.truncate(100) if how == "cut" else file.write(b"ROW")
    worker = own_worker(web)
    batch = batches.wait_over(web, key, url)
    assert batch["status"] == "failed" and batch["error"]["code"] == code, batch
    assert batches.wait_over(web, key, whole)["status"] == "succeeded"
    assert backend.store.uploads() == [whole.rsplit("/", 1)[1]]
    worker.log.wait_for(r"AQ00616: batch " + batch["id"])
    worker.stop()


class Submitter(threading.Thread):
    """Submits one after the other; each has to be taken, whatever httpd is doing."""

    def __init__(self, web, key, count):
        super().__init__()
        self._web, self._key, self._count, self.urls = web, key, count, []

    def run(self):
        for _ in range(self._count):
            self.urls.append(batches.submit(self._web, self._key, body=b"one\ntwo\n"))


def test_f49_each_job_has_one_owner_with_two_workers_and_graceful_restarts_amid_jobs(taking, key, backend):
    web = taking(worker=True)
    other = own_worker(web, "--lease-ms", "30000")
    submitters = [Submitter(web, key, 40) for _ in range(3)]
    for submitter in submitters:
        submitter.start()
    for _ in range(3):
        web.graceful()
    for submitter in submitters:
        submitter.join()
    urls = [url for submitter in submitters for url in submitter.urls]
    assert len(urls) == 120

    def both_have_worked():
        return other.log.matching("AQ00610") and web.log.matching("AQ00610")
    while not both_have_worked() and len(urls) < 1000:  # one may begin late
        urls.append(batches.submit(web, key, body=b"one\ntwo\n"))
    eventually(lambda: all(row["status"] == "succeeded" for row in batches.rows(web)), timeout_s=60, what="their end")
    rows = batches.rows(web)
    assert {row["attempt"] for row in rows} == {1} and {row["token"] for row in rows} == {1}
    sent = [request.headers.get("Idempotency-Key") for request in backend.seen("/import")]
    assert sorted(sent) == sorted(url.rsplit("/", 1)[1] for url in urls)
    assert both_have_worked(), "one of them did nothing"
    other.stop()
