# SPDX-License-Identifier: Apache-2.0
"""Targets that misbehave: each ends in its time, within bounds, with the reason in the batch's `error`."""

import json
import os
import pathlib
import re

import pytest

from harness import batches, checks, paths
from harness.rude_target import RudeTarget
from harness.trickle import TrickleBackend
from harness.waiting import eventually

MEGABYTE = 1 << 20
# The worker with options of its own, as a program of httpd's.
WORKER_WITH = '#!/bin/sh\nexec "{worker}" "$@" {options}\n'


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def rude():
    with RudeTarget() as target:
        yield target


@pytest.fixture
def trickling():
    target = TrickleBackend()
    yield target
    target.close()


@pytest.fixture
def running(server, keys, key):
    """running(target, *lines, options=): a server whose worker has these options, and whose batches go to `target`."""
    def make(target, *lines, options="", **fields):
        conf = batches.conf(target, *lines)
        web = server(conf, keys=keys, start=False, **fields)
        if options:
            program = web.root.path / "worker"
            program.write_text(WORKER_WITH.format(worker=paths.WORKER, options=options))
            program.chmod(0o755)
            web.write_conf(f'APIQuotaWorkerProgram "{program}"\n' + conf)
        return web.start()
    return make


def run(web, key, timeout_s=60.0):
    """A batch that is over, and the answer to its result."""
    url = batches.submit(web, key)
    batch = batches.wait_over(web, key, url, timeout_s)
    return batch, web.get(url + "/result", key=key)


def spooled_bytes(web):
    return sum(file.stat().st_size for file in (batches.folder(web) / "spool").rglob("*") if file.is_file())


# ---- f50 -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("way", ["silent", "deaf", "headers", "line", "body", "open", "chunks"])
def test_f50_target_that_hangs_or_trickles_is_ended_by_the_time_out(running, key, trickling, way):
    web = running(f"{trickling.url}/{way}", "APIQuotaBatchTimeout 700ms", "APIQuotaBatchAttempts 1")
    batch, result = run(web, key)
    assert batch["status"] == "failed" and batch["response"] is None
    assert batch["error"] == {"code": "target-timeout", "detail": "the target did not answer in time"}
    checks.assert_problem(result, 404, code="no-result")
    assert "target-timeout" in result.json()["detail"]
    assert batches.left(web).result == []
    eventually(lambda: batches.left(web).incoming == [], what="the end of the file for the answer")


def test_f50_target_that_hangs_is_tried_again_as_often_as_it_may(running, key, trickling):
    web = running(f"{trickling.url}/silent", "APIQuotaBatchTimeout 300ms", "APIQuotaBatchAttempts 2")
    batch, _ = run(web, key)
    assert batch["attempt"] == 2 and batch["error"]["code"] == "target-timeout"
    eventually(lambda: trickling.connections == 2, what="both connections")  # it counts those that it has taken


def test_f50_answer_without_end_is_cut_at_the_bound_and_leaves_nothing(running, key, rude):
    web = running(rude.url + "/flood", options=f"--result-max-bytes {32 * MEGABYTE}")
    batch, result = run(web, key)
    assert batch["status"] == "failed" and batch["attempt"] == 1
    assert batch["error"] == {"code": "response-too-large", "detail": "the target's answer is larger than may be stored"}
    checks.assert_problem(result, 404, code="no-result")
    assert rude.flooded_bytes < 64 * MEGABYTE
    eventually(lambda: spooled_bytes(web) < 1024, what="a spool without the answer")
    if not os.environ.get("AQ_SANITIZER"):  # whose own memory grows with use
        status = pathlib.Path(f"/proc/{web.worker_pid()}/status").read_text()
        assert int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) < 64 * 1024


def test_f50_answer_without_end_stops_where_the_spool_is_full(server, keys, key, rude):
    web = server(f'APIQuotaSpool "${{ROOT}}/state/spool" max=8m\n' + batches.conf(rude.url + "/flood", "APIQuotaBatchAttempts 1"),
                 keys=keys)
    batch, _ = run(web, key)
    assert batch["status"] == "failed"
    assert batch["error"]["detail"] == "the target's answer could not be stored"
    assert rude.flooded_bytes < 32 * MEGABYTE
    assert batches.left(web, web.root.state / "spool").result == []


@pytest.mark.long
def test_f50_gigabyte_is_stored_and_replayed_whole(running, key):
    with RudeTarget(most_bytes=1 << 30) as target:
        batch, _ = run_head(running(target.url + "/flood", "APIQuotaBatchTimeout 5min"), key)
        assert batch["status"] == "succeeded" and batch["response"]["bytes"] == 1 << 30


def run_head(web, key):
    url = batches.submit(web, key)
    batch = batches.wait_over(web, key, url, 120)
    return batch, web.head(url + "/result", key=key)


@pytest.mark.parametrize("way, code, detail", [
    ("/reset", "target-lost", "the connection to the target broke before it had answered"),
    ("/truncate", "target-lost", "the connection to the target broke before it had answered")])
def test_f50_target_that_breaks_off_is_lost(running, key, backend, way, code, detail):
    web = running(backend.url + way, "APIQuotaBatchAttempts 1")
    batch, result = run(web, key)
    assert batch["status"] == "failed" and batch["error"] == {"code": code, "detail": detail}
    checks.assert_problem(result, 404, code="no-result")
    assert batches.left(web).result == []


