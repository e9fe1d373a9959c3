# SPDX-License-Identifier: Apache-2.0
"""Batches from upload to result, with the worker that httpd starts."""

import datetime
import hashlib
import json
import os

import pytest

from harness import batches, checks, confs
from harness.waiting import eventually


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def running(server, keys, key, backend):
    """running(*lines, target="/import", **fields of Spec): a server with its worker, and `backend` as target."""
    def make(*lines, target="/import", **fields):
        return server(batches.conf(backend.url + target, *lines), keys=keys, **fields)
    return make


@pytest.mark.mpm_all
def test_upload_is_imported_and_its_result_replayed(running, key, backend):
    web = running()
    lines = [f"row {number}".encode() for number in range(5000)]
    url = batches.submit(web, key, body=b"\n".join(lines), headers={"Content-Type": "text/plain"})
    batch = batches.wait_over(web, key, url)
    assert batch["status"] == "succeeded" and batch["attempt"] == 1 and batch["error"] is None
    assert batch["created_at"] <= batch["started_at"] <= batch["finished_at"] < batch["expires_at"]
    assert backend.store.lines(batch["id"]) == lines
    result = web.get(url + "/result", key=key)
    assert result.status == 200 and result.headers["APIQuota-Result"] == "replay"
    assert result.json() == {"received": 5000, "imported": 5000}
    assert result.headers["Content-Type"] == "application/json"
    assert batch["response"] == {"status": 200, "content_type": "application/json", "bytes": len(result.body),
                                 "sha256": hashlib.sha256(result.body).hexdigest()}
    assert checks.trio(result)


def test_target_gets_the_request_as_the_client_sent_it_without_credentials(running, key, backend):
    web = running("APIQuotaBatchForward X-Trace-Id", target="/echo")
    body = os.urandom(100000)
    sent = {"Content-Type": "application/x-test", "Accept-Language": "mi", "User-Agent": "test/1", "Cookie": "sid=1",
            "X-Trace-Id": "trace-1", "Idempotency-Key": "mine", "APIQuota-Tenant": "forged", "X-Api-Key-2": "no"}
    url = batches.submit(web, key, body=body, headers=sent)
    batch = batches.wait_over(web, key, url)
    assert batch["status"] == "succeeded"
    (seen,) = backend.seen()
    assert seen.method == "POST" and seen.body_length == len(body)
    assert seen.body_sha256 == hashlib.sha256(body).hexdigest()
    for name in ("Content-Type", "Accept-Language", "User-Agent", "X-Trace-Id"):
        assert seen.headers[name] == sent[name], name
    assert seen.headers["Idempotency-Key"] == seen.headers["APIQuota-Batch-Id"] == batch["id"]
    assert seen.headers["APIQuota-Batch-Tenant"] == "acme" and seen.headers["APIQuota-Batch-Key-Id"] == key.id
    for name in ("Authorization", "Cookie", "X-Api-Key-2", "APIQuota-Tenant"):
        assert name not in seen.headers, name


def test_answer_of_an_error_is_replayed_as_it_was(running, key, backend):
    web = running("ErrorDocument 422 /nothing-like-it", target="/import-refused")
    backend.script("/import-refused", status=422, body=b'{"error": "row 7"}',
                   headers={"Content-Type": "application/vnd.acme+json", "X-Row": "7", "Set-Cookie": "sid=1"})
    url = batches.submit(web, key)
    batch = batches.wait_over(web, key, url)
    assert batch["status"] == "failed" and batch["response"]["status"] == 422
    result = web.get(url + "/result", key=key)
    assert result.status == 422 and result.body == b'{"error": "row 7"}'
    assert result.headers["Content-Type"] == "application/vnd.acme+json"
    assert result.headers["APIQuota-Result"] == "replay" and "Set-Cookie" not in result.headers
    assert checks.trio(result)
    head = web.head(url + "/result", key=key)
    assert head.status == 422 and head.body == b"" and head.headers["Content-Length"] == "18"


