# SPDX-License-Identifier: Apache-2.0
"""Batches of items: each line a request of its own, over the real worker."""

import re
import subprocess
import time

import pytest

from harness import batches, checks, items_backend, paths
from harness.items import NDJSON, PATH, key, ndjson, result, segments, serve, submit, target  # noqa: F401
from harness.items_backend import Answer
from harness.own_worker import OwnWorker
from harness.waiting import eventually


def test_each_line_is_a_request_and_the_result_has_them_in_order(serve, key, target):
    web = serve()
    url = submit(web, key, ndjson(200))
    batch = batches.wait_over(web, key, url)
    assert batch["status"] == "succeeded" and batch["error"] is None and batch["attempt"] == 1
    assert batch["progress"] == {"done": 200, "total": 200, "failed": 0}
    assert result(web, key, url) == [{"line": n, "status": 201, "body": {"stored": n}} for n in range(1, 201)]
    assert target.lines == list(range(1, 201)) and target.requests == 200
    assert target.bodies[7] == b'{"n":7}'
    sent = target.headers[7]
    assert sent["idempotency-key"] == f"{batch['id']}-7" and sent["apiquota-batch-id"] == batch["id"]
    assert sent["content-type"] == "application/json" and sent["apiquota-batch-line"] == "7"
    assert "authorization" not in sent
    assert batches.left(web).incoming == []
    eventually(lambda: segments(web) == [], what="the end of the segments")  # they go when the end is written down


def test_result_tells_what_each_item_was_answered(serve, key, target):
    answers = {
        1: Answer(200, b'{"price": 1.10,\r\n "n": 12345678901234567890}'),
        2: Answer(200, "héllo\n".encode(), "text/plain; charset=utf-8"),
        3: Answer(200, b"\x89PNG\r\n\x1a\n", "image/png"),
        4: Answer(204, b"", None),
        5: Answer(422, b'{"error":"no name"}', "application/problem+json"),
        6: Answer(302, b"", None, [("Location", "http://127.0.0.1:1/")]),
        7: Answer(200, b"x" * 65537, "text/plain"),
        8: Answer(200, b'{"broken":'),
    }
    target.behave = lambda request: answers[request.line]
    web = serve()
    url = submit(web, key, ndjson(8) + b'{"n":\n\n' + b"[" * 600 + b"]" * 600)
    batch = batches.wait_over(web, key, url)
    assert batch["status"] == "succeeded" and batch["progress"] == {"done": 11, "total": 11, "failed": 6}
    text = web.get(url + "/result", key=key).body
    assert b'"body":{"price": 1.10,   "n": 12345678901234567890}' in text
    lines = items_backend.results(text)
    assert [line["line"] for line in lines] == list(range(1, 12))
    assert lines[1] == {"line": 2, "status": 200, "body": "héllo\n", "content_type": "text/plain; charset=utf-8"}
    assert lines[2] == {"line": 3, "status": 200, "body": "iVBORw0KGgo=", "encoding": "base64", "content_type": "image/png"}
    assert lines[3] == {"line": 4, "status": 204, "body": None}
    assert lines[4] == {"line": 5, "status": 422, "body": {"error": "no name"},
                        "error": {"code": "target-status", "detail": "the target answered 422"}}
    assert (lines[5]["status"], lines[5]["error"]["code"]) == (302, "target-status")
    assert (lines[6]["status"], lines[6]["body"], lines[6]["error"]["code"]) == (200, None, "response-too-large")
    assert lines[7] == {"line": 8, "status": 200, "body": '{"broken":', "content_type": "application/json"}
    assert [(line["status"], line["error"]["code"]) for line in lines[8:]] == [
        (None, "not-json"), (None, "not-json"), (None, "too-deep")]
    assert target.requests == 8


def test_so_many_items_at_a_time(serve, key, target):
    target.behave = lambda request: Answer(201, b"1", delay_s=0.05)
    web = serve("APIQuotaBatchItems parallel=3")
    url = submit(web, key, ndjson(30))
    assert batches.wait_over(web, key, url)["progress"]["done"] == 30
    assert target.most_at_once == 3


def test_so_many_items_a_second(serve, key, target):
    web = serve("APIQuotaBatchItems parallel=8 rate=20/s")
    began = time.monotonic()
    url = submit(web, key, ndjson(41))
    assert batches.wait_over(web, key, url)["progress"]["done"] == 41
    times = target.times
    assert times[-1] - began > 1.9
    # A target that stands still for a moment finds one of each connection when it goes on.
    assert all(times[i + 22 + 8] - times[i] > 1.0 for i in range(len(times) - 22 - 8))


def test_what_passes_by_is_tried_again_and_then_fails(serve, key, target):
    def behave(request):
        if request.line == 3:
            return Answer(503, b"busy", "text/plain")
        return Answer(503) if request.line == 5 and request.times == 0 else items_backend.stored(request)
    target.behave = behave
    web = serve("APIQuotaBatchAttempts 2")
    url = submit(web, key, ndjson(6))
    batch = batches.wait_over(web, key, url)
    assert batch["status"] == "succeeded" and batch["attempt"] == 1
    assert batch["progress"] == {"done": 6, "total": 6, "failed": 1}
    assert result(web, key, url)[2] == {"line": 3, "status": 503, "body": "busy", "content_type": "text/plain",
                                        "error": {"code": "target-status", "detail": "the target answered 503"}}
    assert target.lines == [1, 2, 4, 5, 6] and target.requests == 8


