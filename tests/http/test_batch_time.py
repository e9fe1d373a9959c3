# SPDX-License-Identifier: Apache-2.0
"""Batches and the clock: one that is stepped, and what is gone when its time is over."""

import os
import signal

import pytest

from harness import batches, checks, paths
from harness.faketime import ENDS_WAITS
from harness.own_worker import OwnWorker, suspend
from harness.waiting import eventually

HOUR_S = 3600
LEASE_MS = 4000  # longer than a busy machine lets a worker stand still
# The worker with a short lease, as a program of httpd's.
SHORT_LEASE = '#!/bin/sh\nexec "{worker}" "$@" --lease-ms {lease_ms}\n'


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def running(server, keys, key, backend):
    """running(*lines): a server with a clock that can be stepped, and a worker with a short lease."""
    def make(*lines):
        conf = batches.conf(backend.url + "/import", *lines)
        web = server(conf, keys=keys, start=False, faketime="+0", allow=(ENDS_WAITS,))
        program = web.root.path / "worker"
        program.write_text(SHORT_LEASE.format(worker=paths.WORKER, lease_ms=LEASE_MS))
        program.chmod(0o755)
        web.write_conf(f'APIQuotaWorkerProgram "{program}"\n' + conf)
        return web.start()
    return make


def held(web, key, backend):
    backend.hold_import(after_lines=1000)
    url = batches.submit(web, key, body=b"row\n" * 2000)
    backend.wait_held()
    return url


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
def test_f51_stepped_clock_takes_no_job_from_its_worker(running, key, backend, step_s):
    web = running()
    url = held(web, key, backend)
    web.clock.advance(step_s)
    other, first_ms = OwnWorker(web), lease_until_ms(web)
    other.start()
    # Beyond a lease: it has been renewed, and nobody took the job for lost.
    eventually(lambda: lease_until_ms(web) > first_ms + LEASE_MS, what="a renewed lease")
    assert web.get(url, key=key).json()["attempt"] == 1
    backend.release()
    batch = batches.wait_over(web, key, url)
    assert batch["status"] == "succeeded" and batch["attempt"] == 1
    other.stop()


def lease_until_ms(web):
    """Of the one job that runs."""
    (row,) = batches.rows(web)
    return row["lease_until_ms"]


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
def test_f51_lease_taken_at_another_time_holds_a_job_no_longer_than_a_lease(running, key, backend, step_s):
    web = running()
    web.clock.advance(step_s)
    url = held(web, key, backend)
    web.clock.advance(-2 * step_s)
    sleeper = web.worker_pid()
    suspend(web, sleeper)
    try:
        backend.release()
        other = OwnWorker(web)
        other.start()
        # A lease, the scan for such jobs, and the run; half a minute would do for the worker's own lease.
        batch = batches.wait_over(web, key, url, timeout_s=25)
        assert batch["status"] == "succeeded" and batch["attempt"] == 2
    finally:
        os.kill(sleeper, signal.SIGCONT)
    web.log.wait_for(r"AQ00613")
    web.expect_log(r"AQ00613: .* no longer ours", must=True)
    # Unless it ended before it looked; and a wait for the queue that ends at once (ENDS_WAITS) tells it nothing.
    web.expect_log(r"AQ00620: .* the lease was lost|AQ00621: .* the lease cannot be renewed")
    other.stop()


def test_result_is_410_after_its_time_and_all_is_404_after_the_batchs(server, keys, key, backend):
    conf = batches.conf(backend.url + "/import", "APIQuotaBatchRetention 1h results=10min")
    web = server(conf, keys=keys, faketime="+0", allow=(ENDS_WAITS,))
    again = {"Idempotency-Key": "order-1"}
    url = batches.submit(web, key, headers=again)
    done = batches.wait_over(web, key, url)
    assert web.get(url + "/result", key=key).status == 200
    web.clock.advance(601)
    checks.assert_problem(web.get(url + "/result", key=key), 410, code="result-expired")
    assert web.get(url, key=key).json()["status"] == done["status"]
    assert batches.submit(web, key, headers=again) == url
    web.clock.advance(HOUR_S)
    for path in (url, url + "/result"):
        checks.assert_problem(web.get(path, key=key), 404)
    checks.assert_problem(web.post(url + "/cancel", body=b"", key=key), 404)
    checks.assert_problem(web.request("DELETE", url, key=key), 404)
    checks.assert_problem(web.post("/v1/imports", body=b"one\ntwo\n", key=key, headers=again), 410, code="batch-deleted")
    web.stop()
    web.start()  # a worker sweeps when it begins, and each minute
    eventually(lambda: batches.left(web) == batches.NOTHING_LEFT, what="an empty spool")
    assert web.get(batches.STATUS_PATH, key=key).json()["data"] == []
    assert batches.submit(web, key, headers=again) != url