def test_answer_without_a_body_is_replayed(running, key, backend):
    backend.script("/empty", status=204, body=b"")
    web = running(target="/empty")
    url = batches.submit(web, key)
    assert batches.wait_over(web, key, url)["status"] == "succeeded"
    result = web.get(url + "/result", key=key)
    assert result.status == 204 and result.body == b"" and result.headers["APIQuota-Result"] == "replay"


def test_result_has_ranges_and_conditions_as_any_file(running, key, backend):
    body = bytes(range(256)) * 400
    backend.script("/data", body=body, headers={"Content-Type": "application/octet-stream", "ETag": '"theirs"'})
    web = running(target="/data")
    url = batches.submit(web, key) + "/result"
    batches.wait_over(web, key, url.removesuffix("/result"))
    whole = web.get(url, key=key)
    assert whole.body == body and whole.headers["Accept-Ranges"] == "bytes"
    etag = whole.headers["ETag"]
    assert etag.startswith('"') and etag != '"theirs"'
    part = web.get(url, key=key, headers={"Range": "bytes=100-299"})
    assert part.status == 206 and part.body == body[100:300]
    assert web.get(url, key=key, headers={"Range": "bytes=900000-"}).status == 416
    assert web.get(url, key=key, headers={"Range": "bytes=0-9", "If-Range": '"old"'}).status == 200
    before = checks.trio(web.get(url, key=key)).remaining
    unchanged = web.get(url, key=key, headers={"If-None-Match": etag})
    assert unchanged.status == 304 and unchanged.body == b"" and checks.trio(unchanged).remaining == before
    dated = web.get(url, key=key, headers={"If-Modified-Since": whole.headers["Last-Modified"]})
    assert dated.status == 304


def test_result_is_not_there_before_the_end_and_gone_after_its_time(running, key, backend):
    backend.hold_import(after_lines=1000)
    web = running()
    url = batches.submit(web, key, body=b"x\n" * 2000)
    backend.wait_held()
    checks.assert_problem(web.get(url + "/result", key=key), 404, code="result-not-ready")
    assert web.get(url, key=key).json()["status"] == "running"
    backend.release()
    batch = batches.wait_over(web, key, url)
    (file,) = (batches.folder(web) / "spool" / "result").iterdir()
    file.unlink()
    checks.assert_problem(web.get(url + "/result", key=key), 410, code="result-expired")
    assert web.get(url, key=key).json() == batch


def test_batch_that_ended_without_an_answer_has_no_result(running, key, backend):
    web = running("APIQuotaBatchAttempts 1", target="/reset")
    url = batches.submit(web, key)
    batch = batches.wait_over(web, key, url)
    assert batch["status"] == "failed" and batch["response"] is None
    problem = checks.assert_problem(web.get(url + "/result", key=key), 404, code="no-result")
    assert batch["error"]["code"] in problem["detail"]


def test_busy_target_is_tried_again(running, key, backend):
    backend.script("/echo", status=503, headers={"Retry-After": "1"}, times=1)
    web = running("APIQuotaBatchAttempts 3", target="/echo")
    url = batches.submit(web, key)
    batch = batches.wait_over(web, key, url)
    assert batch["status"] == "succeeded" and batch["attempt"] == 2 and batch["max_attempts"] == 3
    assert len(backend.seen("/echo")) == 2


def test_target_that_cannot_tell_repeats_is_asked_once_where_the_outcome_is_unknown(running, key, backend):
    web = running("APIQuotaBatchTargetIdempotent Off", target="/reset")
    batch = batches.wait_over(web, key, batches.submit(web, key))
    assert batch["status"] == "failed" and batch["attempt"] == 1
    assert batch["error"]["code"] == "outcome-unknown" and len(backend.seen()) == 1


def test_retention_of_the_location_says_when_a_batch_expires(running, key):
    web = running("APIQuotaBatchRetention 2h")
    batch = batches.wait_over(web, key, batches.submit(web, key))
    finished, expires = (datetime.datetime.fromisoformat(batch[name].replace("Z", "+00:00"))
                         for name in ("finished_at", "expires_at"))
    assert expires - finished == datetime.timedelta(hours=2)


