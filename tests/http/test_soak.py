# SPDX-License-Identifier: Apache-2.0
"""Soak: callers and uploaders at once for SOAK minutes (2), while workers, children, the parent and Redis are killed, stopped
and restarted at random; at the end all counts are reconciled with what clients saw."""

import collections
import contextlib
import os
import random
import time

import pytest

import test_batch_kills as kills
from harness import batches, confs
from harness.callers import Callers
from harness.own_worker import OwnWorker
from harness.redis import FAILED
from harness.waiting import eventually, wait_until

MINUTES = float(os.environ.get("SOAK") or 2)
PLENTY, FEW = 10_000_000, 400
ITEM = "/v1/item.json"
PLANS = (confs.plan("basic", f"all {PLENTY}/total headers=primary")
         + confs.plan("small", f"few {FEW}/total headers=primary") + confs.location("/v1"))
# What those lines say is what is done here; what must not be in the log is still found: crashes, damage, our own errors.
SAID = (kills.KILLED_IN_A_ROW, FAILED, "AQ01001")


class Harm:
    """What is done to a server, its worker and its Redis (None: it counts in shared memory)."""

    def __init__(self, web, worker, redis):
        self._web, self._worker, self._redis = web, worker, redis
        self._ways = [self._kill, self._kill, self._kill, self._graceful] + ([self._stop, self._crash] if redis else [])
        self.done = collections.Counter()

    def do_one(self):
        way = random.choice(self._ways)
        self.done[way() or way.__name__.strip("_")] += 1

    def _kill(self):
        return kills.kill_one(self._web, self._worker)

    def _graceful(self):
        self._web.graceful(wait_for_old=False)

    def _stop(self):
        self._redis.stop()
        time.sleep(random.uniform(0, 0.5))  # not a wait: how long it is away is to be spread
        self._redis.go_on()

    def _crash(self):
        self._redis.kill()
        self._redis.start()


def used(web, key):
    """(what the key has used, how many requests it took to learn it beside the one that is counted in)"""
    tries = 0
    while True:
        answer = web.get(ITEM, key=key)
        if answer.status == 200:
            return PLENTY - int(answer.headers["X-RateLimit-Remaining"]) - 1, tries
        tries += 1
        assert tries < 600 and answer.status == 503, answer
        time.sleep(0.05)


def reconcile(web, key, callers):
    """Each answer of 200 was counted, and nothing else but requests of whose end the client has not heard."""
    counted, tries = used(web, key)
    refused = collections.Counter(answer.status for answer in callers.others)
    assert set(refused) <= {503}, refused
    assert callers.hung == 0
    assert callers.answered <= counted <= callers.answered + callers.lost + refused[503] + tries, (counted, callers.lost)


@pytest.fixture
def place(request, redis_started):
    """The lines that say where is counted, and the Redis, None for shared memory."""
    if request.param == "shm":
        return "", None
    redis = redis_started("--appendonly", "yes", "--appendfsync", "always")
    # What is not counted by Redis is refused, so that one place alone knows how much was used.
    return f"APIQuotaStore {redis.url}\nAPIQuotaStoreFailure deny\n", redis


@pytest.mark.long
@pytest.mark.parametrize("place", ["shm", "redis"], indirect=True)
def test_all_counts_agree_after_a_soak(server, keys, backend, place):
    lines, redis = place
    keys.tenant("tight", plan="small")
    roomy, tight, uploading = keys.add("acme"), keys.add("tight"), keys.add("loader")
    conf = lines + PLANS + batches.conf(backend.url + "/import", "APIQuotaBatchAttempts 100").replace(batches.PLAN, "")
    web = server(conf, keys=keys, worker=False, allow=SAID)
    worker = OwnWorker(web)
    worker.start()
    harm = Harm(web, worker, redis)
    uploaders = [kills.Uploader(web, uploading, f"uploader-{number}") for number in range(2)]
    with contextlib.ExitStack() as stack:
        many = stack.enter_context(Callers(web, roomy, 6, dead_ok=True))
        few = stack.enter_context(Callers(web, tight, 2, dead_ok=True))
        for uploader in uploaders:
            uploader.start()
            stack.callback(uploader.join)
            stack.callback(uploader.stopping.set)
        end = time.monotonic() + MINUTES * 60
        while time.monotonic() < end:
            harm.do_one()
            before = many.answered
            eventually(lambda: many.answered > before, 60, f"an answer after {harm.done}")
    print(dict(harm.done), f"{many.answered} answered, {many.lost} lost")
    reconcile(web, roomy, many)
    assert few.answered <= FEW and {answer.status for answer in few.others} <= {429, 503}
    assert few.answered + few.lost >= FEW or redis, "the tight limit was never reached"
    refusals = [answer for uploader in uploaders for answer in uploader.refusals]
    assert {answer.status for answer in refusals} <= ({503} if redis else set()), refusals
    assert wait_until(lambda: kills.all_are_over(web), kills.END_S, interval_s=0.5), batches.rows(web)
    kills.all_acknowledged_ended(backend, uploaders, {row["id"]: row["status"] for row in batches.rows(web)})
    kills.nothing_is_left_over(web, worker)
    worker.stop()
