# SPDX-License-Identifier: Apache-2.0
"""What tests of counters in Redis share: a configuration, and whether a request is counted there."""

import re

from . import checks, confs, redis as redis_server

ITEM = "/v1/item.json"
DAY = confs.plan("basic", "day 100000/day headers=primary")
# What a Redis that fails, and its return, may say.
SAID = (redis_server.NOT_PERSISTED, redis_server.FAILED)
# One process, so that what it knows of Redis is what the next request meets.
ONE_CHILD = "StartServers 1\nServerLimit 1\nThreadLimit 32\nThreadsPerChild 32\nMaxRequestWorkers 32\n" \
            "MinSpareThreads 1\nMaxSpareThreads 32\n"


def conf(where, *more, plan=DAY, budget="50ms"):
    lines = "".join(f"{line}\n" for line in more)
    return f"APIQuotaStore {where} budget={budget}\n{lines}{ONE_CHILD}{plan}{confs.location('/v1')}"


def remaining(web, key):
    return checks.trio(web.get(ITEM, key=key)).remaining


def counts_in_redis(redis, web, key):
    """True where a request of now is counted in Redis."""
    before = redis.say("INFO", "commandstats")
    web.get(ITEM, key=key)
    return _calls(redis.say("INFO", "commandstats")) > _calls(before)


def _calls(stats):
    return sum(int(found) for found in re.findall(r"cmdstat_eval(?:sha)?:calls=(\d+)", stats))
