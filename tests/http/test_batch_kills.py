# SPDX-License-Identifier: Apache-2.0
"""Worker, child and httpd's parent killed at random moments amid uploads, runs and cancels: what was acknowledged ends, each
row has its effect once, and nothing is left over."""

import http.client
import json
import os
import random
import sqlite3
import threading
import time

import pytest

from harness import batches
from harness.own_worker import OwnWorker
from harness.waiting import eventually, wait_until

LONG = os.environ.get("AQ_LONG") == "1"
KILLS = 1000 if LONG else 60  # under two MPMs together
UPLOADERS = 4
ROWS = 300
PAUSE_S = 0.15
HOUR_S = 3600
# Whom a kill meets: the parent takes all of httpd with it, and its start is the slow part.
VICTIMS = ("worker",) * 5 + ("child",) * 4 + ("parent",)
END_S = 300 if LONG else 120
SCAN_S = 2
# The event MPM notices what is done to it.
KILLED_IN_A_ROW = r"AH1039[23]: children are killed successively!"
PREFORK = ("StartServers 16\nMinSpareServers 12\nMaxSpareServers 32\nServerLimit 32\nMaxRequestWorkers 32\n")


class Uploader(threading.Thread):
    """Uploads until it is told to stop, cancels some, and notes what was acknowledged. A broken request is let be."""

    def __init__(self, web, key, name):
        super().__init__(name=name)
        self._web, self._key, self._rng = web, key, random.Random(name)
        self.acknowledged, self.cancels, self.refusals, self.broken = {}, set(), [], 0
        self.stopping = threading.Event()

    def run(self):
        number = 0
        while not self.stopping.is_set():
            number += 1
            lines = [f"{self.name} {number} {row}".encode() for row in range(ROWS)]
            answer = self._try("/v1/imports", b"\n".join(lines))
            if answer and answer.status == 202:
                batch = json.loads(answer.body)["id"]
                self.acknowledged[batch] = lines
                if self._rng.random() < 0.2:
                    self._cancel(batch)
            self.stopping.wait(0.05)

    def _cancel(self, batch):
        answer = self._try(f"{batches.STATUS_PATH}/{batch}/cancel", b"")
        if answer and answer.status == 200:
            self.cancels.add(batch)

    def _try(self, path, body):
        """The answer, None where there is no whole one. Others than what these requests get are noted."""
        try:
            answer = self._web.post(path, body=body, key=self._key)
        except (OSError, http.client.HTTPException):
            answer = None
        if answer is None or answer.truncated:
            self.broken += 1
            return None
        if answer.status not in (200, 202, 409):
            self.refusals.append(answer)
        return answer


def kill_one(web, worker):
    """The worker, a child or the parent; returns which."""
    victim = random.choice(VICTIMS)
    if victim == "worker":
        worker.kill()
        worker.start()
    elif victim == "child":
        web.kill_child(random.choice(eventually(web.child_pids, what="a child")))
    else:
        web.kill9_parent_and_orphans()  # the worker too: it carries the server's mark
        worker.kill()
        web.start()
        worker.start()
    return victim


def age_everything(web):
    """What a kill left may be an upload that goes on, until it is an hour old."""
    for part in ("body", "result"):
        for file in (batches.folder(web) / "spool" / part).iterdir():
            os.utime(file, times=(0, file.stat().st_mtime - 2 * HOUR_S))


def nothing_is_left_over(web, worker):
    """Each file belongs to a row, and each row that is over has its files, once the worker has swept."""
    age_everything(web)
    worker.kill()
    worker.start()
    rows = batches.rows(web)
    wanted = (sorted(row["id"] for row in rows),
              sorted(f"{row['id']}.{row['result_token']}" for row in rows if row["result_token"]))
    is_clean = wait_until(lambda: (batches.left(web).body, batches.left(web).result) == wanted, 60, interval_s=0.2)
    assert is_clean, (batches.left(web), wanted)
    assert batches.left(web).incoming == []
    living = [file.name for file in batches.folder(web).glob("queue.db.worker-*")]
    assert len(living) == 1 and f"worker-{worker.pid}-" in living[0], living


