# SPDX-License-Identifier: Apache-2.0
"""Slices of limits in advance (mode=leased): lines 39 and 40 of the catalogue, and what clients and operators see."""

import collections
import concurrent.futures
import http.client
import json
import os
import re
import subprocess
import threading

import pytest

from harness import checks, confs, exposition, load, paths, redis as redis_server
from harness.waiting import eventually

ITEM = "/v1/item.json"
LONG = os.environ.get("AQ_LONG") == "1"
MACHINES, LIMIT, REQUESTS, CONNECTIONS = 2, 1000, 4000, 16
# What a machine may hold: half a slice, and the next one. See docs/scaling.md.
HELD = LIMIT // 32 // 2 + LIMIT // 32
PLAN = confs.plan("basic", f"day {LIMIT}/day headers=primary")


def conf(redis, plan=PLAN, more=""):
    """A budget that a busy machine keeps."""
    return f"APIQuotaStore {redis.url} mode=leased budget=10s\n" + plan + confs.location("/v1") + more


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def machine(redis_started, server, keys, key):  # pylint: disable=unused-argument
    return lambda text, **how: server(text, keys=keys, allow=(redis_server.NOT_PERSISTED,), **how)


def charged(redis):
    """What Redis has counted of the one limit, with all that machines hold."""
    home, = redis.say("KEYS", "aq:{t:*")
    fields = redis.say("HGETALL", home)
    text, = [value for name, value in zip(fields[::2], fields[1::2]) if name != "machines"]
    return int(text.split()[2])


def busy(web, key, requests, connections=CONNECTIONS):
    return load.hey(web.port, ITEM, requests, connections, key=key)


@pytest.mark.parametrize("run", range(10 if LONG else 2))
def test_f39_leased_machines_admit_the_limit_at_most_and_nearly_all_of_it(machine, redis, key, run):
    # pylint: disable=unused-argument
    webs = [machine(conf(redis)) for _ in range(MACHINES)]
    with concurrent.futures.ThreadPoolExecutor(MACHINES) as pool:
        counts = list(pool.map(lambda web: busy(web, key, REQUESTS), webs))
    admitted = sum(count[200] for count in counts)
    assert 970 <= admitted <= LIMIT
    assert sum(count[429] for count in counts) == MACHINES * REQUESTS - admitted


# Below the limit in all, however late the kill comes.
EACH_BEFORE = 40


def until_it_dies(web, key, admitted):
    """Requests over one connection until the server is gone, or there were enough."""
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
    try:
        for _ in range(EACH_BEFORE):
            connection.request("GET", ITEM, headers={"X-API-Key": key})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
            admitted.append(1)
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()


@pytest.mark.parametrize("run", range(10 if LONG else 2))
def test_f40_killed_machine_takes_no_more_with_it_than_is_documented(machine, redis, key, run):
    # pylint: disable=unused-argument
    first, second = (machine(conf(redis)) for _ in range(MACHINES))
    admitted = []
    threads = [threading.Thread(target=until_it_dies, args=(first, key, admitted)) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(admitted) >= 300, 60, what="300 requests")
    first.kill9_parent_and_orphans()
    for thread in threads:
        thread.join()
    before = len(admitted)
    counts = busy(second, key, REQUESTS)
    assert counts[200] + before <= LIMIT
    # Each connection had a request under way, which may have been charged and not answered.
    assert counts[200] + before >= LIMIT - HELD - CONNECTIONS


def test_what_is_left_is_given_back_when_it_is_idle(machine, redis, key):
    web = machine(conf(redis))
    assert busy(web, key, 320)[200] == 320
    eventually(lambda: charged(redis) == 320, 30, what="idle slices to be given back")


def test_what_is_left_is_given_back_at_a_stop_and_at_a_restart(machine, redis, key):
    web = machine(conf(redis))
    assert busy(web, key, 320)[200] == 320
    web.restart()
    assert busy(web, key, 320)[200] == 320
    web.stop()
    assert charged(redis) == 640


@pytest.mark.parametrize("mpm", ["prefork"], indirect=True)
def test_what_is_left_is_given_back_where_prefork_ends_its_children_at_once(machine, redis, key, mpm):  # pylint: disable=unused-argument
    """They end in a signal handler, where nothing can be asked: the parent gives back what they leave."""
    web = machine(conf(redis))
    assert busy(web, key, 320)[200] == 320
    web.restart()
    assert charged(redis) < 320 + HELD
    assert busy(web, key, 320)[200] == 320
    web.stop(at_once=True)
    assert charged(redis) == 640


