# SPDX-License-Identifier: Apache-2.0
"""Batches of items whose worker is killed, stopped or frozen; and large ones, at flat memory."""

import random
import time

import pytest

from harness import batches
from harness.items import key, ndjson, result, segments, serve, submit, target  # noqa: F401
from harness.items_backend import Answer
from harness.own_worker import OwnWorker
from harness.waiting import eventually

KILLS = 25
KB = 1024


def kill_while_it_runs(worker, target, kills, until):
    """Kills the worker again and again, each time when it has got on; returns how often. (After a few kills in a row of which
    none got on, the batch would wait for minutes.)"""
    killed = 0
    while killed < kills and target.requests < until:
        goal = target.requests + random.randint(10, 40)
        eventually(lambda: target.requests > goal)
        worker.kill()
        worker.start()
        killed += 1
    return killed


def test_f41_items_survive_kills_and_have_one_effect_each(serve, key, target):
    count = 3000
    target.behave = lambda request: Answer(201, b'{"stored":%d}' % request.line, delay_s=0.005)
    web = serve(worker=False)
    url = submit(web, key, b"not json\n" + ndjson(count))
    worker = OwnWorker(web)
    worker.start()
    assert kill_while_it_runs(worker, target, KILLS, count * 3 // 4) >= KILLS // 2
    batch = batches.wait_over(web, key, url, timeout_s=60)
    worker.stop()
    assert batch["status"] == "succeeded"
    assert batch["progress"] == {"done": count + 1, "total": count + 1, "failed": 1}
    lines = result(web, key, url)
    assert [line["line"] for line in lines] == list(range(1, count + 2))
    assert all(line["body"] == {"stored": line["line"]} for line in lines[1:])
    assert target.lines == list(range(2, count + 2)) and len(target.effects) == count
    assert segments(web) == [] and batches.left(web).incoming == []
    # What was on its way at a kill may be sent again; what was answered before is not.
    assert target.requests <= count + KILLS * 2 * 4


def test_items_of_a_target_that_is_not_idempotent_are_sent_once_whatever_is_killed(serve, key, target):
    count = 600
    target.behave = lambda request: Answer(201, b'{"stored":%d}' % request.line, delay_s=0.01)
    web = serve("APIQuotaBatchTargetIdempotent Off", worker=False)
    url = submit(web, key, ndjson(count))
    worker = OwnWorker(web)
    worker.start()
    killed = kill_while_it_runs(worker, target, 10, count * 3 // 4)
    batch = batches.wait_over(web, key, url, timeout_s=60)
    worker.stop()
    assert batch["status"] == "succeeded" and set(target.sent.values()) == {1}
    lines = result(web, key, url)
    assert [line["line"] for line in lines] == list(range(1, count + 1))
    unknown = [line for line in lines if line.get("error", {}).get("code") == "outcome-unknown"]
    assert len(unknown) <= killed * 4 and batch["progress"] == {"done": count, "total": count, "failed": len(unknown)}
    assert all(line["body"] == {"stored": line["line"]} for line in lines if line not in unknown)


def test_stopped_worker_hands_the_batch_back_and_counts_no_attempt(serve, key, target):
    target.behave = lambda request: Answer(201, b"1", delay_s=0.02)
    web = serve("APIQuotaBatchItems parallel=2", worker=False)
    url = submit(web, key, ndjson(1000))
    worker = OwnWorker(web)
    for _ in range(2):
        before = target.requests
        worker.start()
        eventually(lambda: target.requests > before + 20)
        worker.stop()
        batch = web.get(url, key=key).json()
        assert batch["status"] == "queued" and batch["attempt"] == 0
        assert batch["progress"]["done"] == len(target.effects), "what was on its way is waited for, and noted"
    target.behave = lambda request: Answer(201, b"1")
    worker.start()
    batch = batches.wait_over(web, key, url)
    worker.stop()
    assert batch["status"] == "succeeded" and batch["attempt"] == 1
    assert batch["progress"] == {"done": 1000, "total": 1000, "failed": 0} and target.requests == 1000


def test_f42_frozen_worker_that_lost_its_lease_changes_nothing(serve, key, target):
    target.behave = lambda request: Answer(201, b'{"stored":%d}' % request.line, delay_s=0.02)
    web = serve("APIQuotaBatchItems parallel=2", worker=False)
    url = submit(web, key, ndjson(200))
    frozen, other = OwnWorker(web, "--lease-ms", "1000"), OwnWorker(web, "--lease-ms", "1000")
    frozen.start()
    eventually(lambda: target.requests > 20)
    frozen.suspend()
    try:
        other.start()
        batch = batches.wait_over(web, key, url, timeout_s=60)
        sent = target.requests
    finally:
        frozen.resume()
    frozen.stop()
    other.stop()
    assert batch["status"] == "succeeded" and batch["progress"] == {"done": 200, "total": 200, "failed": 0}
    assert target.requests == sent, "a worker without a lease sends nothing"
    assert web.get(url, key=key).json() == batch
    assert [line["line"] for line in result(web, key, url)] == list(range(1, 201)) and len(target.effects) == 200


def rss_anon(pid):
    """Bytes of memory that no file backs."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * KB for line in status if line.startswith("RssAnon"))


def run_large(serve, key, target, count):
    """Runs a batch of `count` items; (RssAnon when a tenth was sent, the most seen afterwards, its batch, its URL, web)."""
    target.keep_bodies = False
    target.behave = lambda request: Answer(201, b"1")
    web = serve("APIQuotaBatchItems parallel=8", "APIQuotaBatchMaxItems 2000000", worker=False)
    url = submit(web, key, ndjson(count), timeout_s=120)
    worker = OwnWorker(web)
    worker.start()
    eventually(lambda: target.requests > count // 10, timeout_s=count / 200)
    early = most = rss_anon(worker.pid)
    while target.requests < count:
        most = max(most, rss_anon(worker.pid))
        time.sleep(0.05)  # not a wait: samples of the memory
    while web.get(url, key=key).json()["status"] not in batches.OVER:
        most = max(most, rss_anon(worker.pid))
    batch = batches.wait_over(web, key, url)
    worker.stop()
    return early, most, batch, url, web


def check_large(serve, key, target, count):
    early, most, batch, url, web = run_large(serve, key, target, count)
    assert batch["status"] == "succeeded" and batch["progress"] == {"done": count, "total": count, "failed": 0}
    answer = web.get(url + "/result", key=key, timeout_s=60)
    numbers = [int(line.split(b",", 1)[0].rpartition(b":")[2]) for line in answer.body.splitlines()]
    assert numbers == list(range(1, count + 1)) and len(target.effects) == count
    assert most - early < 4 << 20, f"{early >> 10} kB when a tenth was sent, {most >> 10} kB later"


def test_many_items_at_flat_memory(serve, key, target):
    check_large(serve, key, target, 50000)


@pytest.mark.long
def test_a_million_items_at_flat_memory(serve, key, target):
    check_large(serve, key, target, 1000000)


def test_f69_lines_of_every_bad_kind_are_their_own_errors_at_bounded_memory(serve, key, target):
    web = serve("APIQuotaBatchMaxItems 2000000", worker=False)
    long, deep = b'"' + b"x" * (10 << 20) + b'"\n', b"[" * (1 << 19) + b"\n"
    url = submit(web, key, b'{"first":1}\n' + long + deep + b"\n" * 1000000 + b'{"last":1}', timeout_s=60)
    worker = OwnWorker(web)
    worker.start()
    most = 0
    while web.get(url, key=key).json()["status"] not in batches.OVER:
        most = max(most, rss_anon(worker.pid))
    batch = batches.wait_over(web, key, url)
    worker.stop()
    assert batch["status"] == "succeeded"
    assert batch["progress"] == {"done": 1000004, "total": 1000004, "failed": 1000002}
    lines = web.get(url + "/result", key=key, timeout_s=60).body.splitlines()
    assert len(lines) == 1000004 and target.lines == [1, 1000004]
    assert b"line-too-long" in lines[1] and b"too-deep" in lines[2]
    assert all(b'"not-json"' in line for line in lines[3:-1])
    assert most < 24 << 20, f"{most >> 10} kB"
