# SPDX-License-Identifier: Apache-2.0
"""Keys that live in Redis: one write is obeyed by all machines within a second, whatever is written; and Redis away."""

import concurrent.futures
import json
import time

import pytest

from harness import checks, confs, exposition, quota, redis as redis_server
from harness.client import statuses
from harness.keys import new_secret, sha256_of
from harness.redis_keys import PREFIX, RedisKeys
from harness.waiting import eventually

ITEM = "/v1/item.json"
CONF = quota.ROOMY + confs.plan("rich", "year 2000000/366d headers=primary") + confs.location("/v1") + exposition.LOCATION
# A second is promised, and held by the unit tests, whose clock is set; a busy machine takes what it takes.
SOON_S = 30
SAID = (redis_server.NOT_PERSISTED, redis_server.FAILED)


@pytest.fixture(name="redis_keys")
def fixture_redis_keys(redis):
    return RedisKeys(redis)


@pytest.fixture(name="key")
def fixture_key(redis_keys):
    return redis_keys.add("acme", id="k_acme")


@pytest.fixture(name="machine")
def fixture_machine(redis_started, server, redis_keys, key):  # pylint: disable=unused-argument
    def make(conf=CONF, allow=(), **how):
        return server(conf, keys=redis_keys, allow=SAID + tuple(allow), **how)
    return make


def status(web, key):
    return web.get(ITEM, key=key).status


def record_of(key):
    return f"{PREFIX}key:{sha256_of(key)}"


def lookups(redis):
    stats = redis.say("INFO", "commandstats")
    return sum(int(line.split("calls=")[1].split(",")[0]) for line in stats.splitlines()
               if line.startswith(("cmdstat_eval:", "cmdstat_evalsha:")))


# ---- one write -------------------------------------------------------------------------------------

@pytest.mark.mpm_all
def test_known_unknown_and_disabled_keys_are_told_apart(machine, redis_keys, key):
    disabled, expired = redis_keys.add(disabled=True), redis_keys.add(expires_at="2020-01-01T00:00:00Z")
    web = machine()
    assert checks.trio(web.get(ITEM, key=key))[:2] == (1000000, 999999)
    checks.assert_problem(web.get(ITEM, key="aq_nobody"), 401, code="key-unknown")
    checks.assert_problem(web.get(ITEM, key=disabled), 401, code="key-disabled")
    checks.assert_problem(web.get(ITEM, key=expired), 401, code="key-expired")
    checks.assert_problem(web.get(ITEM), 401, code="key-missing")


def test_plan_changed_by_one_write_is_obeyed_by_two_machines_within_a_second(machine, redis, key):
    webs = machine(), machine()
    assert [checks.trio(web.get(ITEM, key=key)).limit for web in webs] == [1000000] * 2
    redis.say("HSET", PREFIX + "tenant:acme", "plan", "rich")
    for web in webs:
        eventually(lambda web=web: all(checks.trio(web.get(ITEM, key=key)).limit == 2000000 for _ in range(8)), SOON_S)


def test_revoked_and_disabled_keys_are_refused_by_two_machines_within_a_second(machine, redis, redis_keys, key):
    other = redis_keys.add("acme")
    webs = machine(), machine()
    assert [status(web, one) for web in webs for one in (key, other)] == [200] * 4
    redis.say("DEL", record_of(key))
    redis.say("HSET", record_of(other), "disabled", "1")
    for web in webs:
        eventually(lambda web=web: all(status(web, key) == 401 for _ in range(8)), SOON_S)
        eventually(lambda web=web: all(status(web, other) == 401 for _ in range(8)), SOON_S)


def test_key_that_was_unknown_is_known_within_a_second_of_its_making(machine, redis, key):
    web, fresh = machine(), new_secret()
    assert (status(web, key), status(web, fresh)) == (200, 401)
    redis.say("HSET", record_of(fresh), "id", "k_fresh", "tenant", "acme", "limit:year", "70000/366d")

    def known():
        answers = [web.get(ITEM, key=fresh) for _ in range(3)]
        return all(answer.status == 200 for answer in answers) and answers
    # These answers themselves: another child may believe for the rest of that second that the key is unknown.
    assert {checks.trio(answer).limit for answer in eventually(known, SOON_S)} == {70000}


