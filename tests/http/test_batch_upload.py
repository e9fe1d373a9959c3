# SPDX-License-Identifier: Apache-2.0
"""Uploads to a batch location, without a worker: what is taken, what is refused, and what is left behind."""

import hashlib
import itertools
import json
import os
import pathlib
import re
import stat

import pytest

from harness import batches, checks, confs, paths
from harness.waiting import eventually
from harness.wire import request_bytes

MEGABYTE = 1 << 20
# httpd's event MPM says so of a connection that it was about to close when it was stopped.
LINGERING = r"AH03092: process_lingering_close: apr_pollset_add failure"


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def taking(server, keys, key, dead_backend):
    """taking(*lines, **fields of Spec): a server that takes batches and runs none."""
    def make(*lines, before="", **fields):
        conf = before + batches.conf(dead_backend.url + "/import", *lines)
        return server(conf, keys=keys, worker=False, allow=(LINGERING,), **fields)
    return make


@pytest.mark.mpm_all
def test_upload_is_answered_with_the_batch_and_where_to_find_it(taking, key):
    web = taking()
    body = b"line of an upload\n" * 5000
    answer = web.post("/v1/imports?mode=full", body=body, key=key,
                      headers={"Content-Type": "text/plain", "Prefer": "respond-async, wait=5"})
    assert answer.status == 202
    batch = answer.json()
    assert re.fullmatch(r"batch_[0-9a-z]{26}", batch["id"])
    url = f"{batches.STATUS_PATH}/{batch['id']}"
    assert answer.headers["Location"] == answer.headers["Operation-Location"] == url
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert checks.retry_after(answer) >= 1
    assert checks.trio(answer).remaining == 1000000 - 1
    assert batch["status"] == "queued" and batch["attempt"] == 0
    assert batch["links"]["self"] == url
    assert batch["request"] == {"method": "POST", "path": "/v1/imports", "content_type": "text/plain",
                                "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    assert web.get(url, key=key).json() == batch
    assert batches.left(web) == batches.Left([], [batch["id"]], [], [batch["id"]])
    spooled = batches.folder(web) / "spool" / "body" / batch["id"]
    assert spooled.read_bytes() == body


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_every_method_with_a_body_is_taken(taking, key, method):
    web = taking()
    answer = web.request(method, "/v1/imports", body=b"x", key=key)
    assert answer.status == 202 and answer.json()["request"]["method"] == method


def test_upload_without_a_body_is_a_batch_too(taking, key):
    web = taking()
    assert web.post("/v1/imports", key=key).json()["request"]["bytes"] == 0
    assert len(batches.rows(web)) == 1


def test_chunked_upload_is_taken(taking, key):
    web = taking()
    answer = web.post("/v1/imports", body=iter([b"one\n"] * 1000), key=key)
    assert answer.status == 202 and answer.json()["request"]["bytes"] == 4000
    assert "Preference-Applied" not in answer.headers


def test_get_at_a_batch_location_goes_to_its_own_handler(taking, key):
    web = taking()
    web.root.add_file("v1/imports/about.txt", b"about imports\n")
    assert web.get("/v1/imports/about.txt", key=key).body == b"about imports\n"
    assert batches.left(web).rows == []


def test_upload_to_a_proxied_location_becomes_a_batch(server, keys, key, backend):
    proxied = confs.proxy("/v1", backend)
    web = server(batches.PLAN + proxied + confs.batch("/v1/imports", backend.url + "/import"), keys=keys,
                 worker=False, modules=("proxy_http",))
    url = batches.submit(web, key)
    assert web.get(url, key=key).json()["status"] == "queued"
    assert backend.seen() == []
    assert web.get("/v1/imports", key=key).status == 404
    assert [seen.path for seen in backend.seen()] == ["/imports"]


def test_credentials_are_neither_stored_nor_kept_with_the_batch(server, keys, key, dead_backend):
    location = confs.location("/v1/imports", "APIQuotaBatch On", f"APIQuotaBatchTarget {dead_backend.url}",
                              "APIQuotaBatchForward X-Trace-Id X-My-Key", key_from="bearer header:X-My-Key")
    status = confs.location("/v1/batches", "SetHandler apiquota-batches")
    web = server(batches.PLAN + location + status, keys=keys, worker=False)
    secrets = {"Cookie": "sid=secret-cookie", "Proxy-Authorization": "Basic secret-basic",
               "APIQuota-Tenant": "secret-tenant"}
    batches.submit(web, key, headers={**secrets, "X-Trace-Id": "trace-1", "Accept-Language": "mi",
                                      "X-Other": "secret-other"})
    web.post("/v1/imports", body=b"x", headers={**secrets, "X-My-Key": key})
    stored = batches.rows(web)
    assert json.loads(stored[0]["headers"])["x-trace-id"] == "trace-1"
    assert json.loads(stored[0]["headers"])["accept-language"] == "mi"
    web.stop()
    for file in (web.root.state).rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert key.encode() not in content and b"secret-" not in content, file
    assert key not in web.log.text()


@pytest.mark.parametrize("value", ["x" * 256, "tab\tinside", "caf\u00e9"])
def test_idempotency_key_that_is_none_is_refused(taking, key, value):
    web = taking()
    answer = web.post("/v1/imports", body=b"x", key=key, headers={"Idempotency-Key": value.encode("utf-8")})
    checks.assert_problem(answer, 400, code="idempotency-key-invalid")
    assert batches.left(web) == batches.NOTHING_LEFT


def test_header_that_is_no_utf8_is_refused(taking, key):
    web = taking()
    answer = web.post("/v1/imports", body=b"x", key=key, headers={"Accept-Language": b"\xff\xfe"})
    checks.assert_problem(answer, 400, code="header-invalid")
    assert batches.left(web) == batches.NOTHING_LEFT


# ---- refusals that leave nothing behind -------------------------------------------------------------

def test_f25_client_gone_amid_its_upload_leaves_nothing_and_is_charged_once(taking, key):
    web = taking()
    web.abort_upload("/v1/imports", MEGABYTE, b"x" * 300000, key=key)
    web.abort_upload("/v1/imports", 100, b"", key=key)
    eventually(lambda: len(web.access_log()) == 2, what="the end of both uploads")
    eventually(lambda: batches.left(web) == batches.NOTHING_LEFT, what="an empty spool")
    answer = web.post("/v1/imports", body=b"whole\n", key=key)
    assert answer.status == 202 and checks.trio(answer).remaining == 1000000 - 3


def test_f46_upload_that_ends_early_is_refused_and_leaves_nothing(taking, key):
    web = taking()
    with web.raw() as connection:
        connection.send(request_bytes("POST", "/v1/imports",
                                      [("Authorization", f"Bearer {key}"), ("Content-Length", 1000)], b"only this"))
        connection.half_close()
        assert connection.read_response("POST").status == 400
    assert batches.left(web) == batches.NOTHING_LEFT


def test_f46_chunked_upload_that_ends_early_is_refused_and_leaves_nothing(taking, key):
    web = taking()
    fields = [("Authorization", f"Bearer {key}"), ("Transfer-Encoding", "chunked")]
    for rest in (b"", b"zz\r\nno hex\r\n", b"ffffffffffffffffffff\r\n"):
        with web.raw() as connection:
            connection.send(request_bytes("POST", "/v1/imports", fields, b"4\r\none\n\r\n" + rest))
            connection.half_close()
            assert connection.read_response("POST").status in (400, 413)
    eventually(lambda: batches.left(web) == batches.NOTHING_LEFT, what="an empty spool")


def test_f46_chunked_body_past_the_limit_is_refused_and_leaves_nothing(taking, key):
    web = taking("APIQuotaBatchMaxBody 100k")
    answer = web.post("/v1/imports", body=(b"x" * 4096 for _ in range(500)), key=key)
    checks.assert_problem(answer, 413, code="body-too-large")
    assert batches.left(web) == batches.NOTHING_LEFT
    assert web.post("/v1/imports", body=iter([b"x" * 102400]), key=key).status == 202


def test_f46_length_that_lies_is_refused_and_what_follows_is_no_batch(taking, key):
    web = taking()
    fields = [("Authorization", f"Bearer {key}")]
    with web.raw() as connection:
        connection.send(request_bytes("POST", "/v1/imports", fields + [("Content-Length", 4)], b"fourand more\r\n\r\n"))
        assert connection.read_response("POST").json()["request"]["bytes"] == 4
        assert connection.read_response().status == 400
    for length in ("-1", "4x", "99999999999999999999", "4, 5"):
        with web.raw() as connection:
            connection.send(request_bytes("POST", "/v1/imports", fields + [("Content-Length", length)], b"four"))
            assert connection.read_response("POST").status in (400, 413), length
    assert len(batches.rows(web)) == 1 and batches.left(web).incoming == []


def test_declared_length_above_the_limit_is_refused_to_the_byte(taking, key):
    web = taking("APIQuotaBatchMaxBody 100k")
    assert web.post("/v1/imports", body=b"x" * 102400, key=key).status == 202
    checks.assert_problem(web.post("/v1/imports", body=b"x" * 102401, key=key), 413, code="body-too-large")


# Each is refused before a byte of the body was read, whatever its size.
F73 = {
    "401": dict(lines=(), status=401, with_key=False, length=MEGABYTE),
    "413": dict(lines=("APIQuotaBatchMaxBody 1k",), status=413, with_key=True, length=MEGABYTE),
    "429": dict(lines=("APIQuotaLimit day 1/day headers=primary",), status=429, with_key=True, length=MEGABYTE),
    "507": dict(lines=(), status=507, with_key=True, length=MEGABYTE, before="APIQuotaSpool spool max=100k\n"),
    "400": dict(lines=(), status=400, with_key=True, length=MEGABYTE, headers=[("Idempotency-Key", "x" * 256)]),
}


@pytest.mark.mpm_all
@pytest.mark.parametrize("name", sorted(F73))
def test_f73_upload_that_is_refused_is_answered_before_its_body_is_read(taking, key, name):
    case = F73[name]
    web = taking(*case["lines"], before=case.get("before", ""))
    web.expect_log(r"AQ01220", must=name == "507")
    spool = web.root.path / "spool" if name == "507" else None
    if name == "429":
        assert web.post("/v1/imports", body=b"x", key=key).status == 202
    before = batches.left(web, spool)
    fields = [("Authorization", f"Bearer {key}")] if case["with_key"] else []
    fields += [("Content-Length", case["length"]), *case.get("headers", [])]
    for expect in ([], [("Expect", "100-continue")]):
        with web.raw() as connection:
            connection.send(request_bytes("POST", "/v1/imports", fields + expect))
            assert not connection.next_is_continue()
            answer = connection.read_response("POST")
            checks.assert_problem(answer, case["status"])
            assert connection.closed_by_peer()
    assert batches.left(web, spool) == before


def test_uploads_over_http2_are_taken_and_refused_alike(taking, key):
    web = taking("APIQuotaBatchMaxBody 1m", modules=("http2",))
    small, large = web.root.path / "small", web.root.path / "large"
    small.write_bytes(bytes(300000))
    large.write_bytes(bytes(3 * MEGABYTE))
    (taken,) = web.nghttp("/v1/imports", key=key, data_file=small)
    assert taken.status == 202 and taken.json()["request"]["bytes"] == 300000
    (refused,) = web.nghttp("/v1/imports", key=key, data_file=large)
    checks.assert_problem(refused, 413, code="body-too-large")
    assert len(batches.left(web).body) == 1 and batches.left(web).incoming == []


def test_upload_with_expect_gets_its_100_when_it_is_wanted(taking, key):
    web = taking()
    continued = web.expect_continue("/v1/imports", b"body", key=key)
    assert continued.got_100 and continued.response.status == 202


# ---- the spool -------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", ["declared", "chunked"])
def test_f44_full_disk_is_507_leaves_nothing_and_works_again_with_space(server, keys, key, dead_backend,
                                                                       small_tmpfs, how):
    spool = small_tmpfs / "spool"
    web = server(f"APIQuotaSpool {spool}\n" + batches.conf(dead_backend.url), keys=keys, worker=False)
    filler = small_tmpfs / "filler"
    filler.write_bytes(bytes(700 * 1024))
    body = b"x" * 500000
    for _ in range(3):
        answer = web.post("/v1/imports", body=body if how == "declared" else iter([body]), key=key)
        checks.assert_problem(answer, 507, code="spool-full")
        assert batches.left(web, spool) == batches.NOTHING_LEFT
    web.expect_log(r"AQ01220", must=True)
    filler.unlink()
    assert web.post("/v1/imports", body=body, key=key).status == 202
    assert len(batches.left(web, spool).body) == 1


def test_f44_bound_of_the_spool_is_507_and_frees_what_it_refused(server, keys, key, dead_backend):
    web = server('APIQuotaSpool "${ROOT}/state/spool" max=1m\n' + batches.conf(dead_backend.url), keys=keys,
                 worker=False)
    web.expect_log(r"AQ01220", must=True)
    spool = web.root.state / "spool"
    assert web.post("/v1/imports", body=b"x" * 700000, key=key).status == 202
    for body in (b"x" * 700000, iter([b"x" * 70000] * 10)):
        checks.assert_problem(web.post("/v1/imports", body=body, key=key), 507, code="spool-full")
    assert len(batches.left(web, spool).body) == 1 and batches.left(web, spool).incoming == []
    assert web.post("/v1/imports", body=b"x" * 200000, key=key).status == 202


def test_f71_files_are_for_httpds_user_alone(taking, key):
    web = taking()
    batches.submit(web, key)
    owner = batches.folder(web).owner()
    assert owner == (paths.HTTPD_USER if paths.AS_ROOT else pathlib.Path.home().owner())
    for path in [batches.folder(web), *batches.folder(web).rglob("*")]:
        assert path.owner() == owner, path
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
    assert web.root.state.stat().st_uid == os.geteuid()


@pytest.mark.parametrize("part", ["batches", "batches/spool", "batches/spool/body", "batches/spool/incoming",
                                  "batches/spool/result"])
def test_f71_link_in_place_of_a_folder_is_refused(taking, part):
    web = taking(start=False)
    elsewhere = web.root.path / "elsewhere"
    elsewhere.mkdir(mode=0o777)
    path = web.root.state / part
    for parent in reversed(path.relative_to(web.root.state).parents[:-1]):
        (web.root.state / parent).mkdir(mode=0o700)
    path.symlink_to(elsewhere)
    assert "AQ01205" in web.start_fails()
    assert list(elsewhere.iterdir()) == []


def test_f71_link_in_place_of_the_database_is_refused(taking, key):
    web = taking()
    target = web.root.path / "victim"
    target.write_bytes(b"")
    target.chmod(0o666)
    (batches.folder(web) / "queue.db").symlink_to(target)
    checks.assert_problem(web.post("/v1/imports", body=b"x", key=key), 503, code="queue-unavailable")
    web.expect_log(r"AQ01212", must=True)
    assert target.read_bytes() == b"" and batches.left(web).body == []


def test_queue_that_cannot_be_used_is_503_and_is_used_again_once_it_can(taking, key):
    web = taking(mpm_conf=confs.ONE_CHILD)
    (batches.folder(web) / "queue.db").mkdir()
    answer = web.post("/v1/imports", body=b"x", key=key)
    checks.assert_problem(answer, 503, code="queue-unavailable", retry_after=checks.retry_after(answer))
    web.expect_log(r"AQ01212", must=True)
    assert batches.left(web).body == []
    (batches.folder(web) / "queue.db").rmdir()
    assert web.post("/v1/imports", body=b"x", key=key).status == 202


# ---- memory ----------------------------------------------------------------------------------------

THREADS = 4


def anonymous_kb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1])


