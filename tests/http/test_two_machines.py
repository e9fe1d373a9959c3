# SPDX-License-Identifier: Apache-2.0
"""Two machines and a Redis, each in a network of its own, whose links are cut and healed: catalogue lines 32, 33 and 39."""

import collections
import concurrent.futures

import pytest

from harness import checks, confs, redis as redis_server
from harness.client import statuses
from harness.machines import network
from harness.redis_keys import PREFIX, RedisKeys
from harness.waiting import eventually

ITEM = "/v1/item.json"
LIMIT = 300
SAID = (redis_server.NOT_PERSISTED, redis_server.FAILED)
# A second is promised, and held by the unit tests, whose clock is set; a busy machine takes what it takes.
SOON_S = 60
# So long that a busy machine keeps it: a link that is cut costs one request as much.
BUDGET = "budget=3s"
Machines = collections.namedtuple("Machines", "net redis keys webs")


@pytest.fixture(name="net")
def fixture_net():
    made = network()
    yield made
    made.close()


@pytest.fixture(name="machines")
def fixture_machines(net, redis_started, server):
    """machines(limit, words of APIQuotaStore) -> two servers whose counters and keys are in one Redis."""
    running = []

    def make(limit, words, *more):
        with net.where_redis_is():
            redis = redis_started(*net.redis_options())
        webs = []
        for number in range(2):
            conf = (f"APIQuotaStore {net.url(number, redis)} {words}\n" + "".join(f"{line}\n" for line in more)
                    + confs.plan("basic", f"day {limit}/day headers=primary")
                    + confs.plan("rich", f"day {2 * limit}/day headers=primary") + confs.location("/v1"))
            keys = NoKeys(redis)
            with net.on(number):
                webs.append(server(conf, keys=keys, allow=SAID, mpm="event", mpm_conf=confs.ONE_CHILD))
            running.append((number, webs[-1]))
        with net.where_redis_is():
            keys = RedisKeys(redis)
            keys.tenant("acme")
            return Machines(net, redis, keys, webs)
    yield make
    for number, web in running:
        with net.on(number):
            web.stop()


class NoKeys(RedisKeys):
    """The Redis of the counters, left as it is: it cannot be reached from where the server is."""

    def __init__(self, redis):
        super().__init__(redis, "redis stale=1h")

    def write(self, path):
        pass


def key_made(machines):
    with machines.net.where_redis_is():
        key = machines.keys.add("acme")
        machines.keys.write(None)
    return key


def ask(machines, number, key):
    with machines.net.on(number):
        return machines.webs[number].get(ITEM, key=key)


def is_counted(machines, number, key):
    """True where a request of now is counted in Redis: the hash of the tenant's counters has another value."""
    with machines.net.where_redis_is():
        before = counters(machines.redis)
    answer = ask(machines, number, key)
    with machines.net.where_redis_is():
        return answer.status == 200 and counters(machines.redis) != before


def counters(redis):
    return {home: redis.say("HGETALL", home) for home in redis.say("KEYS", "aq:{*") if not home.startswith(PREFIX)}


def test_f39_two_machines_with_networks_of_their_own_admit_exactly_the_limit(machines):
    both = machines(LIMIT, "budget=10s")
    key = key_made(both)

    def load(number):
        with both.net.on(number):
            return statuses(both.webs[number].burst(2 * LIMIT, ITEM, concurrency=8, key=key))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(load, range(2)))
    assert sum(count.get(200, 0) for count in counts) == LIMIT
    assert sum(count.get(429, 0) for count in counts) == 3 * LIMIT


@pytest.mark.parametrize("how", ["link", "answers"])
def test_f33_machine_that_is_cut_off_goes_on_alone_and_is_back_soon_after(machines, how):
    """Nothing of it fails, the other notices nothing, and what it counts goes on from where Redis last stood."""
    both = machines(100000, BUDGET)
    key = key_made(both)
    for _ in range(5):
        assert [ask(both, number, key).status for number in range(2)] == [200, 200]
    left = [checks.trio(ask(both, number, key)).remaining for number in range(2)]
    assert left[1] == left[0] - 1 == 100000 - 12
    both.net.cut(0, how)
    alone = [ask(both, 0, key) for _ in range(20)]
    assert [answer.status for answer in alone] == [200] * 20
    # The first may have been counted by Redis, and only its answer lost.
    assert checks.trio(alone[-1]).remaining == left[0] - 20
    assert is_counted(both, 1, key)
    with both.net.where_redis_is():
        both.redis.say("HSET", PREFIX + "tenant:acme", "plan", "rich")
    eventually(lambda: checks.trio(ask(both, 1, key)).limit == 200000, SOON_S)
    assert checks.trio(ask(both, 0, key)).limit == 100000, "what was known of the key is believed"
    both.net.heal(0, how)
    eventually(lambda: is_counted(both, 0, key), SOON_S)
    eventually(lambda: checks.trio(ask(both, 0, key)).limit == 200000, SOON_S)


def test_f32_machine_that_was_cut_off_from_its_start_uses_redis_once_healed(machines):
    both = machines(100000, BUDGET)
    key = key_made(both)
    assert ask(both, 0, key).status == 200
    both.net.cut(0, "link")
    with both.net.on(0):
        both.webs[0].stop()
        both.webs[0].start()
    assert [ask(both, 0, key).status for _ in range(5)] == [200] * 5
    both.net.heal(0, "link")
    eventually(lambda: is_counted(both, 0, key), SOON_S)