def test_f50_redirect_is_not_followed_and_is_the_answer(running, key, backend):
    elsewhere = backend.url + "/echo"
    backend.script("/moved", status=307, headers={"Location": elsewhere}, body=b"over there\n")
    web = running(backend.url + "/moved")
    batch, result = run(web, key)
    assert batch["status"] == "failed" and batch["attempt"] == 1
    assert batch["error"] == {"code": "target-status", "detail": "the target answered 307"}
    assert (result.status, result.body, result.headers["Location"]) == (307, b"over there\n", elsewhere)
    assert [seen.path for seen in backend.seen()] == ["/moved"]


@pytest.mark.parametrize("status", [600, 999])
def test_f50_status_that_http_does_not_have_is_failed_without_a_result(running, key, rude, status):
    rude.answers["/odd"] = f"HTTP/1.1 {status} Odd\r\nContent-Length: 4\r\n\r\nodd\n".encode()
    web = running(rude.url + "/odd")
    batch, result = run(web, key)
    assert batch["status"] == "failed" and batch["response"] is None and batch["attempt"] == 1
    assert batch["error"] == {"code": "target-status", "detail": f"the target answered {status}"}
    checks.assert_problem(result, 404, code="no-result")


@pytest.mark.parametrize("answer", [b"", b"\x00\x01\x02 no HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
                                    b"HTTP/1.1 99 Low\r\n\r\n", b"HTTP/9.9 200 OK\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n"])
def test_f50_what_is_no_http_is_lost(running, key, rude, answer):
    rude.answers["/none"] = answer
    web = running(rude.url + "/none", "APIQuotaBatchAttempts 1")
    batch, result = run(web, key)
    assert batch["status"] == "failed" and batch["error"]["code"] == "target-lost", batch
    checks.assert_problem(result, 404, code="no-result")


# ---- f67 -------------------------------------------------------------------------------------------

HARMFUL = ["X-RateLimit-Limit: 7", "X-RateLimit-Remaining-Daily: 6", "RateLimit: \"x\";r=1", "RateLimit-Policy: \"x\";q=1",
           "Set-Cookie: sid=1", "Set-Cookie2: sid=2", "Connection: close, X-Named", "X-Named: hop", "Keep-Alive: timeout=5",
           "Upgrade: h2c", "Trailer: X-After", "TE: trailers", "Proxy-Connection: close", "WWW-Authenticate: Basic realm=x",
           "Proxy-Authenticate: Basic realm=x", "Authentication-Info: x=1", "Retry-After: 7", "Strict-Transport-Security: max-age=1",
           "Clear-Site-Data: \"*\"", "Alt-Svc: h3=\":443\"", "Content-Range: bytes 0-1/2", "APIQuota-Result: forged",
           "X-Sendfile: /etc/passwd", "X-Accel-Redirect: /etc/passwd", "ETag: \"theirs\"", "Last-Modified: Mon, 01 Jan 2001 00:00:00 GMT"]


def test_f67_result_replays_no_header_that_harms(running, key, rude):
    lines = [*HARMFUL, "X-Fine: kept", "Content-Language: mi", "Vary: Accept", "Content-Type: text/plain", "Content-Length: 3"]
    rude.answers["/headers"] = ("HTTP/1.1 200 OK\r\n" + "\r\n".join(lines) + "\r\n\r\nok\n").encode()
    web = running(rude.url + "/headers")
    batch, result = run(web, key)
    assert batch["status"] == "succeeded" and (result.status, result.body) == (200, b"ok\n")
    assert (result.headers["X-Fine"], result.headers["Content-Language"]) == ("kept", "mi")
    assert checks.trio(result).limit == 1000000
    assert result.headers["APIQuota-Result"] == "replay" and result.headers["ETag"] != '"theirs"'
    sent = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in HARMFUL}
    ours = {"x-ratelimit-limit", "apiquota-result", "etag", "last-modified", "connection", "keep-alive"}
    assert not (set(result.headers.names()) - ours) & set(sent), result
    assert not [name for name in ours & set(sent) if sent[name] in result.headers.all(name)], result


@pytest.mark.parametrize("line_bytes", [100, 15000])
def test_f67_megabyte_of_headers_is_bounded_and_never_a_500(running, key, rude, line_bytes):
    lines = [f"X-Much-{number}: " + "m" * line_bytes for number in range(MEGABYTE // line_bytes)]
    rude.answers["/much"] = ("HTTP/1.1 200 OK\r\n" + "\r\n".join(lines) + "\r\nContent-Length: 3\r\n\r\nok\n").encode()
    web = running(rude.url + "/much", "APIQuotaBatchAttempts 1")
    batch, result = run(web, key)
    assert batch["status"] in ("succeeded", "failed")
    if batch["status"] == "succeeded":
        assert (result.status, result.body) == (200, b"ok\n")
        assert sum(len(name) + len(value) for name, value in result.headers.pairs) < 128 * 1024
    else:
        assert batch["error"]["code"] == "target-lost"
        checks.assert_problem(result, 404, code="no-result")
    stored = [row["response_headers"] for row in batches.rows(web)]
    assert all(len(headers or "") < 128 * 1024 and isinstance(json.loads(headers or "{}"), dict) for headers in stored)
    assert web.get(batches.STATUS_PATH, key=key).json()["pagination"]["total"] == 1
