# SPDX-License-Identifier: Apache-2.0
"""Counters that processes share: exact under load, whoever is killed, stopped or replaced, and kept over any end.

Limits are totals where time does not matter, so that no midnight comes between. Where the day matters the server's clock
is faked, or the test sees that the day has changed and takes another key.
"""

import collections
import concurrent.futures
import os
import re
import signal
import time

import pytest

from harness import confs, load
from harness.callers import Callers
from harness.client import statuses
from harness.processes import is_stopped, send_signal
from harness.waiting import eventually

NOON = 1781524800  # 2026-06-15 12:00:00 UTC
ITEM = "/v1/item.json"
PLENTY = 10_000_000
TOTAL = confs.plan("basic", f"all {PLENTY}/total headers=primary") + confs.location("/v1")
DAY = confs.plan("basic", "day 1000/day headers=primary") + confs.location("/v1")


def remaining(answer):
    assert answer.status == 200, answer
    return int(answer.headers["X-RateLimit-Remaining"])


def used(web, key, path=ITEM):
    """How much of PLENTY the key had used before this request, which costs one itself."""
    return PLENTY - remaining(web.get(path, key=key)) - 1


@pytest.fixture
def key(keys):
    return keys.add("acme")


# ---- a limit under load --------------------------------------------------------------------------

LOAD_CONNECTIONS, LOAD_REQUESTS, LOAD_LIMIT, LOAD_TIMES = 64, 2048, 1000, 10
LOAD_SECONDS = (1, 2, 4, 8, 16)
# Room for all connections: prefork needs a process for each, and event closes kept-alive ones when its threads are busy.
LOAD_MPM = {"prefork": "StartServers 80\nMinSpareServers 16\nMaxSpareServers 128\nServerLimit 128\nMaxRequestWorkers 128\n",
            "event": "StartServers 2\nServerLimit 2\nThreadLimit 128\nThreadsPerChild 120\nMinSpareThreads 1\n"
                     "MaxSpareThreads 240\nMaxRequestWorkers 240\n"}
LOAD_MPM["worker"] = LOAD_MPM["event"]


def load_by_hey(web, path, key, _):
    counted = load.hey(web.port, path, LOAD_REQUESTS, LOAD_CONNECTIONS, key=key)
    return counted.pop(200), counted.pop(429), counted.total()


def load_by_wrk(web, path, key, seconds):
    passed, refused = load.wrk(web.port, path, seconds, LOAD_CONNECTIONS, key=key)
    return passed, refused, 0


def load_by_h2load(web, path, key, _):
    # mod_http2 is not made for prefork: there h2load speaks HTTP/1.1.
    done = web.h2load(path, LOAD_REQUESTS, connections=LOAD_CONNECTIONS, key=key, http1=web.spec.mpm == "prefork")
    return done.ok, done.refused, done.total - done.ok - done.refused


def day_of(epoch_s):
    return int(epoch_s) // 86400


def loaded_within_a_day(web, run, path, spare):
    """What `run` counted with a fresh key, and its name for the access log; again if midnight came between, and for longer
    if the machine was too busy for the load to reach the limit in a second."""
    for seconds in LOAD_SECONDS:
        name, key = spare.pop()
        began = day_of(time.time())
        counted = run(web, f"{path}?run={name}", key, seconds)
        if day_of(time.time()) == began and counted[1] > 0:
            break
    return name, counted


class AccessLog:
    """The statuses of the requests of one run, from what the access log has gained since the last."""

    def __init__(self, web):
        self._path, self._read = web.root.path / "logs" / "access.log", 0

    def statuses(self, name, at_least):
        """Waits until so many requests of the run are there: httpd writes the line after the response."""
        found = eventually(lambda: (f := self._find(name)) and f.total() >= at_least and f, what="the access log")
        self._read = self._path.stat().st_size
        return found

    def _find(self, name):
        with self._path.open("rb") as log:
            log.seek(self._read)
            found = re.findall(rb'"GET \S+\?run=%s [^"]*" (\d+) ' % name.encode(), log.read())
        return collections.Counter(int(status) for status in found)


@pytest.mark.mpm_all
@pytest.mark.parametrize("run", [load_by_hey, load_by_wrk, load_by_h2load])
def test_of_64_connections_against_1000_a_day_exactly_1000_requests_pass_ten_times_of_ten(server, keys, mpm, run):
    spare = [(f"r{i}r", keys.add("acme")) for i in range(LOAD_TIMES * len(LOAD_SECONDS))]
    with_h2 = run is load_by_h2load and mpm != "prefork"
    web = server(DAY, keys=keys, modules=("http2",) if with_h2 else (), mpm_conf=LOAD_MPM[mpm])
    log = AccessLog(web)
    for _ in range(LOAD_TIMES):
        name, (passed, refused, others) = loaded_within_a_day(web, run, ITEM, spare)
        assert (passed, others) == (LOAD_LIMIT, 0)
        assert refused > 0, "the load never reached the limit"
        seen = log.statuses(name, passed + refused)
        assert set(seen) == {200, 429} and seen[200] == LOAD_LIMIT


