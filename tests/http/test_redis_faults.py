# SPDX-License-Identifier: Apache-2.0
"""Catalogue lines 32 to 35 and 39: a Redis that is away, stopped or hostile, and two machines on one."""

import collections
import concurrent.futures
import contextlib
import http.client
import os
import socket
import threading
import time

import pytest

from harness import checks, confs, exposition
from harness.client import statuses
from harness.counted import DAY, ITEM, SAID, conf, counts_in_redis, remaining
from harness.ports import PortLease
from harness.waiting import eventually

LONG = os.environ.get("AQ_LONG") == "1"
MANY = 20
# Much longer than a request takes on a busy machine; the default is 50 ms.
BUDGET_MS = 500


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def machine(redis_started, server, keys, key):  # pylint: disable=unused-argument
    return lambda text, allow=(), **how: server(text, keys=keys, allow=SAID + tuple(allow), **how)


def seconds_of(web, key, requests, session=None):
    """How long each of so many requests took; every one must be answered 200."""
    took = []
    with web.session() if session is None else contextlib.nullcontext(session) as one:
        for _ in range(requests):
            began = time.monotonic()
            assert one.get(ITEM, key=key).status == 200
            took.append(time.monotonic() - began)
    return sorted(took)


def returns_within_a_second(web, redis, key, away, back):
    """Redis, which is away, comes back, and is counted on again within a second: seen once in many, for a busy machine
    may take any time for anything."""
    for _ in range(MANY):
        back()
        began = time.monotonic()
        eventually(lambda: counts_in_redis(redis, web, key), timeout_s=30)
        if time.monotonic() - began < 1.5:
            return
        away()
        assert web.get(ITEM, key=key).status == 200
    raise AssertionError(f"not once in {MANY} within a second")


# ---- 32 ------------------------------------------------------------------------------------------

def test_f32_starts_without_redis_and_uses_it_within_a_second_of_its_return(machine, redis, key):
    web = machine(conf(redis.url))
    remaining(web, key)
    web.stop()
    redis.kill()
    web.start()
    assert web.get(ITEM, key=key).status == 200
    returns_within_a_second(web, redis, key, away=redis.kill, back=redis.start)


def test_f32_first_start_needs_redis_and_says_so(server, keys, redis, key):
    redis.kill()
    output = server(conf(redis.url), keys=keys, start=False).start_fails()
    assert "does not answer (refused)" in output and "first start needs it" in output


@pytest.mark.parametrize("policy, status, told", [("local", 200, "were counted by this machine alone"),
                                                  ("allow", 200, "passed uncounted"), ("deny", 503, "were refused")])
def test_f32_policy_while_it_is_down(machine, redis, key, policy, status, told):
    page = "<Location /status>\nSetHandler apiquota-status\nRequire local\n</Location>\n"
    web = machine(page + conf(redis.url, f"APIQuotaStoreFailure {policy}", budget="5s"), allow=(r"AQ01001",))
    assert remaining(web, key) == 99999
    redis.kill()
    answers = [web.get(ITEM, key=key) for _ in range(5)]
    assert [answer.status for answer in answers] == [status] * 5
    shown = [answer.headers.get("X-RateLimit-Remaining") for answer in answers]
    assert shown == ([str(99998 - i) for i in range(5)] if policy == "local" else [None] * 5)
    page_says = web.get("/status", headers={"Accept": "application/json"}).json()["troubles"]
    assert any(told in trouble["text"] for trouble in page_says), page_says
    assert all(answer.headers.get("Retry-After") == "1" for answer in answers if status == 503)


