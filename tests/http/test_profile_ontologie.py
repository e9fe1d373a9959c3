# SPDX-License-Identifier: Apache-2.0
"""The profile ontologie: a test for each row of its page, docs/profiles/ontologie.md."""

import calendar
import socket
import threading
import time

import pytest

from harness import batches, checks, faketime, profiles
from harness.faketime import ENDS_WAITS
from harness.own_worker import OwnWorker
from harness.trickle import TrickleBackend
from harness.waiting import eventually
from harness.wire import pairs_of, request_bytes

FILE = "/v1/item.json"
MB = 1 << 20
DAY_S = 86400
LAST_OF_JANUARY = calendar.timegm((2026, 1, 31, 0, 0, 0))
NOON = LAST_OF_JANUARY + DAY_S // 2
MIDNIGHT = LAST_OF_JANUARY + DAY_S
MARCH = calendar.timegm((2026, 3, 1, 0, 0, 0))
LISTED = 52
SIZES = {"nodes": 1, "imports": 50, "attachments": 10, "documents": 100, "webhooks": 1}
TIMES = {"nodes": 30, "imports": 300, "agents/conversations": 300, "sync": 600, "workflows/executions": 3600}
LEFT_S = 5
PROXY_LINES = "AH01102|AH00898|AH01110|AH10404|AH01106|AH01095"
FORBIDDEN_LINE = "AH01631"
ASYNC = {"Prefer": "respond-async"}
# The deadline goes by the time since boot, which is faked as well here.
FAKE_ALL = {"DONT_FAKE_MONOTONIC": "0", "FAKETIME_DONT_FAKE_MONOTONIC": "0"}


@pytest.fixture
def api(server, backend):
    """The profile at noon of January 31st."""
    web = profiles.serve(server, "ontologie", backend, own_file=FILE, faketime="+0")
    web.clock.freeze(NOON)
    return web


def spend(web, key, count, path=FILE):
    """Sends `count` requests, ten every other second, all of which have to be allowed."""
    while count:
        load = web.h2load(path, min(count, 10), key=key, http1=True)
        assert load.ok == load.total, load
        web.clock.advance(2)
        count -= load.total


def test_row_T1_1000_an_hour_per_key(api):
    key = api.keys["editor"]
    spend(api, key, 999)
    assert checks.trio(api.get(FILE, key=key)) == (1000, 0, NOON + 3600)
    answer = api.get(FILE, key=key)
    checks.assert_problem(answer, 429)
    assert checks.retry_after(answer) == NOON + 3600 - int(api.clock.now())
    assert checks.trio(api.get(FILE, key=api.keys["reader"])).remaining == 999
    api.clock.freeze(NOON + 3600)
    assert checks.trio(api.get(FILE, key=key)).remaining == 999


def test_row_T1_10_a_second_per_key(api):
    key = api.keys["editor"]
    assert [api.get(FILE, key=key).status for _ in range(11)] == [200] * 10 + [429]
    answer = api.get(FILE, key=key)
    checks.assert_problem(answer, 429, limit=10, window="1s")
    assert api.get(FILE, key=api.keys["reader"]).status == 200
    api.clock.advance(checks.retry_after(answer))
    assert checks.trio(api.get(FILE, key=key)).remaining == 1000 - 11


def test_row_T2_100_webhooks_a_minute_for_each_endpoint(api, backend):
    orders, payments = "/v1/webhooks/orders", "/v1/webhooks/payments"
    for path in (orders, payments):
        backend.script(path.removeprefix("/v1"))
    spend(api, api.keys["editor"], 50, orders)
    spend(api, api.keys["other"], 50, orders)
    answer = api.post(f"{orders}/", b"{}", key=api.keys["reader"])
    checks.assert_problem(answer, 429, limit=100, window="1m", **{"violated-policies": ["webhooks"]})
    assert api.post(payments, b"{}", key=api.keys["editor"]).status == 200
    api.clock.advance(checks.retry_after(answer))
    assert api.post(orders, b"{}", key=api.keys["reader"]).status == 200
    assert checks.trio(api.get(FILE, key=api.keys["reader"])).limit == 1000


@pytest.mark.parametrize("path, most", [("/v1/workflows/executions", 5), ("/v1/agents/conversations", 10)])
def test_row_T3_so_many_at_the_same_time_per_workspace(server, path, most):
    slow = TrickleBackend()
    try:
        web = profiles.serve(server, "ontologie", slow)
        web.expect_log(PROXY_LINES)
        running = []
        for number in range(most):
            running.append(web.raw())
            key = web.keys["editor" if number % 2 else "reader"]
            running[-1].send(request_bytes("GET", f"{path}/body", pairs_of(None, key)))
            assert running[-1].read(12) == b"HTTP/1.1 200"
        refused = web.get(f"{path}/fast", key=web.keys["metered"])
        checks.assert_problem(refused, 429, limit=most)
        assert checks.retry_after(refused) == 1
        # Nor is there a way past them in the queue.
        assert web.post(f"{path}/fast", b"{}", key=web.keys["metered"], headers=ASYNC).status == 429
        assert web.get(f"{path}/fast", key=web.keys["other"]).status == 200
        assert web.get("/v1/nodes/fast", key=web.keys["metered"]).status == 200
        # A client that goes away makes room.
        running.pop().abort()
        eventually(lambda: web.get(f"{path}/fast", key=web.keys["metered"]).status == 200)
        for connection in running:
            connection.abort()
    finally:
        slow.close()