@pytest.mark.mpm_all
def test_f61_of_1000_parallel_requests_with_1_left_exactly_one_passes(server, keys, key, mpm):
    conf = confs.plan("basic", "all 50/total headers=primary") + confs.location("/v1")
    web = server(conf, keys=keys, mpm_conf=LOAD_MPM[mpm])
    assert statuses(web.burst(49, ITEM, concurrency=7, key=key)) == {200: 49}
    counted = statuses(web.burst(1000, ITEM, concurrency=100, key=key))
    assert counted == {200: 1, 429: 999}


@pytest.mark.mpm_all
def test_counts_are_exact_after_parallel_200s_and_304s(server, keys, key, mpm):
    conf = (confs.plan("basic", f"minute {PLENTY}/minute headers=primary", f"all {PLENTY}/total headers=suffix:All")
            + confs.location("/v1"))
    web = server(conf, keys=keys, mpm_conf=LOAD_MPM[mpm])
    etag = web.get(ITEM, key=key).headers["ETag"]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        free = pool.submit(web.burst, 700, ITEM, concurrency=16, key=key, headers={"If-None-Match": etag})
        charged = pool.submit(web.burst, 500, ITEM, concurrency=16, key=key)
        assert statuses(free.result()) == {304: 700}
        assert statuses(charged.result()) == {200: 500}
    last = web.get(ITEM, key=key)
    assert int(last.headers["X-RateLimit-Remaining-All"]) == PLENTY - 1 - 500 - 1


# ---- children that die or stand still ------------------------------------------------------------

KILLS = 100
# Enough processes that some are always left, and that killed ones are soon replaced.
MANY_CHILDREN = {"prefork": "StartServers 48\nMinSpareServers 40\nMaxSpareServers 64\nServerLimit 96\nMaxRequestWorkers 96\n",
                 "worker": "StartServers 12\nServerLimit 40\nThreadsPerChild 4\nMinSpareThreads 40\n"
                           "MaxSpareThreads 160\nMaxRequestWorkers 160\n"}
MANY_CHILDREN["event"] = MANY_CHILDREN["worker"]


def test_f01_children_killed_100_times_under_load_cost_at_most_the_requests_in_flight(server, keys, key, mpm):
    web = server(TOTAL, keys=keys, mpm_conf=MANY_CHILDREN[mpm], allow=("AH1039[23]: children are killed successively",))
    with Callers(web, key, 12) as callers:
        for kill in range(KILLS):
            # Each kill meets requests under way.
            before = callers.answered
            eventually(lambda: callers.answered > before + 3, 30, f"an answer after {kill} kills")
            children = eventually(web.child_pids, 30, "a child")
            web.kill_child(children[kill % len(children)])
    assert callers.hung == 0 and callers.others == []
    assert callers.lost > 0, "no kill met a request"
    assert callers.answered <= used(web, key) <= callers.answered + callers.lost


@pytest.mark.mpm_all
def test_f02_while_a_child_stands_still_in_a_charge_the_others_go_on(server, keys, key):
    web = server(TOTAL, keys=keys)
    asked = 0
    with Callers(web, key, 8) as callers:
        for child in (web.child_pids() * 10)[:10]:
            send_signal(child, signal.SIGSTOP)
            try:
                eventually(lambda: is_stopped(child), what="the stop")
                # New connections, which the others take; those on the stopped child wait.
                for _ in range(20):
                    assert web.get(ITEM, key=key).status == 200
                    asked += 1
            finally:
                send_signal(child, signal.SIGCONT)
            before = callers.answered
            eventually(lambda: callers.answered > before, 30, "an answer after SIGCONT")
    assert (callers.hung, callers.lost, callers.others) == (0, 0, [])
    assert used(web, key) == callers.answered + asked


@pytest.mark.mpm_all
def test_f05_counts_go_on_where_a_child_ends_after_one_connection(server, keys, key, mpm):
    web = server("MaxConnectionsPerChild 1\n" + TOTAL, keys=keys, mpm_conf=MANY_CHILDREN[mpm])
    shown, seen = [], set()

    def ended_after_another_request():
        seen.update(web.child_pids())
        shown.append(remaining(web.get(ITEM, key=key)))
        return seen - set(web.child_pids())

    # A child of worker that has served its connection sits there until the next one wakes it.
    eventually(lambda: len(ended_after_another_request()) >= 10, 30, "the end of ten children that have served")
    assert shown == list(range(PLENTY - 1, PLENTY - 1 - len(shown), -1))
    assert used(web, key) == len(shown)


# ---- full stop, other servers, files -------------------------------------------------------------

