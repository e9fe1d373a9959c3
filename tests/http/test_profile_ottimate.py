# SPDX-License-Identifier: Apache-2.0
"""The profile ottimate: a test for each row of its page, docs/profiles/ottimate.md."""

import calendar
import concurrent.futures
import time

import pytest

from harness import batches, checks, profiles
from harness.trickle import TrickleBackend

FILE = "/v1/item.json"
NOON = calendar.timegm((2026, 1, 15, 12, 0, 0))
MIDNIGHT = NOON + 43200
REQUEST_S = 29
LATE_S = 15.0  # of a busy machine
PROXY_LINES = "AH01102|AH00898|AH01110|AH10404|AH01106|AH01095"


@pytest.fixture
def api(server, backend):
    """The profile at noon."""
    web = profiles.serve(server, "ottimate", backend, own_file=FILE, faketime="+0")
    web.clock.freeze(NOON)
    return web


def spend_slowly(web, key, count, at_once=1000):
    """Sends `count` requests, all of which have to be allowed, a second after every thousand."""
    while count:
        load = web.h2load(FILE, min(count, at_once), connections=8, key=key, http1=True)
        assert load.ok == load.total, load
        web.clock.advance(1)
        count -= load.total


def test_row_O1_2000_at_once_and_then_1000_a_second(api):
    key, other = api.keys["acme-1"], api.keys["acme-2"]
    load = api.h2load(FILE, 2100, connections=8, key=key, http1=True)
    assert (load.ok, load.refused) == (2000, 100), load
    answer = api.get(FILE, key=key)
    checks.assert_problem(answer, 429, **{"violated-policies": ["rate"]})
    assert checks.retry_after(answer) == 1
    assert api.get(FILE, key=other).status == 200
    for _ in range(3):
        api.clock.advance(1)
        load = api.h2load(FILE, 1100, connections=8, key=key, http1=True)
        assert (load.ok, load.refused) == (1000, 100), load
    # It fills up to the burst, and no further.
    api.clock.advance(60)
    load = api.h2load(FILE, 2100, connections=8, key=key, http1=True)
    assert (load.ok, load.refused) == (2000, 100), load
    assert checks.trio(api.get(FILE, key=other)).limit == 10000


def test_row_O2_10000_a_day_per_key_until_midnight_utc(api):
    key, other = api.keys["acme-1"], api.keys["acme-2"]
    spend_slowly(api, key, 9999)
    assert checks.trio(api.get(FILE, key=key)) == (10000, 0, MIDNIGHT)
    answer = api.get(FILE, key=key)
    checks.assert_problem(answer, 429)
    assert checks.retry_after(answer) == MIDNIGHT - int(api.clock.now())
    assert checks.trio(api.get(FILE, key=other)).remaining == 9999
    api.clock.freeze(MIDNIGHT - 1)
    assert checks.retry_after(api.get(FILE, key=key)) == 1
    api.clock.freeze(MIDNIGHT)
    assert checks.trio(api.get(FILE, key=key)) == (10000, 9999, MIDNIGHT + 86400)


def timed(ask):
    began = time.monotonic()
    return ask(), time.monotonic() - began


def test_row_O3_request_ends_after_29_seconds_in_all(server):
    """Asks side by side, for each of them takes its 29 seconds."""
    slow = TrickleBackend()
    try:
        web = profiles.serve(server, "ottimate", slow)
        web.expect_log(PROXY_LINES)
        key = web.keys["acme-1"]
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            runs = {way: pool.submit(timed, lambda way=way: web.get(f"/v1/{way}", key=key, timeout_s=REQUEST_S + 2 * LATE_S))
                    for way in ("silent", "headers", "body")}
            ends = {way: run.result() for way, run in runs.items()}
    finally:
        slow.close()
    assert all(REQUEST_S - 0.5 <= took_s <= REQUEST_S + LATE_S for _, took_s in ends.values()), ends
    for way in ("silent", "headers"):
        checks.assert_problem(ends[way][0], 504, code="request-timeout")
    # Its answer had begun: what was sent of it stands, and the connection is closed amid the rest.
    begun = ends["body"][0]
    assert begun.status == 200 and begun.truncated and begun.body


def test_row_O4_upload_is_answered_at_once_with_a_batch_to_poll(server, backend):
    web = profiles.serve(server, "ottimate", backend)
    key, lines = web.keys["acme-1"], [f"invoice {number}".encode() for number in range(3000)]
    backend.hold_import(1000)
    answer = web.post("/v1/imports", b"\n".join(lines), key=key)
    assert answer.status == 202 and answer.json()["id"].startswith("batch_")
    url = answer.headers["Location"]
    backend.wait_held()
    assert batches.wait_status(web, key, url, "running")["id"] == answer.json()["id"]
    backend.release()
    assert batches.wait_over(web, key, url)["status"] == "succeeded"
    assert web.get(url + "/result", key=key).json() == {"received": 3000, "imported": 3000}
    assert backend.store.lines(answer.json()["id"]) == lines


def test_row_O5_upload_that_is_sent_again_makes_no_second_batch(server, backend):
    web = profiles.serve(server, "ottimate", backend)
    key, body, headers = web.keys["acme-1"], b"one\ntwo\n", {"Idempotency-Key": "invoices-of-monday"}
    first = batches.submit(web, key, body, headers=headers)
    assert batches.submit(web, key, body, headers=headers) == first
    assert batches.wait_over(web, key, first)["status"] == "succeeded"
    assert batches.submit(web, key, body, headers=headers) == first
    second = batches.submit(web, key, body, headers={"Idempotency-Key": "invoices-of-tuesday"})
    assert second != first
    batches.wait_over(web, key, second)
    assert web.post("/v1/imports", b"three\n", key=key, headers=headers).status == 422
    ids = [url.rpartition("/")[2] for url in (first, second)]
    assert [seen.headers["Idempotency-Key"] for seen in backend.seen("/import")] == ids