def test_row_T4_headers_on_every_response_and_retry_after_on_429_only(api):
    api.expect_log(FORBIDDEN_LINE)
    key = api.keys["reader"]
    answers = [api.get(FILE, key=key), api.head(FILE, key=key), api.get("/v1/status/404", key=key),
               api.get("/v1/status/500", key=key), api.get("/v1/etag", key=key, headers={"If-None-Match": '"version-1"'}),
               api.post("/v1/nodes", b"{}", key=key), api.post("/v1/echo", bytes(MB + 1), key=key)]
    assert [answer.status for answer in answers] == [200, 200, 404, 500, 304, 403, 413]
    assert [checks.trio(answer) for answer in answers] == [
        (1000, left, NOON + 3600) for left in (999, 998, 997, 996, 996, 995, 994)]
    assert not [answer for answer in answers if "Retry-After" in answer.headers]
    statuses = [api.get(FILE, key=key).status for _ in range(5)]
    assert statuses == [200] * 4 + [429]
    refused = api.get(FILE, key=key)
    assert checks.trio(refused) == (10, 0, NOON + checks.retry_after(refused))


def test_row_T5_day_and_month_are_unlimited_unless_set(api):
    answer = api.get(FILE, key=api.keys["editor"])
    assert "X-RateLimit-Limit-Daily" not in answer.headers and "X-RateLimit-Limit-Monthly" not in answer.headers
    key = api.keys["metered"]
    spend(api, key, 19)
    answer = api.get(FILE, key=key)
    assert checks.trio(answer, "-Daily") == (20, 0, MIDNIGHT)
    assert checks.trio(answer, "-Monthly") == (50, 30, MIDNIGHT)
    checks.assert_problem(api.get(FILE, key=key), 429, limit=20, window="1d")
    spend(api, api.keys["editor"], 30)
    for day, count in ((0, 20), (1, 20), (2, 10)):
        api.clock.freeze(MIDNIGHT + day * DAY_S)
        spend(api, key, count)
    answer = api.get(FILE, key=key)
    checks.assert_problem(answer, 429, limit=50)
    assert checks.retry_after(answer) == MARCH - int(api.clock.now())


def test_row_T5_quota_set_for_a_key_counts_what_it_had_used(api):
    key = api.keys["other"]
    spend(api, key, 40)
    api.keys.change(key, limits={"day": "42/day"})
    api.save_keys()
    api.graceful()
    assert [checks.trio(api.get(FILE, key=key), "-Daily")[:2] for _ in range(2)] == [(42, 1), (42, 0)]
    checks.assert_problem(api.get(FILE, key=key), 429, limit=42, window="1d")


def test_row_T6_50_keys_of_a_workspace_and_10_scopes_of_a_key(server, backend):
    web = profiles.serve(server, "ontologie", backend, own_file=FILE, start=False)
    web.keys.tenant("full", "workspace").tenant("scoped", "workspace")
    members = [web.keys.add("full") for _ in range(51)]
    ten, eleven = (web.keys.add("scoped", scopes=[f"s:{n}" for n in range(count)]) for count in (10, 11))
    web.expect_log("AQ00200: .*the tenant \"full\" has 50 keys already", must=True)
    web.expect_log("AQ00200: .*at most 10 scopes", must=True)
    web.save_keys()
    web.start()
    assert [web.get(FILE, key=key).status for key in members] == [200] * 50 + [401]
    assert (web.get(FILE, key=ten).status, web.get(FILE, key=eleven).status) == (200, 401)


def test_row_T6_scope_can_be_required_for_a_path(api):
    api.expect_log(FORBIDDEN_LINE)
    reader, editor = api.keys["reader"], api.keys["editor"]
    answers = [api.get("/v1/nodes", key=reader), api.post("/v1/nodes", b"{}", key=reader),
               api.post("/v1/nodes/n1", b"{}", key=editor), api.post("/v1/nodes", b"{}")]
    # 404 is the backend's: the request came through.
    assert [answer.status for answer in answers] == [404, 403, 404, 401]
    checks.assert_problem(answers[1], 403)


def chunks(size):
    """A body in chunks of at most a megabyte."""
    return (bytes(min(MB, size - start)) for start in range(0, size, MB))