def test_f06_a_full_stop_and_start_keeps_the_counts_of_the_day(server, keys, key):
    web = server(DAY, keys=keys, start=False, faketime="+0")
    web.clock.set_to(NOON)
    web.start()
    assert [remaining(web.get(ITEM, key=key)) for _ in range(3)] == [999, 998, 997]
    web.stop()
    web.clock.advance(3600)
    web.start()
    assert remaining(web.get(ITEM, key=key)) == 996
    web.stop()
    web.clock.advance(86400)
    web.start()
    assert remaining(web.get(ITEM, key=key)) == 999


def test_f11_a_second_httpd_on_one_state_folder_counts_into_the_same_file(server, keys, key):
    first = server(TOTAL, keys=keys, worker=False)
    ours = f'APIQuotaStateDir "{first.root.state}"\nAPIQuotaKeyFile "{first.root.keys_file}"\n'
    second = server(ours + TOTAL, keys=keys, preset=False)
    shown = [remaining(web.get(ITEM, key=key)) for web in (first, second, second, first, second)]
    assert shown == [PLENTY - n for n in (1, 2, 3, 4, 5)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        bursts = [pool.submit(web.burst, 200, ITEM, key=key) for web in (first, second)]
        assert [statuses(burst.result()) for burst in bursts] == [{200: 200}] * 2
    assert used(first, key) == 405


HEADER_BYTES = 4096


def truncate(file):
    os.truncate(file, HEADER_BYTES + 100)


def change_version(file):
    write_at(file, 8, b"\x63\0\0\0")


def break_checksum(file):
    write_at(file, 80, b"\xff" * 32)


def zero(file):
    size = file.stat().st_size
    file.write_bytes(b"")
    os.truncate(file, size)


def empty(file):
    file.write_bytes(b"")


def replace_by_folder(file):
    file.unlink()
    file.mkdir()


def fill_with_noise(file):
    file.write_bytes(os.urandom(file.stat().st_size))


def write_at(file, offset, data):
    with file.open("r+b") as counters:
        counters.seek(offset)
        counters.write(data)


@pytest.mark.parametrize("corrupt", [truncate, change_version, break_checksum, zero, empty, replace_by_folder, fill_with_noise])
def test_f09_a_corrupt_counter_file_is_set_aside_with_an_error_and_httpd_starts(server, keys, key, corrupt):
    web = server("APIQuotaStore shm size=1m\n" + TOTAL, keys=keys)
    assert remaining(web.get(ITEM, key=key)) == PLENTY - 1
    web.stop()
    file = web.root.state / "counters"
    corrupt(file)
    web.expect_log(r"AQ00300: .*set aside", must=True)
    web.start()
    assert remaining(web.get(ITEM, key=key)) == PLENTY - 1
    assert len(list(web.root.state.glob("counters.bad-*"))) == 1
    # What was put in its place is sound: it is kept.
    web.stop()
    web.start()
    assert remaining(web.get(ITEM, key=key)) == PLENTY - 2


# ---- a full table --------------------------------------------------------------------------------

SLOTS_OF_64K = (65536 - HEADER_BYTES) // 64
KEYS_A_TENANT = 50  # as many as a keys file may hold
TABLE_FULL = r"AQ00304: "
UNCOUNTED = r"AQ01001: "


def ask_all(web, callers):
    """Each key asks once, over one connection; how often each (status, X-RateLimit-Remaining) came."""
    with web.session() as session:
        answers = [session.get(ITEM, key=key) for key in callers]
    return collections.Counter((a.status, a.headers.get("X-RateLimit-Remaining")) for a in answers)


@pytest.mark.parametrize("failure, uncounted", [("allow", (200, None)), ("deny", (503, None))])
def test_f08_a_full_table_keeps_its_live_counters_and_says_so_once_a_second(server, keys, failure, uncounted):
    callers = [keys.add(f"tenant{i // KEYS_A_TENANT}", id=f"k_{i}") for i in range(SLOTS_OF_64K + 200)]
    conf = f"APIQuotaStore shm size=64k\nAPIQuotaStoreFailure {failure}\n" + TOTAL
    web = server(conf, keys=keys, mpm_conf=confs.ONE_CHILD)
    web.expect_log(TABLE_FULL, must=True)
    web.expect_log(UNCOUNTED, must=True)
    began = int(time.time())
    first = ask_all(web, callers)
    counted = first[200, str(PLENTY - 1)]
    # All places are taken but few, which the search from a counter's home does not reach.
    assert SLOTS_OF_64K * 0.9 <= counted <= SLOTS_OF_64K
    assert first == {(200, str(PLENTY - 1)): counted, uncounted: len(callers) - counted}
    assert ask_all(web, callers) == {(200, str(PLENTY - 2)): counted, uncounted: len(callers) - counted}
    seconds_of_the_clock = int(time.time()) - began + 1
    for alert in (TABLE_FULL, UNCOUNTED):
        assert len(web.log.matching(alert)) <= seconds_of_the_clock
