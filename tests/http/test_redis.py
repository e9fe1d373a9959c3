# SPDX-License-Identifier: Apache-2.0
"""Counters in Redis, over a real httpd and a real Redis: the same answers, on every machine that shares it."""

import json
import subprocess

import pytest

from harness import checks, confs, paths, redis as redis_server
from harness.waiting import eventually

ITEM = "/v1/item.json"
PLAN = confs.plan("basic", "minute 60/minute headers=primary", "day 100/day headers=suffix:Daily per=tenant",
                  "month 1000/month headers=none", "burst 600/minute burst=40 headers=none",
                  "all 5000/total headers=none", "running 20/concurrent headers=none")


def conf(where, *more, plan=PLAN):
    """A budget that a busy machine keeps: what it is for is tested in test_redis_faults.py."""
    return f"APIQuotaStore {where} budget=5s\n" + "".join(f"{line}\n" for line in more) + plan + confs.location("/v1")


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def machine(redis_started, server, keys, key):  # pylint: disable=unused-argument
    """machine(conf) -> a server on that conf, which may say that its Redis keeps nothing."""
    return lambda text, **how: server(text, keys=keys, allow=(redis_server.NOT_PERSISTED,), **how)


@pytest.mark.mpm_all
def test_requests_are_counted_in_redis(machine, redis, key):
    web = machine(conf(redis.url))
    for used in range(1, 4):
        answer = web.get(ITEM, key=key)
        assert checks.trio(answer).remaining == 60 - used
        assert answer.headers["X-RateLimit-Remaining-Daily"] == str(100 - used)
    assert redis.counters() >= 5


def test_two_machines_share_their_counters(machine, redis, key):
    first, second = machine(conf(redis.url)), machine(conf(redis.url))
    assert [checks.trio(web.get(ITEM, key=key)).remaining for web in (first, second, first, second)] == [59, 58, 57, 56]


def test_a_restart_and_another_database_are_told_apart(machine, redis, key):
    web = machine(conf(redis.url))
    assert checks.trio(web.get(ITEM, key=key)).remaining == 59
    web.restart()
    assert checks.trio(web.get(ITEM, key=key)).remaining == 58
    assert checks.trio(machine(conf(redis.url + "/5")).get(ITEM, key=key)).remaining == 59


def test_free_answer_gives_its_charge_back_and_shows_it(machine, redis, key):
    web = machine(conf(redis.url))
    tag = web.get(ITEM, key=key).headers["ETag"]
    answer = web.get(ITEM, key=key, headers={"If-None-Match": tag})
    assert answer.status == 304
    assert answer.headers["X-RateLimit-Remaining"] == "59"
    assert checks.trio(web.get(ITEM, key=key)).remaining == 58


def test_refusal_names_a_wait_that_is_enough(machine, redis, key):
    plan = confs.plan("basic", "few 2/2s headers=primary")
    web = machine(conf(redis.url, plan=plan))
    answers = [web.get(ITEM, key=key) for _ in range(6)]
    refused = [answer for answer in answers if answer.status == 429]
    assert refused and all(answer.headers["Retry-After"] in ("1", "2", "3") for answer in refused)


def test_password_from_a_file(machine, redis_started, key, tmp_path):
    secret = tmp_path / "redis.password"
    secret.write_text("open sesame\n")
    private = redis_started("--requirepass", "open sesame")
    web = machine(conf(f"{private.url} password-file={secret}"))
    assert checks.trio(web.get(ITEM, key=key)).remaining == 59
    assert "sesame" not in (web.root.path / "state" / "runtime.json").read_text()
    assert "sesame" not in web.log.text()
    assert private.say("DBSIZE", auth=("open sesame",)) >= 2


def test_password_from_the_environment(machine, redis_started, key):
    private = redis_started("--requirepass", "open sesame")
    web = machine(conf(f"{private.url} password-env=QUOTA_SECRET"), env={"QUOTA_SECRET": "open sesame"})
    assert checks.trio(web.get(ITEM, key=key)).remaining == 59


def test_unix_socket(machine, redis_started, key, tmp_path):
    socket = tmp_path / "redis.socket"
    redis_started("--unixsocket", str(socket), "--unixsocketperm", "777")
    for folder in list(tmp_path.parents)[:3] + [tmp_path]:
        folder.chmod(0o755)
    web = machine(conf(f"unix:{socket}"))
    assert checks.trio(web.get(ITEM, key=key)).remaining == 59


def test_acl_user_in_the_address(machine, redis, key):
    redis.say("ACL", "SETUSER", "quota", "on", ">s3cret", "~aq:*", "+@all", "-@dangerous", "+info")
    web = machine(conf(f"redis://quota:s3cret@127.0.0.1:{redis.port}"))
    assert checks.trio(web.get(ITEM, key=key)).remaining == 59
    assert "s3cret" not in web.log.text() + (web.root.path / "state" / "runtime.json").read_text()


@pytest.mark.parametrize("words, said", [
    ("redis://127.0.0.1:99999/0", "port is a number"),
    ("redis://127.0.0.1/zero", "database is a number"),
    ("redis://127.0.0.1 budget=soon", "budget=soon"),
    ("redis://127.0.0.1 colour=red", "allowed: budget="),
    ("redis://me@127.0.0.1", "user needs a password"),
    ("redis://127.0.0.1 ca=/etc/ssl/x.pem", "are for rediss://"),
    ("unix:relative", "absolute path"),
    ("memcached://127.0.0.1", "redis://HOST"),
])
def test_an_address_that_cannot_be_is_refused_with_what_is_allowed(server, words, said):
    status, output = server(start=False).configtest(f"APIQuotaStore {words}\n")
    assert status != 0 and said in output


def test_password_is_not_said_where_the_address_is_wrong(server):
    status, output = server(start=False).configtest("APIQuotaStore redis://me:hushhush@127.0.0.1:1x\n")
    assert status != 0 and "hushhush" not in output


def ctl(web, *words):
    ran = subprocess.run([paths.CTL, *words, "--json", "--state-dir", web.root.path / "state"], capture_output=True,
                         text=True, check=True)
    return json.loads(ran.stdout)


def test_apiquotactl_sees_and_resets_the_counters(machine, redis, key):
    web = machine(conf(redis.url))
    web.get(ITEM, key=key)
    web.get(ITEM, key=key)

    def used():
        return {row["limit"]: row["used"] for row in ctl(web, "usage", "show")["usage"]}
    # A place is free again when the server is done with the request, a moment after its answer is here.
    eventually(lambda: used()["running"] == 0, what="the end of what runs")
    assert [used()[limit] for limit in ("minute", "day", "all")] == [2, 2, 2]
    info = ctl(web, "store", "info")
    assert info["kind"] == "redis" and info["live"] == redis.counters() and info["id"]
    ctl(web, "usage", "reset", "--tenant", "acme")
    answer = web.get(ITEM, key=key)
    assert checks.trio(answer).remaining == 59
    assert answer.headers["X-RateLimit-Remaining-Daily"] == "99"


def test_eviction_is_warned_of(machine, redis_started, key):
    web = machine(conf(redis_started("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru").url))
    web.expect_log(r"AQ00424.*noeviction", must=True)
    assert checks.trio(web.get(ITEM, key=key)).remaining == 59