def hasten(web):
    """A job that lost its worker five times waits ten minutes for its sixth attempt: that wait is not what is tested."""
    with sqlite3.connect(batches.folder(web) / "queue.db", timeout=20) as queue:
        queue.execute("UPDATE batches SET next_attempt_at_ms = 1 WHERE status = 'queued' AND next_attempt_at_ms > 0")
    queue.close()


def all_are_over(web):
    hasten(web)
    return {row["status"] for row in batches.rows(web)} <= set(batches.OVER)


def all_acknowledged_ended(backend, uploaders, ended):
    """As they were acknowledged: done, or canceled by who asked for it; and each row at the backend once."""
    for uploader in uploaders:
        for batch, lines in uploader.acknowledged.items():
            stored = backend.store.lines(batch)
            assert ended.get(batch) in ("succeeded", "canceled"), (batch, ended.get(batch))
            # A cancel whose answer was lost may have been heard all the same.
            assert ended[batch] == "succeeded" or stored in ([], lines), batch
            assert ended[batch] != "succeeded" or stored == lines, batch
        for batch in uploader.cancels:
            assert ended[batch] in ("succeeded", "canceled"), batch
    assert set(backend.store.uploads()) <= set(ended), "an effect without a batch"


@pytest.mark.parametrize("mpm", ["prefork", "event"], indirect=True)
def test_f41_acknowledged_batches_survive_kills_and_have_one_effect_each(server, keys, backend, mpm):
    key = keys.add("acme")
    conf = batches.conf(backend.url + "/import", "APIQuotaBatchAttempts 100")
    web = server(conf, keys=keys, worker=False, mpm_conf=PREFORK if mpm == "prefork" else "", allow=(KILLED_IN_A_ROW,))
    worker = OwnWorker(web)
    worker.start()
    uploaders = [Uploader(web, key, f"uploader-{number}") for number in range(UPLOADERS)]
    for uploader in uploaders:
        uploader.start()
    killed = []
    while len(killed) < KILLS // 2 or len(set(killed)) < 3:
        killed.append(kill_one(web, worker))
        time.sleep(random.uniform(0, 2 * PAUSE_S))  # not a wait: the moments of the kills are to be spread
    for uploader in uploaders:
        uploader.stopping.set()
    for uploader in uploaders:
        uploader.join()
    assert sum(len(uploader.acknowledged) for uploader in uploaders) >= KILLS // 2, "too few uploads to prove anything"
    assert not [uploader.refusals for uploader in uploaders if uploader.refusals]
    assert wait_until(lambda: all_are_over(web), END_S, interval_s=0.5), \
        [row for row in batches.rows(web) if row["status"] not in batches.OVER]
    all_acknowledged_ended(backend, uploaders, {row["id"]: row["status"] for row in batches.rows(web)})
    nothing_is_left_over(web, worker)
    worker.stop()
    print(f"{len(killed)} kills, {sum(len(u.acknowledged) for u in uploaders)} acknowledged, "
          f"{sum(len(u.cancels) for u in uploaders)} cancels, {sum(u.broken for u in uploaders)} broken requests")


@pytest.mark.parametrize("trace", ["left", "lost"])
def test_f41_job_of_a_killed_worker_is_recovered_within_a_lease_and_a_scan(server, keys, backend, trace):
    """`trace`: the file by which others see that its worker is dead. Without it the lease alone tells."""
    lease_s, key = 3, keys.add("acme")
    web = server(batches.conf(backend.url + "/import"), keys=keys, worker=False)
    first, second = (OwnWorker(web, "--lease-ms", str(lease_s * 1000)) for _ in range(2))
    first.start()
    backend.hold_import(after_lines=1000)
    url = batches.submit(web, key, body=b"row\n" * 3000)
    backend.wait_held()
    first.kill()
    if trace == "lost":
        for file in batches.folder(web).glob("queue.db.worker-*"):
            file.unlink()
    began = time.monotonic()
    second.start()
    # Without the file its first attempt is over when the lease is.
    eventually(lambda: web.get(url, key=key).json()["attempt"] == 2, timeout_s=lease_s + SCAN_S + 60, what="recovery")
    # A busy machine takes some seconds more; a lease as httpd's worker has it would take thirty.
    assert time.monotonic() - began < lease_s + SCAN_S + 20, "recovered too late"
    backend.release()
    assert batches.wait_over(web, key, url)["status"] == "succeeded"
    assert backend.store.count() == 3000
    second.stop()
