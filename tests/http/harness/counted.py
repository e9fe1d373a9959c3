# SPDX-License-Identifier: Apache-2.0
"""What tests of counters in Redis share: a configuration, and whether a request is counted there."""

import re
import threading

from . import checks, confs, redis as redis_server
from .waiting import eventually

ITEM = "/v1/item.json"
DAY = confs.plan("basic", "day 100000/day headers=primary")
# What a Redis that fails, and its return, may say.
SAID = (redis_server.NOT_PERSISTED, redis_server.FAILED)


def conf(where, *more, plan=DAY, budget="50ms", processes=confs.ONE_CHILD):
    """By one process unless told, so that what it knows of Redis is what the next request meets."""
    lines = "".join(f"{line}\n" for line in more)
    return f"APIQuotaStore {where} budget={budget}\n{lines}{processes}{plan}{confs.location('/v1')}"


def remaining(web, key):
    return checks.trio(web.get(ITEM, key=key)).remaining


def counts_in_redis(redis, web, key):
    """True where a request of now is counted in Redis."""
    before = calls(redis)
    web.get(ITEM, key=key)
    return calls(redis) > before


def calls(redis):
    """How often a script was called there."""
    stats = redis.say("INFO", "commandstats")
    return sum(int(found) for found in re.findall(r"cmdstat_eval(?:sha)?:calls=(\d+)", stats))


class Load:
    """Requests of a few clients, one after the other each, while the block runs; their statuses."""

    def __init__(self, web, key, clients=4):
        self.statuses, self._over = [], threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(web, key)) for _ in range(clients)]

    def _run(self, web, key):
        with web.session() as session:
            while not self._over.is_set():
                self.statuses.append(session.get(ITEM, key=key).status)

    def goes_on(self, count=40):
        """Waits until so many more have been answered."""
        wanted = len(self.statuses) + count
        eventually(lambda: len(self.statuses) >= wanted, 60, what=f"{count} more answers")

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *failure):
        self._over.set()
        for thread in self._threads:
            thread.join(60)