@pytest.mark.parametrize("resource, size", [(name, count * MB) for name, count in SIZES.items()])
def test_row_T8_body_of_the_size_passes_and_one_byte_more_is_413(server, backend, resource, size):
    web = profiles.serve(server, "ontologie", backend)
    web.expect_log("AH02608|AH01097|AH01095")
    backend.script(f"/{resource}/item", body=b"taken\n")
    key, path = web.keys["editor"], f"/v1/{resource}/item"
    assert web.post(path, chunks(size), key=key, timeout_s=60).body == b"taken\n"
    assert [seen.body_length for seen in backend.seen()] == [size]
    checks.assert_problem(web.post(path, chunks(size + 1), key=key, timeout_s=60), 413)
    declared = web.expect_continue(path, bytes(size + 1), key=key)
    assert not declared.got_100
    checks.assert_problem(declared.response, 413)
    assert len(backend.seen()) == 1


def pages(web, key, query):
    """All pages of the list, each after a second, for the burst is ten."""
    cursor = None
    while True:
        web.clock.advance(1)
        answer = web.get(f"{batches.STATUS_PATH}?{query}" + (f"&cursor={cursor}" if cursor else ""), key=key)
        assert answer.status == 200 and set(answer.json()) == {"data", "pagination"}
        assert set(answer.json()["pagination"]) == {"total", "limit", "cursor", "hasMore"}
        yield answer.json()
        cursor = answer.json()["pagination"]["cursor"]
        if cursor is None:
            return


def test_row_T7_list_has_a_limit_an_opaque_cursor_and_tells_what_there_is(server, backend):
    web = profiles.serve(server, "ontologie", backend, faketime="+0", allow=(ENDS_WAITS,))
    key, urls = web.keys["editor"], []
    for number in range(LISTED):
        web.clock.advance(0.2)
        urls.append(batches.submit(web, key, body=b"%d" % number, headers=ASYNC))
    first, second = pages(web, key, "")
    assert first["pagination"] == {"total": LISTED, "limit": 50, "cursor": first["pagination"]["cursor"], "hasMore": True}
    assert second["pagination"] == {"total": LISTED, "limit": 50, "cursor": None, "hasMore": False}
    listed = [batch["links"]["self"] for page in (first, second) for batch in page["data"]]
    assert len(first["data"]) == 50 and listed == urls[::-1]
    for limit in (1, 200):
        page = next(pages(web, key, f"limit={limit}"))
        assert page["pagination"]["limit"] == limit and len(page["data"]) == min(limit, LISTED)
    for wrong in ("limit=0", "limit=201", "limit=ten", "cursor=2", "limit=1&limit=2"):
        web.clock.advance(1)
        checks.assert_problem(web.get(f"{batches.STATUS_PATH}?{wrong}", key=key), 400, code="parameter-invalid")
    web.clock.advance(1)
    assert web.get(batches.STATUS_PATH, key=web.keys["other"]).json()["pagination"]["total"] == 0


@pytest.mark.parametrize("operation, seconds", TIMES.items())
def test_row_T9_operation_ends_in_its_time(server, operation, seconds):
    slow = TrickleBackend()
    try:
        web = profiles.serve(server, "ontologie", slow, faketime="+0", env=FAKE_ALL)
        web.expect_log(PROXY_LINES)
        answers = []
        asking = threading.Thread(target=lambda: answers.append(web.get(f"/v1/{operation}/silent", key=web.keys["editor"])))
        began = time.monotonic()
        asking.start()
        eventually(lambda: slow.connections == 1)
        web.clock.advance(seconds - LEFT_S)
        asking.join(1)
        # The clock goes on by itself, and on a busy machine for longer than was left.
        assert asking.is_alive() or time.monotonic() - began > LEFT_S
        web.clock.advance(LEFT_S)
        asking.join(60)
        checks.assert_problem(answers[0], 504, code="request-timeout")
    finally:
        slow.close()


class SilentBackend:
    """Takes connections and what is sent over them, and never answers."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(60)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def wait_called(self):
        return self._listener.accept()[0]

    def close(self):
        self._listener.close()


def test_row_T9_import_taken_as_a_batch_ends_in_its_time(server):
    silent = SilentBackend()
    seconds = TIMES["imports"]
    web = profiles.serve(server, "ontologie", silent, faketime="+0", env=FAKE_ALL, more="APIQuotaWorker off\n",
                         allow=(ENDS_WAITS,))
    key = web.keys["editor"]
    # A lease that the steps of the clock do not end.
    worker = OwnWorker(web, "--lease-ms", "3600000",
                       env={"LD_PRELOAD": faketime.library(), **web.clock.environment(), **FAKE_ALL})
    answer = web.post("/v1/imports", b"{}", key=key, headers=ASYNC)
    assert answer.status == 202
    worker.start()
    with silent.wait_called():
        for _ in range(3):
            web.clock.advance(seconds / 3 - 9)
            time.sleep(1.2)  # not a wait: the worker has to renew its lease, and is seen to go on
        assert web.get(answer.headers["Location"], key=key).json()["status"] == "running"
        web.clock.advance(27)
        # Polls that come faster than ten a second are refused.
        batch = eventually(lambda: (now := web.get(answer.headers["Location"], key=key)).status == 200
                           and now.json()["finished_at"] and now.json(), timeout_s=60)
    assert batch["status"] == "failed" and batch["error"]["code"] == "target-timeout"
    worker.stop()
    silent.close()
