# SPDX-License-Identifier: Apache-2.0
"""Catalogue line 36: errors that Redis answers. Each is a failure of the store with a reason of its own, no request fails,
and it is counted in Redis again as soon as Redis says so."""

import contextlib
import shutil
import threading

import pytest

from harness import checks, exposition, redis as redis_server
from harness.counted import DAY, ITEM, SAID, conf, counts_in_redis, remaining
from harness.waiting import eventually

READ_TIMEOUT_S = 60


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def machine(redis_started, server, keys, key):  # pylint: disable=unused-argument
    return lambda where: server(conf(where, plan=DAY + exposition.LOCATION, budget="5s"), keys=keys, allow=SAID)


@contextlib.contextmanager
def full_memory(redis):
    redis.say("CONFIG", "SET", "maxmemory", "1")
    yield
    redis.say("CONFIG", "SET", "maxmemory", "0")


@contextlib.contextmanager
def replica_of_nobody(redis):
    redis.say("REPLICAOF", "127.0.0.1", "1")
    yield
    redis.say("REPLICAOF", "NO", "ONE")


@contextlib.contextmanager
def wrong_type(redis):
    homes = redis.say("KEYS", "aq:{*")
    for home in homes:
        redis.say("RENAME", home, f"kept:{home}")
        redis.say("SET", home, "text")
    yield
    for home in homes:
        redis.say("RENAME", f"kept:{home}", home)


@contextlib.contextmanager
def password_set(redis):
    redis.say("CONFIG", "SET", "requirepass", "x")
    redis.say("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", auth=("x",))
    yield
    redis.say("CONFIG", "SET", "requirepass", "", auth=("x",))


@contextlib.contextmanager
def endless_script(redis):
    """Of somebody else's."""
    redis.say("CONFIG", "SET", "busy-reply-threshold", "1")

    def run():
        with contextlib.suppress(redis_server.RedisError):
            redis.say("EVAL", "while true do end", "0", timeout_s=READ_TIMEOUT_S)
    busy = threading.Thread(target=run)
    busy.start()
    eventually(lambda: "BUSY" in redis.error_of("GET", "x"), 30, what="BUSY")
    yield
    redis.say("SCRIPT", "KILL")
    busy.join(READ_TIMEOUT_S)


@contextlib.contextmanager
def failed_save(redis):
    """Its folder is gone, so that it cannot save, and takes no writes."""
    redis.say("CONFIG", "SET", "save", "3600 1")
    shutil.rmtree(redis.folder)
    redis.say("BGSAVE")
    eventually(lambda: "rdb_last_bgsave_status:err" in redis.say("INFO", "persistence"), 30, what="the failure to save")
    yield
    redis.say("CONFIG", "SET", "save", "")


@contextlib.contextmanager
def slow_load(redis):
    """A restart of one that has much to load."""
    redis.say("EVAL", "for i = 1, 40000 do redis.call('SET', 'other:' .. i, 'x') end", "0")
    redis.say("SAVE")
    redis.kill()
    redis.start("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
    assert "LOADING" in redis.error_of("GET", "x")
    yield
    redis.say("CONFIG", "SET", "key-load-delay", "0")
    eventually(lambda: not redis.error_of("GET", "x"), 30, what="the end of loading")


@pytest.mark.parametrize("state, reason, metric", [
    (full_memory, "oom", "full"), (replica_of_nobody, "readonly", "readonly"), (wrong_type, "wrongtype", "answer"),
    (password_set, "noauth", "refused"), (endless_script, "busy", "other"), (failed_save, "misconf", "readonly"),
    (slow_load, "loading", "loading"),
], ids=lambda value: getattr(value, "__name__", None))
def test_f36_error_of_the_server_is_a_failure_with_its_reason(machine, redis, key, state, reason, metric):
    web = machine(redis.url)
    assert remaining(web, key) == 99999
    with state(redis):
        assert [checks.trio(web.get(ITEM, key=key)).remaining for _ in range(3)] == [99998, 99997, 99996]
        web.log.wait_for(rf"AQ00420.*{reason}")
        assert exposition.scrape(web).of("apiquota_store_errors_total", reason=metric) >= 3
    eventually(lambda: counts_in_redis(redis, web, key), 30, what="counting in Redis")


def test_f36_forgotten_script_is_sent_again_and_charged_once(machine, redis, key):
    web = machine(redis.url)
    left = []
    for _ in range(5):
        left.append(remaining(web, key))
        redis.say("SCRIPT", "FLUSH")
    assert left == [99999, 99998, 99997, 99996, 99995]