def test_who_looks_at_the_status_page_while_redis_is_away_fails_nothing(machine, redis, keys, key):
    for number in range(20):
        keys.add("acme", id=f"k_{number}")
    page = "<Location /status>\nSetHandler apiquota-status\nRequire local\n</Location>\n" + exposition.LOCATION
    web = machine(page + conf(redis.url, budget="5s"), mpm_conf="StartServers 1\nServerLimit 1\n")
    remaining(web, key)
    redis.kill()
    assert [web.get(ITEM, key=key).status for _ in range(3)] == [200] * 3

    def looks():
        return web.get("/status", headers={"Accept": "application/json"}).json()["lists"]
    before, seen = exposition.scrape(web).of("apiquota_store_errors_total", reason="breaker"), set()
    eventually(lambda: seen.add(looks()["at"]) or len(seen) > 2, 30, "three looks at the counters")
    assert exposition.scrape(web).of("apiquota_store_errors_total", reason="breaker") == before
    assert looks()["keys_seen"] == 21


def test_f32_local_counting_holds_the_limit_from_where_redis_stood(machine, redis, key):
    web = machine(conf(redis.url, plan=confs.plan("basic", "day 10/day headers=primary"), budget="5s"))
    assert [web.get(ITEM, key=key).status for _ in range(6)] == [200] * 6
    redis.kill()
    assert [web.get(ITEM, key=key).status for _ in range(6)] == [200] * 4 + [429] * 2


# ---- 33 ------------------------------------------------------------------------------------------