@pytest.mark.skipif(bool(os.environ.get("AQ_SANITIZER")), reason="a sanitizer's own memory grows with use")
@pytest.mark.parametrize("megabytes", [96, pytest.param(1024, marks=pytest.mark.long)])
@pytest.mark.parametrize("how", ["declared", "chunked"])
def test_large_upload_passes_in_pieces_and_not_through_memory(taking, key, megabytes, how):
    web = taking("APIQuotaBatchMaxBody 1g", before="APIQuotaSpool spool max=4g tenant-max=3g\n",
                 mpm_conf=confs.one_child(THREADS))
    piece = os.urandom(MEGABYTE)
    headers = {"Content-Length": megabytes * MEGABYTE} if how == "declared" else {}
    (child,) = web.child_pids()
    for _ in range(2 * THREADS):  # each thread once or twice: it is warm then
        batches.submit(web, key, body=piece * 5)
        batches.submit(web, key, body=iter([piece] * 5))
    before = anonymous_kb(child)
    answer = upload(web, key, itertools.repeat(piece, megabytes), headers)
    assert answer.status == 202
    sha256 = hashlib.sha256()
    for _ in range(megabytes):
        sha256.update(piece)
    assert answer.json()["request"]["bytes"] == megabytes * MEGABYTE
    assert answer.json()["request"]["sha256"] == sha256.hexdigest()
    assert anonymous_kb(child) - before < 1024


def upload(web, key, pieces, headers):
    """Sends the pieces, in chunks unless their length is declared; neither end holds them all."""
    if not headers:
        return web.post("/v1/imports", body=pieces, key=key, timeout_s=300)
    with web.raw(timeout_s=300) as connection:
        connection.send(request_bytes("POST", "/v1/imports", [("Authorization", f"Bearer {key}"), *headers.items()]))
        for piece in pieces:
            connection.send(piece)
        return connection.read_response("POST")