def test_overrides_of_tenant_and_key_and_one_set_of_counters(machine, redis, redis_keys):
    redis_keys.tenant("globex", limits={"year": "500/366d"}, max_keys=3, billing_day=15)
    plain = redis_keys.add("globex", id="k_plain")
    own = redis_keys.add("globex", limits={"year": "9/366d"}, scopes=["a", "b"], counts_as="k_plain")
    web = machine()
    assert checks.trio(web.get(ITEM, key=plain))[:2] == (500, 499)
    assert checks.trio(web.get(ITEM, key=own))[:2] == (9, 7)
    redis.say("HDEL", PREFIX + "tenant:globex", "limit:year")
    eventually(lambda: checks.trio(web.get(ITEM, key=plain)).limit == 1000000, SOON_S)


def test_keys_in_the_redis_that_counts(machine, redis, redis_keys, key):
    redis_keys.words = "redis"
    web = machine(f"APIQuotaStore {redis.url} budget=5s\n" + CONF)
    assert [checks.trio(web.get(ITEM, key=key)).remaining for _ in range(2)] == [999999, 999998]


def test_record_is_asked_for_about_twice_a_second_however_many_ask(machine, redis, key):
    web = machine()
    assert status(web, key) == 200
    before, began = lookups(redis), time.monotonic()
    for _ in range(3):
        web.burst(100, ITEM, key=key)
    asked, took = lookups(redis) - before, time.monotonic() - began
    # When the record has just ceased to be fresh, several processes may ask at once.
    assert asked <= 8 * (2 + took / 0.5)


def test_tenant_of_a_caller_without_a_key_is_read_there_too(machine, redis, redis_keys):
    redis_keys.tenant("globex", plan="rich")
    conf = CONF + ('<Location "/v1/by">\n    AuthType None\n    Require all granted\n    APIQuota On\n'
                   '    APIQuotaPrincipal ip\n    SetEnvIf X-Org "(.*)" ORG=$1\n    APIQuotaTenantFrom expr=%{reqenv:ORG}\n'
                   '    APIQuotaDefaultPlan basic\n</Location>\nAlias "/v1/by" "${DOCROOT}/v1"\n')
    web = machine(conf, modules=("setenvif",))

    def limit(org):
        return checks.trio(web.get("/v1/by/item.json", headers={"X-Org": org})).limit
    assert limit("globex") == 2000000
    assert limit("initech") == 1000000
    redis.say("HSET", PREFIX + "tenant:initech", "plan", "rich")
    eventually(lambda: limit("initech") == 2000000, SOON_S)


# ---- records that are none -------------------------------------------------------------------------

def string_for_key(redis, key):
    redis.say("DEL", record_of(key))
    redis.say("SET", record_of(key), "{\"id\": \"k_acme\"}")


def list_for_tenant(redis, _):
    redis.say("DEL", PREFIX + "tenant:acme")
    redis.say("RPUSH", PREFIX + "tenant:acme", "plan", "basic")


def huge_value(redis, key):
    redis.say("HSET", record_of(key), "comment", "x" * 5000000)


def many_fields(redis, key):
    redis.say("HSET", record_of(key), *[str(number) for number in range(20000)])


def no_utf8(redis, key):
    redis.say("EVAL", "redis.call('HSET', KEYS[1], 'tenant', string.char(255, 0, 7))", "1", record_of(key))


def unknown_plan(redis, _):
    redis.say("HSET", PREFIX + "tenant:acme", "plan", "no-such-plan")


def bad_flag(redis, key):
    redis.say("HSET", record_of(key), "disabled", "perhaps")