def test_headers_count_down_by_one(machine, redis, key):
    web = machine(conf(redis))
    with web.session() as session:
        shown = [checks.trio(session.get(ITEM, key=key)) for _ in range(200)]
    assert [trio.remaining for trio in shown] == list(range(999, 799, -1))
    assert len({trio.reset for trio in shown}) == 1


def test_few_requests_of_a_busy_key_wait_for_redis(machine, redis, key):
    web = machine(conf(redis, confs.plan("basic", "hour 100000/hour headers=primary", "day 1000000/day headers=none")))
    before = redis.say("INFO", "commandstats")
    assert busy(web, key, 4000)[200] == 4000
    assert calls(redis.say("INFO", "commandstats")) - calls(before) < 4000 // 4


def calls(stats):
    return sum(int(found) for found in re.findall(r"cmdstat_eval(?:sha)?:calls=(\d+)", stats))


@pytest.mark.parametrize("mode, store, is_leased", [("leased", "strict", False), ("strict", "leased", True)])
def test_a_limit_may_say_otherwise_than_the_store(machine, redis, key, mode, store, is_leased):
    plan = confs.plan("basic", f"year 100000/366d headers=primary store={store}")
    web = machine(conf(redis, plan).replace("mode=leased", f"mode={mode}"))
    before = redis.say("INFO", "commandstats")
    assert busy(web, key, 960)[200] == 960
    assert (calls(redis.say("INFO", "commandstats")) - calls(before) < 960) == is_leased
    web.stop()
    assert charged(redis) == 960


def test_slices_of_a_limit_are_not_for_a_cluster(server, keys, key):  # pylint: disable=unused-argument
    plan = confs.plan("basic", "hour 100000/hour headers=primary store=leased")
    text = "APIQuotaStore redis+cluster://127.0.0.1:1\n" + plan + confs.location("/v1")
    assert "store=leased" in server(text, keys=keys, start=False).start_fails()


def test_free_answer_costs_nothing(machine, redis, key):
    web = machine(conf(redis))
    with web.session() as session:
        tag = session.get(ITEM, key=key).headers["ETag"]
        for _ in range(60):
            answer = session.get(ITEM, key=key, headers={"If-None-Match": tag})
            assert answer.status == 304
            assert answer.headers["X-RateLimit-Remaining"] == "999"
    web.stop()
    assert charged(redis) == 1


def test_refusal_by_a_strict_limit_costs_the_leased_ones_nothing(machine, redis, key):
    plan = confs.plan("basic", f"day {LIMIT}/day headers=primary", "few 20/366d headers=none")
    web = machine(conf(redis, plan))
    counts = busy(web, key, 320)
    assert counts == collections.Counter({200: 20, 429: 300})
    web.stop()
    home, = redis.say("KEYS", "aq:{t:*")
    fields = redis.say("HGETALL", home)
    used = {value.split()[2] for name, value in zip(fields[::2], fields[1::2]) if name != "machines"}
    assert used == {"20"}


def test_while_redis_is_away_slices_are_spent_and_then_this_machine_counts(redis, server, keys, key):
    web = server(conf(redis), keys=keys, allow=(redis_server.NOT_PERSISTED, redis_server.FAILED))
    assert busy(web, key, 320)[200] == 320
    redis.kill()
    counts = busy(web, key, 960)
    # It begins where Redis stood, which counted what was held here.
    assert LIMIT - 320 - HELD <= counts[200] and counts[429] > 0
    redis.start()
    eventually(lambda: web.get(ITEM, key=key).status == 200 and redis.say("KEYS", "aq:{t:*"), 30, what="Redis in use again")


def test_operators_see_slices_and_usage(machine, redis, key):
    web = machine(conf(redis, PLAN, exposition.LOCATION))
    assert busy(web, key, 320)[200] == 320
    eventually(lambda: charged(redis) == 320, 30, what="idle slices to be given back")
    samples = exposition.scrape(web)
    taken = samples.of("apiquota_slice_cost_total", event="taken")
    assert samples.of("apiquota_slices_total", event="taken") > 0
    assert taken >= samples.of("apiquota_slice_cost_total", event="returned") > 0
    assert samples.of("apiquota_slice_cost_total", event="lost") == 0
    ran = subprocess.run([paths.CTL, "usage", "show", "--json", "--state-dir", web.root.path / "state"],
                         capture_output=True, text=True, check=True)
    assert [row["used"] for row in json.loads(ran.stdout)["usage"]] == [320]