def test_polls_with_the_etag_are_free_until_something_changes(running, key, backend):
    backend.hold_import(after_lines=1000)
    web = running()
    url = batches.submit(web, key, body=b"x\n" * 2000)
    backend.wait_held()
    shown = web.get(url, key=key)
    remaining, etag = checks.trio(shown).remaining, shown.headers["ETag"]
    assert shown.json()["status"] == "running" and checks.retry_after(shown) >= 1
    for _ in range(20):
        poll = web.get(url, key=key, headers={"If-None-Match": etag})
        assert poll.status == 304 and checks.trio(poll).remaining == remaining
    backend.release()
    over = eventually(lambda: web.get(url, key=key, headers={"If-None-Match": etag}).status == 200)
    assert over
    done = web.get(url, key=key)
    assert done.json()["status"] == "succeeded" and done.headers["ETag"] != etag
    assert "Retry-After" not in done.headers


def test_head_is_get_without_a_body_and_other_methods_are_told_which_there_are(running, key):
    web = running()
    url = batches.submit(web, key)
    batches.wait_over(web, key, url)
    for path in (url, url + "/result"):
        whole, head = web.get(path, key=key), web.head(path, key=key)
        assert head.status == 200 and head.body == b""
        for name in ("ETag", "Content-Type", "Content-Length", "Cache-Control"):
            assert head.headers[name] == whole.headers[name], name
        refused = web.post(path, body=b"x", key=key)
        checks.assert_problem(refused, 405)
        assert "GET" in refused.headers["Allow"] and "POST" not in refused.headers["Allow"]


# ---- whose batch it is -----------------------------------------------------------------------------

def test_f65_anothers_batch_and_what_is_none_are_the_same_404_to_the_byte(running, keys, key):
    other = keys.add("globex")
    same_tenant = keys.add("acme")
    web = running()
    url = batches.submit(web, key)
    batches.wait_over(web, key, url)
    batch_id = url.rpartition("/")[2]
    assert web.get(url, key=same_tenant).status == 200
    unknown = "batch_" + "0" * 26
    tries = [batch_id, batch_id + "/result", unknown, unknown + "/result", batch_id[:-1], batch_id + "0",
             batch_id.upper(), "x", "batch_" + "z" * 26, "batch_" + "!" * 26, "a" * 4096, batch_id + "/results",
             batch_id + "/result/x", batch_id + "//x", "%00", "..%2f..%2fqueue.db", "%2e%2e%2fspool"]
    answers = {path: web.get(f"{batches.STATUS_PATH}/{path}", key=other) for path in tries}
    # What holds %2f or NUL is refused by httpd before any location, and tells nothing either.
    by_httpd = {path for path in tries if "%" in path}
    bodies = {path: (answer.status, answer.body) for path, answer in answers.items() if path not in by_httpd}
    assert set(bodies.values()) == {(404, b'{"type":"about:blank","title":"Not Found","status":404,"detail":"There is no such '
                                          b'batch of yours.","code":"batch-unknown"}')}, bodies
    assert all("X-Request-Id" in answer.headers for path, answer in answers.items() if path not in by_httpd)
    # What differs between any two answers: the time, the request's own name, and what it cost.
    varying = ("date", "x-request-id", "x-ratelimit-remaining", "x-ratelimit-reset")
    headers = {tuple((name.lower(), "" if name.lower() in varying else value) for name, value in answer.headers.pairs)
               for path, answer in answers.items() if path not in by_httpd}
    assert len(headers) == 1, headers
    assert all(answers[path].status in (400, 404) for path in by_httpd)
    assert all(batch_id.encode() not in answer.body for path, answer in answers.items() if path in by_httpd)
    for method in ("POST", "PUT"):
        refused = {(a.status, a.headers["Allow"]) for a in
                   [web.request(method, f"{batches.STATUS_PATH}/{path}", key=other) for path in (batch_id, unknown)]}
        assert len(refused) == 1 and refused.pop()[0] == 405
    for method, rest in (("DELETE", ""), ("POST", "/cancel")):
        refused = {(a.status, a.body) for a in
                   [web.request(method, f"{batches.STATUS_PATH}/{path}{rest}", key=other)
                    for path in (batch_id, unknown)]}
        assert refused == {(404, answers[unknown].body)}
    checks.assert_problem(web.get(url), 401)