def bad_rate(redis, key):
    redis.say("HSET", record_of(key), "limit:year", "many/year")


def bad_time(redis, key):
    redis.say("HSET", record_of(key), "expires_at", "tomorrow")


def no_tenant(redis, key):
    redis.say("HSET", record_of(key), "tenant", "x" * 100000)


def no_id(redis, key):
    redis.say("HDEL", record_of(key), "id")


@pytest.mark.parametrize("breaks, said", [
    (string_for_key, "it is a string and no hash"), (list_for_tenant, "it is a list and no hash"),
    (huge_value, "more than 16384 bytes"), (many_fields, "more than 64 fields"), (no_utf8, "no UTF-8"),
    (unknown_plan, "no-such-plan"), (bad_flag, "neither true nor false"), (bad_rate, "many/year"),
    (bad_time, "is no time like"), (no_tenant, "more than 16384 bytes"), (no_id, "needs an"),
], ids=lambda value: value.__name__ if callable(value) else "")
def test_f36_record_that_breaks_a_rule_is_refused_alone_and_said(machine, redis, redis_keys, key, breaks, said):
    """401 as an entry of a keys file that is refused; the other keys, the counters and the breaker know nothing of it."""
    other = redis_keys.add("globex")
    web = machine(allow=(r"AQ00204",), mpm_conf=confs.ONE_CHILD)
    assert (status(web, key), status(web, other)) == (200, 200)
    breaks(redis, key)
    eventually(lambda: status(web, key) == 401, SOON_S)
    assert said in web.log.wait_for("AQ00204")
    checks.assert_problem(web.get(ITEM, key=key), 401, code="key-unknown")
    assert status(web, other) == 200
    assert not web.log.matching(r"AQ00420")


# ---- Redis away ------------------------------------------------------------------------------------

