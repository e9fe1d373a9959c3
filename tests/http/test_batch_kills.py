# SPDX-License-Identifier: Apache-2.0
"""Workers and children killed amid uploads and runs: what was acknowledged is done, each row once."""

import http.client
import json
import os
import random
import subprocess
import threading
import time

import pytest

from harness import batches, paths, processes
from harness.waiting import eventually

KILLS = 100
UPLOADERS = 4
ROWS = 300
PAUSE_S = 0.15
PREFORK = ("StartServers 16\nMinSpareServers 12\nMaxSpareServers 32\nServerLimit 32\nMaxRequestWorkers 32\n")


class OwnWorker:
    """A worker that the test starts, as httpd's user, and starts again at once when it has killed it."""

    def __init__(self, web):
        self._web, self._process = web, None

    def start(self):
        user = {"user": paths.HTTPD_USER, "group": paths.HTTPD_USER, "extra_groups": []} if paths.AS_ROOT else {}
        environment = {**os.environ, processes.TAG_VARIABLE: str(self._web.root.path)}
        environment.pop("LD_PRELOAD", None)
        self._process = subprocess.Popen(
            [paths.WORKER, "--state-dir", self._web.root.state, "--log-level", "warn"], env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True, **user)

    def kill(self):
        self._process.kill()
        self._process.wait(10)

    def stop(self):
        self._process.terminate()
        assert self._process.wait(15) == 0


class Uploader(threading.Thread):
    """Uploads until it is told to stop, and notes what was acknowledged. A broken upload is tried again."""

    def __init__(self, web, key, name):
        super().__init__(name=name)
        self._web, self._key = web, key
        self.acknowledged, self.refusals, self.broken, self.stopping = {}, [], 0, threading.Event()

    def run(self):
        number = 0
        while not self.stopping.is_set():
            number += 1
            lines = [f"{self.name} {number} {row}".encode() for row in range(ROWS)]
            try:
                answer = self._web.post("/v1/imports", body=b"\n".join(lines), key=self._key)
            except (OSError, http.client.HTTPException):
                self.broken += 1
                continue
            if answer.status == 202 and not answer.truncated:
                self.acknowledged[json.loads(answer.body)["id"]] = lines
            elif not answer.truncated:
                self.refusals.append(answer)
            self.stopping.wait(0.05)


def kill_one(web, worker, number):
    """A worker or a child in turn; returns which."""
    if number % 2:
        worker.kill()
        worker.start()
        return "worker"
    child = random.choice(eventually(web.child_pids, what="a child"))
    web.kill_child(child)
    return "child"


@pytest.mark.parametrize("mpm", ["prefork", "event"], indirect=True)
def test_f41_acknowledged_batches_survive_kills_and_have_one_effect_each(server, keys, backend, mpm):
    key = keys.add("acme")
    conf = batches.conf(backend.url + "/import", "APIQuotaBatchAttempts 100")
    web = server(conf, keys=keys, worker=False, mpm_conf=PREFORK if mpm == "prefork" else "")
    worker = OwnWorker(web)
    worker.start()
    uploaders = [Uploader(web, key, f"uploader-{number}") for number in range(UPLOADERS)]
    for uploader in uploaders:
        uploader.start()
    killed = []
    for number in range(KILLS // 2):
        killed.append(kill_one(web, worker, number))
        time.sleep(random.uniform(0, 2 * PAUSE_S))  # not a wait: the moments of the kills are to be spread
    for uploader in uploaders:
        uploader.stopping.set()
    for uploader in uploaders:
        uploader.join()
    acknowledged = {batch_id: lines for uploader in uploaders for batch_id, lines in uploader.acknowledged.items()}
    assert len(acknowledged) >= KILLS // 2, "too few uploads to prove anything"
    assert sorted(set(killed)) == ["child", "worker"] and not [u.refusals for u in uploaders if u.refusals]
    eventually(lambda: {row["status"] for row in batches.rows(web)} <= set(batches.OVER), timeout_s=30,
               what="the end of all batches")
    ended = {row["id"]: row["status"] for row in batches.rows(web)}
    for batch_id, lines in acknowledged.items():
        assert ended.get(batch_id) == "succeeded", (batch_id, ended.get(batch_id))
        assert backend.store.lines(batch_id) == lines, batch_id
    assert set(backend.store.uploads()) == set(ended)
    worker.stop()