def test_f66_the_key_of_another_tenants_idempotency_is_no_way_to_its_batch(running, keys, key, backend):
    other = keys.add("globex")
    web = running()
    urls = [batches.submit(web, who, headers={"Idempotency-Key": "order-1"}) for who in (key, other)]
    assert len(set(urls)) == 2
    for who, url in zip((key, other), urls):
        assert batches.wait_over(web, who, url)["status"] == "succeeded"
    assert len(backend.store.uploads()) == 2


def test_status_url_is_no_file_whatever_folder_httpd_was_started_in(server, keys, key, backend, tmp_path, monkeypatch):
    # httpd looked for a file of a relative name, that is in its working directory, and answered 403 where it could not.
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o600)
    try:
        web = server(confs.BASIC_PLAN + confs.batch("/v1/import", backend.url + "/import"), keys=keys, worker=False)
        url = web.post("/v1/import", b"one\n", key=key).headers["Location"]
        assert web.get(url, key=key).status == 200
    finally:
        tmp_path.chmod(0o700)


def test_status_url_below_an_outer_section_and_of_a_virtual_host(server, keys, key, backend):
    inner = confs.batch("/v2/imports", backend.url + "/import", status_path="/v2/jobs")
    conf = (batches.PLAN + confs.location("/") + confs.batch("/v1/imports", backend.url + "/import")
            + f"<VirtualHost 127.0.0.1:${{PORT}}>\nServerName first.test\n</VirtualHost>\n"
            + f"<VirtualHost 127.0.0.1:${{PORT}}>\nServerName second.test\n{inner}</VirtualHost>\n")
    web = server(conf, keys=keys)
    first = web.post("/v1/imports", body=b"x", key=key, headers={"Host": "first.test"})
    assert first.status == 202 and first.headers["Location"].startswith("/v1/batches/batch_")
    second = web.post("/v2/imports", body=b"x", key=key, headers={"Host": "second.test"})
    assert second.status == 202 and second.headers["Location"].startswith("/v2/jobs/batch_")
    for host, answer in (("first.test", first), ("second.test", second)):
        url = answer.headers["Location"]
        eventually(lambda: web.get(url, key=key, headers={"Host": host}).json()["status"] == "succeeded")
    names = set(json.loads((web.root.state / "runtime.json").read_text())["worker"]["locations"])
    assert names == {"127.0.0.1/v1/imports", f"second.test:{web.port}/v2/imports"}


def test_refusals_of_batches_are_problem_documents_also_where_nothing_is_counted(server, keys, key, backend):
    uncounted = confs.batch("/v1/imports", backend.url + "/slow/200", "APIQuotaBatchMaxBody 100").replace(
        "APIQuota On\n", "APIQuota Off\n")
    web = server(batches.PLAN + uncounted, keys=keys)
    answer = web.post("/v1/imports", body=b"x", key=key)
    assert answer.status == 202
    checks.assert_no_trio(answer)
    url = answer.headers["Location"]
    not_ready = web.get(url + "/result", key=key)
    checks.assert_problem(not_ready, 404, code="result-not-ready", retry_after=checks.retry_after(not_ready))
    checks.assert_problem(web.post("/v1/imports", body=b"x" * 101, key=key), 413, code="body-too-large")
    checks.assert_problem(web.get(url), 401)


def test_headers_that_no_answer_can_have_are_left_out_of_a_result(running, key, backend):
    backend.script("/odd", headers={"Content-Type": "text/plain; x=\u00ff", "X@y": "1", "X-Fine": "2"}, body=b"odd\n")
    web = running(target="/odd")
    url = batches.submit(web, key)
    batch = batches.wait_over(web, key, url)
    assert batch["status"] == "succeeded" and batch["response"]["content_type"] is None
    assert web.get("/v1/batches", key=key).json()["data"][0]["id"] == batch["id"]
    result = web.get(url + "/result", key=key)
    assert result.status == 200 and result.body == b"odd\n" and result.headers["X-Fine"] == "2"