def test_f32_who_was_known_goes_on_and_who_was_not_gets_a_503(machine, redis, redis_keys, key):
    web, fresh = machine(mpm_conf=confs.ONE_CHILD), redis_keys.add("acme")
    web.save_keys()
    assert status(web, key) == 200
    redis.kill()
    answers = [web.get(ITEM, key=key) for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 5
    for secret in (fresh, "aq_nobody"):
        answer = web.get(ITEM, key=secret)
        checks.assert_problem(answer, 503, code="keys-unavailable")
        assert answer.headers["Retry-After"] == "1" and "WWW-Authenticate" not in answer.headers
    shown = exposition.scrape(web)
    assert sum(shown.of("apiquota_store_errors_total", reason=reason) for reason in ("connection", "breaker")) > 0
    assert shown.of("apiquota_refused_total", reason="keys-unavailable") == 2
    redis.start()
    redis_keys.write(None)
    eventually(lambda: (status(web, fresh), status(web, "aq_nobody")) == (200, 401), SOON_S)


def test_f32_restart_while_redis_is_away_knows_whom_it_knew(machine, redis, key):
    web = machine()
    assert status(web, key) == 200
    redis.kill()
    web.restart()
    assert status(web, key) == 200
    web.stop()
    web.start()
    assert status(web, key) == 200


def test_f32_revoked_before_redis_went_stays_revoked(machine, redis, redis_keys, key):
    other = redis_keys.add("acme")
    web = machine()
    assert (status(web, key), status(web, other)) == (200, 200)
    redis.say("DEL", record_of(key))
    eventually(lambda: all(status(web, key) == 401 for _ in range(8)), SOON_S)
    redis.kill()
    web.restart()
    assert status(web, other) == 200
    assert status(web, key) in (401, 503)


def test_what_was_known_is_believed_as_long_as_configured_and_no_longer(machine, redis, redis_keys, key):
    redis_keys.words += " stale=1s"
    web = machine()
    assert status(web, key) == 200
    redis.kill()
    eventually(lambda: all(status(web, key) == 503 for _ in range(8)), SOON_S)


def test_f33_stopped_redis_keeps_who_is_known_from_waiting(machine, redis, redis_keys, key):
    """One request waits for its budget once; a second's worth of them does not."""
    redis_keys.words = f"{redis.url} budget=200ms"
    web = machine(mpm_conf=confs.ONE_CHILD)
    assert status(web, key) == 200
    redis.stop()
    eventually(lambda: status(web, key) == 200 and web.log.matching(r"AQ00420"), 30)
    assert [status(web, key) for _ in range(20)] == [200] * 20
    redis.go_on()
    redis.say("DEL", record_of(key))
    eventually(lambda: status(web, key) == 401, SOON_S)


def test_f33_redis_stopped_under_load_fails_nobody_and_is_used_again(machine, redis, redis_keys, key):
    """Counters and keys are in it; it is stopped and goes on, again and again, while requests come."""
    redis_keys.words = "redis"
    web = machine(f"APIQuotaStore {redis.url} budget=50ms\n" + CONF, mpm_conf=confs.ONE_CHILD)
    # A busy machine may take longer than the budget for the first, of whom nothing is known yet.
    eventually(lambda: status(web, key) == 200, SOON_S)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(web.burst, 2000, ITEM, 8, key=key)
        while not asked.done():
            redis.stop()
            concurrent.futures.wait([asked], timeout=0.3)
            redis.go_on()
            concurrent.futures.wait([asked], timeout=0.5)
        assert statuses(asked.result()) == {200: 2000}
    fresh = redis_keys.add("acme")
    redis_keys.write(None)
    eventually(lambda: status(web, fresh) == 200, 30)
    before = lookups(redis)
    eventually(lambda: status(web, fresh) == 200 and lookups(redis) > before, 30)


def test_use_by_day_is_kept_of_tenants_in_redis(machine, redis_keys, key):  # pylint: disable=unused-argument
    web = machine("APIQuotaDailyUse On\n" + CONF)
    assert [status(web, key) for _ in range(3)] == [200] * 3
    web.restart()
    (day,) = (web.root.state / "usage").iterdir()
    assert [(use["tenant"], use["used"]) for use in json.loads(day.read_text())["use"]] == [("acme", 3)]


# ---- floods ----------------------------------------------------------------------------------------

def test_flood_of_one_unknown_key_costs_redis_next_to_nothing(machine, redis, key):
    web = machine(mpm_conf=confs.ONE_CHILD)
    assert status(web, key) == 200
    before, began = lookups(redis), time.monotonic()
    assert {answer.status for answer in web.burst(400, ITEM, concurrency=8, key="aq_nobody")} == {401}
    # Each of the eight may be the one that asks, once in half a second.
    assert lookups(redis) - before <= 8 * (2 + (time.monotonic() - began) / 0.5)


# ---- configuration ---------------------------------------------------------------------------------

@pytest.mark.parametrize("words, said", [
    ("redis", "APIQuotaStore names no Redis"), ("redis budget=1s", "allowed behind redis: fresh=, stale="),
    ("redis://127.0.0.1 fresh=never", "no duration from 10ms to 60s"), ("redis fresh=1ms", "no duration from 10ms to 60s"),
    ("redis stale=10y", "no duration from"), ("memcached", "allowed: redis, or the address"),
    ("redis://me:hush@127.0.0.1:1x", "port is a number"),
])
def test_what_cannot_be_is_refused_with_what_is_allowed(server, words, said):
    code, output = server(start=False, preset=False).configtest(f"APIQuotaKeyStore {words}\n" + CONF)
    assert code != 0 and said in output and "hush" not in output


def test_last_of_file_and_store_is_in_force(server, redis, key, redis_keys):
    redis_keys.write(None)
    web = server(f"APIQuotaKeyStore {redis.url} budget=5s\n" + CONF)
    assert status(web, key) == 200
    web.stop()
    web.write_conf(f'APIQuotaKeyStore {redis.url}\nAPIQuotaKeyFile "${{ROOT}}/keys.json"\n' + CONF)
    web.start()
    assert status(web, key) == 401