def test_retry_after_of_the_target_holds_the_whole_batch(serve, key, target):
    def behave(request):
        if request.line == 4 and request.times == 0:
            return Answer(429, headers=[("Retry-After", "2")])
        return items_backend.stored(request)
    target.behave = behave
    web = serve("APIQuotaBatchItems parallel=1")
    url = submit(web, key, ndjson(10))
    batch = batches.wait_over(web, key, url)
    assert batch["progress"] == {"done": 10, "total": 10, "failed": 0}
    assert target.times[4] - target.times[3] >= 1.9 and target.requests == 11


def test_batch_that_has_to_wait_for_long_gives_its_thread_back(serve, key, target):
    target.behave = lambda request: Answer(429, headers=[("Retry-After", "90")])
    web = serve("APIQuotaBatchItems parallel=1")
    url = submit(web, key, b"not json\n" + ndjson(10))
    batch = eventually(lambda: (now := web.get(url, key=key).json())["next_attempt_at"] and now)
    assert batch["status"] == "queued" and batch["attempt"] == 0 and target.requests == 1
    assert batch["progress"] == {"done": 1, "total": 11, "failed": 1}
    assert web.post(url + "/cancel", key=key).json()["status"] == "canceled"


def test_target_that_is_down_fails_the_items_and_not_the_batch(server, keys, key, dead_backend):
    web = server(batches.conf(dead_backend.url, "APIQuotaBatchMode items", "APIQuotaBatchAttempts 1", path=PATH), keys=keys)
    url = submit(web, key, ndjson(20))
    batch = batches.wait_over(web, key, url)
    assert batch["status"] == "succeeded" and batch["progress"] == {"done": 20, "total": 20, "failed": 20}
    assert {line["error"]["code"] for line in result(web, key, url)} == {"target-unreachable"}


def test_target_that_is_down_costs_few_items_their_tries(serve, key, target):
    target.behave = lambda request: Answer(503) if target.requests <= 8 else items_backend.stored(request)
    web = serve("APIQuotaBatchItems parallel=4", "APIQuotaBatchAttempts 3")
    url = submit(web, key, ndjson(1000))
    batch = batches.wait_over(web, key, url, timeout_s=90)
    assert batch["progress"] == {"done": 1000, "total": 1000, "failed": 0}
    assert target.requests < 1020


def test_item_with_unknown_outcome_is_never_sent_again_where_the_target_is_not_idempotent(serve, key, target):
    target.behave = lambda request: items_backend.HANG_UP if request.line == 2 else items_backend.stored(request)
    web = serve("APIQuotaBatchTargetIdempotent Off")
    url = submit(web, key, ndjson(5))
    batch = batches.wait_over(web, key, url)
    assert batch["status"] == "succeeded" and batch["progress"] == {"done": 5, "total": 5, "failed": 1}
    second = result(web, key, url)[1]
    assert second["status"] is None and second["error"]["code"] == "outcome-unknown"
    assert set(target.sent.values()) == {1}


def test_f50_target_that_hangs_is_that_items_time_out(serve, key, target):
    target.behave = lambda request: Answer(201, delay_s=60) if request.line == 2 else items_backend.stored(request)
    web = serve("APIQuotaBatchItems timeout=3s", "APIQuotaBatchAttempts 1")
    url = submit(web, key, ndjson(5))
    assert batches.wait_over(web, key, url)["progress"] == {"done": 5, "total": 5, "failed": 1}
    assert result(web, key, url)[1]["error"]["code"] == "target-timeout"


def test_f47_changed_body_fails_the_batch(serve, key, target):
    web = serve(worker=False)
    url = submit(web, key, ndjson(5))
    (body,) = (batches.folder(web) / "spool" / "body").iterdir()
    body.write_bytes(ndjson(4) + b'{"n":6}\n')
    worker = OwnWorker(web)
    worker.start()
    batch = batches.wait_over(web, key, url)
    worker.stop()
    assert batch["status"] == "failed" and batch["error"]["code"] == "body-changed" and target.requests == 0


def test_cancel_keeps_what_was_done(serve, key, target):
    target.behave = lambda request: Answer(201, b"1", delay_s=0 if request.line <= 10 else 0.2)
    web = serve("APIQuotaBatchItems parallel=2")
    url = submit(web, key, ndjson(1000))
    eventually(lambda: target.requests >= 13)
    assert web.post(url + "/cancel", key=key).status == 200
    batch = batches.wait_over(web, key, url)
    assert batch["status"] == "canceled" and batch["progress"]["total"] == 1000
    lines = result(web, key, url)
    assert 10 <= len(lines) == batch["progress"]["done"] < 1000
    assert [line["line"] for line in lines][:10] == list(range(1, 11))
    assert len(segments(web)) == 1
    assert web.request("DELETE", url, key=key).status == 204
    assert segments(web) == [] and batches.left(web) == batches.NOTHING_LEFT