def test_f33_stopped_redis_keeps_nobody_waiting_and_is_used_again(machine, redis, key):
    """Under load: a thread waits for its budget once at most, all others for nothing; no request fails; and it counts
    again within a second."""
    web = machine(conf(redis.url, plan=DAY + exposition.LOCATION, budget=f"{BUDGET_MS}ms"))
    seconds_of(web, key, 20)
    redis.stop()
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        took = sorted(one for took in pool.map(lambda _: seconds_of(web, key, 50), range(8)) for one in took)
    errors = exposition.scrape(web)
    # A try of the timer times out too, each 0.35 s at most.
    tries = 2 + (time.monotonic() - began) / 0.35
    assert errors.of("apiquota_store_errors_total", reason="timeout") <= 8 + tries
    assert errors.of("apiquota_store_errors_total", reason="breaker") >= 400 - 8
    assert took[len(took) // 2] < 0.9 * BUDGET_MS / 1000
    returns_within_a_second(web, redis, key, away=redis.stop, back=redis.go_on)


def test_f33_open_breaker_costs_nothing(machine, redis, key):
    """The median of requests while Redis is stopped is not above that with it by a millisecond: seen once in many, for the
    load of a busy machine is another one at each time."""
    web = machine(conf(redis.url))
    with web.session() as session:
        for _ in range(MANY):
            eventually(lambda: counts_in_redis(redis, session, key))
            up = seconds_of(web, key, 300, session)
            redis.stop()
            seconds_of(web, key, 20, session)
            down = seconds_of(web, key, 300, session)
            redis.go_on()
            if down[150] <= up[150] + 0.001:
                return
    raise AssertionError(f"not once in {MANY}: {down[150]} s without Redis, {up[150]} s with it")


class Hostile:
    """Listens, and treats each connection as `treat(connection, number)` says."""

    def __init__(self, treat):
        self._treat, self._lease, self.taken = treat, PortLease(), 0
        self._socket = socket.create_server(("127.0.0.1", self._lease.port))
        self.url = f"redis://127.0.0.1:{self._lease.port}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.taken += 1
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        with contextlib.suppress(OSError), connection:
            self._treat(connection)

    def close(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._lease.release()


def silent(connection):
    while connection.recv(4096):
        pass


def dripping(connection):
    connection.recv(4096)
    for byte in b"*2\r\n" + b":1\r\n" * 100:
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def nested(connection):
    while connection.recv(65536):
        connection.sendall(b"*1\r\n" * 5000 + b":1\r\n")


def huge(connection):
    while connection.recv(65536):
        connection.sendall(b"*2147483647\r\n:1\r\n")


def nonsense(connection):
    while connection.recv(65536):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")


def short_array(connection):
    while connection.recv(65536):
        connection.sendall(b"*2\r\n:1\r\n:0\r\n")


def wrong_types(connection):
    while connection.recv(65536):
        connection.sendall(b"*4\r\n$1\r\nx\r\n*0\r\n$-1\r\n:-5\r\n")


@pytest.mark.parametrize("treat", [silent, dripping, nested, huge, nonsense, short_array, wrong_types],
                         ids=lambda treat: treat.__name__)
def test_f33_f36_hostile_server_is_a_store_failure_within_the_budget(machine, redis, key, treat):
    """A server that has started on a real Redis goes on through anything that stands in its place."""
    web = machine(conf(redis.url))
    remaining(web, key)
    web.stop()
    hostile = Hostile(treat)
    try:
        web.write_conf(conf(hostile.url, budget=f"{BUDGET_MS}ms"))
        web.start()
        web.expect_log(r"AQ00420.*(timeout|protocol|closed|refused)", must=True)
        took = seconds_of(web, key, 30)
        assert took[15] < 0.9 * BUDGET_MS / 1000
        assert hostile.taken >= 1
    finally:
        hostile.close()


def test_f33_server_that_closes_after_each_reply_loses_no_request(machine, redis, key):
    """CLIENT KILL after each: the next request sees that its connection has ended, and takes a new one."""
    web = machine(conf(redis.url, budget="5s"))
    mark = web.log.mark()
    with web.session() as session:
        left = []
        for _ in range(10):
            left.append(checks.trio(session.get(ITEM, key=key)).remaining)
            redis.say("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert left == list(range(99999, 99989, -1))
    assert not web.log.matching(r"AQ00420", mark)


# ---- 34, 35 --------------------------------------------------------------------------------------

def test_f34_restarted_redis_is_met_by_pooled_connections_without_an_error(machine, redis, key):
    web = machine(conf(redis.url, budget="5s"))
    mark = web.log.mark()
    statuses_before = statuses(web.burst(50, ITEM, key=key))
    redis.kill()
    redis.start()
    assert statuses_before == {200: 50}
    assert statuses(web.burst(50, ITEM, key=key)) == {200: 50}
    assert not web.log.matching(r"AQ00420", mark)


def test_f35_late_reply_is_never_taken_for_anothers(machine, redis, keys, key):
    """Redis sleeps beyond the budget amid requests of two tenants, whose counts are far apart."""
    other = keys.add("other")
    web = machine(conf(redis.url, budget="300ms"))
    with web.session() as session:
        for _ in range(50):  # more than are needed, for a busy machine may count a few by itself
            assert session.get(ITEM, key=key).status == 200
        for _ in range(3):
            redis.say("CLIENT", "PAUSE", "700", "ALL")
            session.get(ITEM, key=key)
            time.sleep(0.8)  # the late answer is there by now
            eventually(lambda: counts_in_redis(redis, session, key))
            mine = checks.trio(session.get(ITEM, key=key)).remaining
            theirs = checks.trio(session.get(ITEM, key=other)).remaining
            assert mine < 99980 < 99990 < theirs


# ---- 39 ------------------------------------------------------------------------------------------

MACHINES, LIMIT, REQUESTS = 2, 1000, 4000


def load_of(web, key, requests):
    """So many requests over 16 connections; how many came to which status."""
    def run(_):
        mine = collections.Counter()
        connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
        for _ in range(requests // 16):
            connection.request("GET", ITEM, headers={"X-API-Key": key})
            answer = connection.getresponse()
            answer.read()
            mine[answer.status] += 1
        connection.close()
        return mine
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        return sum(pool.map(run, range(16)), collections.Counter())


@pytest.mark.parametrize("run", range(10 if LONG else 1))
def test_f39_two_machines_admit_exactly_the_limit(machine, redis, key, run):  # pylint: disable=unused-argument
    plan = confs.plan("basic", f"day {LIMIT}/day headers=primary", f"all {LIMIT}/total headers=none")
    webs = [machine(conf(redis.url, plan=plan, budget="10s", processes="")) for _ in range(MACHINES)]
    with concurrent.futures.ThreadPoolExecutor(MACHINES) as pool:
        counts = list(pool.map(lambda web: load_of(web, key, REQUESTS), webs))
    assert sum(count[200] for count in counts) == LIMIT
    assert sum(count[429] for count in counts) == MACHINES * REQUESTS - LIMIT
