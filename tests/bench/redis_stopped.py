#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What requests notice of a Redis that stops under load (SIGSTOP) and goes on (SIGCONT), counters and keys in it.

    tests/bench/redis_stopped.py [SECONDS [CONNECTIONS]]      each of three phases; 5 and 4 unless told

A real httpd and a real Redis on loopback. Prints how long requests took before, while it was stopped and after, how many of
them failed, how many charges took longer than the budget of 50 ms in the store (by httpd's own histogram, for a client on a busy
machine waits for much else), and how soon after SIGCONT a request was counted in Redis again. Times are told, not judged.
"""

import collections
import pathlib
import re
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "http"))

from harness import confs, exposition, redis as redis_server  # noqa: E402
from harness.httpd import Httpd  # noqa: E402
from harness.redis_keys import RedisKeys  # noqa: E402
from harness.serverroot import Spec  # noqa: E402

ITEM = "/v1/item.json"
CONF = """StartServers 1
ServerLimit 1
ThreadLimit 32
ThreadsPerChild 32
MaxRequestWorkers 32
MinSpareThreads 1
MaxSpareThreads 32
"""
Answer = collections.namedtuple("Answer", "began took status")


class Load:
    """Requests over kept-alive connections until it is told to end."""

    def __init__(self, web, key, connections):
        self._web, self._key, self._is_over, self.answers = web, key, threading.Event(), []
        self._threads = [threading.Thread(target=self._run) for _ in range(connections)]
        for thread in self._threads:
            thread.start()

    def _run(self):
        with self._web.session() as session:
            while not self._is_over.is_set():
                began = time.monotonic()
                status = session.get(ITEM, key=self._key).status
                self.answers.append(Answer(began, time.monotonic() - began, status))

    def end(self):
        self._is_over.set()
        for thread in self._threads:
            thread.join()


def scripts_run(redis):
    stats = redis.say("INFO", "commandstats")
    return sum(int(calls) for calls in re.findall(r"cmdstat_eval(?:sha)?:calls=(\d+)", stats))


def counted_after(redis, limit_s=30.0):
    """Seconds until a script runs again."""
    began = time.monotonic()
    before = scripts_run(redis)
    while scripts_run(redis) == before:
        if time.monotonic() - began > limit_s:
            return float("inf")
        time.sleep(0.005)
    return time.monotonic() - began


def slow_charges(web):
    """(longer than 50 ms, longer than 100 ms) so far."""
    shown = exposition.scrape(web)
    whole = shown.of("apiquota_store_seconds_bucket", le="+Inf")
    return [whole - shown.of("apiquota_store_seconds_bucket", le=bound) for bound in ("0.05", "0.1")]


def quantile_ms(answers, part):
    took = sorted(answer.took for answer in answers)
    return 1000 * took[min(len(took) - 1, int(part * len(took)))] if took else float("nan")


def row(name, answers, seconds):
    print(f"{name:<34}{len(answers) / seconds:>10.0f}{quantile_ms(answers, 0.5):>10.2f}{quantile_ms(answers, 0.99):>10.2f}"
          f"{quantile_ms(answers, 1):>10.2f}{sum(answer.status != 200 for answer in answers):>8}")


def measure(web, redis, key, seconds, connections):
    web.get(ITEM, key=key)
    load = Load(web, key, connections)
    time.sleep(1)
    moments = [time.monotonic()]
    time.sleep(seconds)
    before = slow_charges(web)
    moments.append(time.monotonic())
    redis.stop()
    time.sleep(seconds)
    moments.append(time.monotonic())
    redis.go_on()
    back_s = counted_after(redis)
    time.sleep(seconds)
    moments.append(time.monotonic())
    load.end()
    print(f"{'':<34}{'req/s':>10}{'p50 ms':>10}{'p99 ms':>10}{'max ms':>10}{'failed':>8}")
    names = ("Redis answers", "Redis stopped", "Redis goes on")
    for name, begin, end in zip(names, moments, moments[1:]):
        row(name, [answer for answer in load.answers if begin <= answer.began < end], end - begin)
    opened = moments[1] + 0.2
    row("  breaker open (from 0.2 s on)", [a for a in load.answers if opened <= a.began < moments[2]],
        moments[2] - opened)
    slow = [after - once for after, once in zip(slow_charges(web), before)]
    print(f"charges longer than 50 ms in the store: {slow[0]:.0f}, longer than 100 ms: {slow[1]:.0f}"
          f" (of {connections} connections, each may wait for its budget once)")
    print(f"counted in Redis again {1000 * back_s:.0f} ms after SIGCONT")


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    connections = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    redis = redis_server.Redis()
    web = None
    try:
        keys = RedisKeys(redis, "redis")
        key = keys.add("acme")
        conf = (f"APIQuotaStore {redis.url} budget=50ms\n" + CONF + confs.plan("basic", "day 100000000/day headers=primary")
                + confs.location("/v1") + exposition.LOCATION)
        web = Httpd(Spec(mpm="event", conf=conf, keys=keys))
        web.start()
        measure(web, redis, key, seconds, connections)
    finally:
        if web:
            web.close()
        redis.close()


if __name__ == "__main__":
    main()