def test_time_of_the_batch_bounds_all_of_its_items(serve, key, target):
    target.behave = lambda request: Answer(201, b"1", delay_s=0.1)
    web = serve("APIQuotaBatchItems parallel=1", "APIQuotaBatchTimeout 3s")
    url = submit(web, key, ndjson(1000))
    batch = batches.wait_over(web, key, url)
    assert batch["status"] == "failed" and batch["error"]["code"] == "batch-timeout" and batch["attempt"] == 1
    assert 0 < len(result(web, key, url)) == batch["progress"]["done"] < 60


def test_retry_goes_on_behind_what_was_done(serve, key, target):
    target.behave = lambda request: Answer(201, b"1", delay_s=0.3)
    web = serve("APIQuotaBatchItems parallel=1", "APIQuotaBatchTimeout 3s")
    url = submit(web, key, ndjson(12))
    batch = batches.wait_over(web, key, url)
    assert batch["status"] == "failed" and batch["progress"]["done"] < 12
    target.behave = items_backend.stored
    subprocess.run([paths.CTL, "--state-dir", web.root.state, "batch", "retry", batch["id"]], check=True, timeout=30)
    batch = batches.wait_over(web, key, url)
    assert batch["status"] == "succeeded" and batch["progress"] == {"done": 12, "total": 12, "failed": 0}
    assert [line["line"] for line in result(web, key, url)] == list(range(1, 13))
    assert sum(count > 1 for count in target.sent.values()) <= 1, "only what was on its way is sent again"
    eventually(lambda: segments(web) == [], what="the end of the segments")


@pytest.mark.parametrize("sent, body, status, code", [
    ({"Content-Type": "application/json"}, b"{}\n", 415, "not-ndjson"),
    ({}, b"{}\n", 415, "not-ndjson"),
    ({"Content-Type": "application/x-ndjsonx"}, b"{}\n", 415, "not-ndjson"),
    ({**NDJSON, "Content-Encoding": "gzip"}, b"{}\n", 415, "encoded-items"),
    (NDJSON, b"{}\n" * 11, 413, "too-many-items"),
    (NDJSON, b"\n" * 10 + b"1", 413, "too-many-items"),
    (NDJSON, (b"{}\n" for _ in range(11)), 413, "too-many-items"),
    (NDJSON, b"", 422, "no-items"),
], ids=["json", "no type", "another", "encoded", "many", "empty lines", "chunks", "none"])
def test_refused_upload_leaves_nothing_behind(serve, key, sent, body, status, code):
    web = serve("APIQuotaBatchMaxItems 10", worker=False)
    checks.assert_problem(web.post(PATH, body=body, key=key, headers=sent), status, code=code)
    assert batches.left(web) == batches.NOTHING_LEFT


@pytest.mark.parametrize("kind", ["application/x-ndjson", "Application/NDJSON; charset=utf-8", "application/jsonl"])
def test_as_many_lines_as_may_be_are_taken(serve, key, kind):
    web = serve("APIQuotaBatchMaxItems 10", worker=False)
    answer = web.post(PATH, body=b"{}\n" * 9 + b"1", key=key, headers={"Content-Type": kind})
    assert answer.status == 202 and answer.json()["progress"] == {"done": 0, "total": 10, "failed": 0}


@pytest.mark.parametrize("lines, error", [
    (("APIQuotaBatchMode items", "APIQuotaBatchTarget exec:/bin/true"), "AQ01257"),
    (("APIQuotaBatchMaxItems 5",), "AQ01256"),
    (("APIQuotaBatchItems parallel=5",), "AQ01256"),
    (("APIQuotaBatchMode request", "APIQuotaBatchItems timeout=5s"), "AQ01256"),
    (("APIQuotaBatchMode item",), 'APIQuotaBatchMode: "item" is not allowed here; allowed: request, items'),
    (("APIQuotaBatchMode items", "APIQuotaBatchMaxItems 0"), "APIQuotaBatchMaxItems: .*1 to 100000000"),
    (("APIQuotaBatchMode items", "APIQuotaBatchItems parallel=257"), "APIQuotaBatchItems: .*1 to 256"),
    (("APIQuotaBatchMode items", "APIQuotaBatchItems rate=5/month"), "APIQuotaBatchItems: .*a period of a day at most"),
    (("APIQuotaBatchMode items", "APIQuotaBatchItems rate=0/s"), "APIQuotaBatchItems: .*COUNT/PERIOD"),
    (("APIQuotaBatchMode items", "APIQuotaBatchItems timeout=25h"), "APIQuotaBatchItems: .*24h"),
    (("APIQuotaBatchMode items", "APIQuotaBatchItems speed=5"), r"APIQuotaBatchItems: .*\[parallel=N\]"),
])
def test_what_makes_no_sense_is_a_configuration_error(server, lines, error):
    web = server(batches.conf("http://127.0.0.1:1/", *lines, path=PATH), start=False)
    said = web.start_fails()
    assert re.search(error, said), said
