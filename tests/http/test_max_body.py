# SPDX-License-Identifier: Apache-2.0
"""APIQuotaMaxBody: 413 for what is too large, declared or in chunks, for a handler of httpd's or a backend."""

import pytest

from harness import checks, confs, waiting

KB = 1024
CAT = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; wc -c 2>/dev/null\n"
CONF = confs.plan("basic", "minute 1000/minute") + confs.location("/cgi-bin", "APIQuotaMaxBody 64k")


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def cgi(server, keys, key):  # pylint: disable=unused-argument
    web = server(CONF, keys=keys, modules=("cgi",))
    web.root.add_cgi("count", CAT)
    return web


@pytest.fixture
def proxied(server, keys, key, backend):  # pylint: disable=unused-argument
    return server(confs.BASIC_PLAN + confs.proxy("/echo", backend, "APIQuotaMaxBody 64k", to="/echo"), keys=keys,
                  modules=("proxy_http",))


def pieces(size, piece=4 * KB):
    """A body in chunks."""
    return (b"x" * min(piece, size - start) for start in range(0, size, piece))


def assert_too_large(answer):
    problem = checks.assert_problem(answer, 413, code="body-too-large")
    assert str(64 * KB) in problem["detail"]
    assert checks.trio(answer).limit


def test_body_of_just_the_size_passes(cgi, key):
    assert cgi.post("/cgi-bin/count", bytes(64 * KB), key=key).text.strip() == str(64 * KB)
    assert cgi.post("/cgi-bin/count", pieces(64 * KB), key=key).text.strip() == str(64 * KB)


@pytest.mark.mpm_all
def test_one_byte_more_is_refused_declared_or_in_chunks(cgi, key):
    cgi.expect_log("AH01270|AH01225", must=True)
    assert_too_large(cgi.post("/cgi-bin/count", bytes(64 * KB + 1), key=key))
    assert_too_large(cgi.post("/cgi-bin/count", pieces(64 * KB + 1), key=key))


def test_proxied_body_in_chunks_is_bounded_while_it_is_passed_on(proxied, key, backend):
    answer = proxied.post("/echo", pieces(64 * KB), key=key)
    assert answer.status == 200 and answer.json()["body_length"] == 64 * KB
    proxied.expect_log("AH02608|AH01097", must=True)
    assert_too_large(proxied.post("/echo", pieces(1024 * KB), key=key))
    assert [seen.body_length for seen in backend.seen("/echo")] == [64 * KB]


def test_proxied_body_that_declares_too_much_never_reaches_the_backend(proxied, key, backend):
    assert_too_large(proxied.post("/echo", bytes(64 * KB + 1), key=key))
    assert not backend.seen("/echo")


def test_f73_declared_body_is_refused_before_it_is_sent(proxied, key):
    told = proxied.expect_continue("/echo", bytes(64 * KB + 1), key=key)
    assert not told.got_100
    assert_too_large(told.response)
    with proxied.raw() as connection:
        connection.send((f"POST /echo HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n"
                         f"Content-Length: {1 << 40}\r\n\r\n").encode())
        assert_too_large(connection.read_response("POST"))


def test_too_large_body_is_charged_but_a_bad_key_or_a_spent_limit_comes_first(server, keys, key):
    web = server(confs.plan("basic", "minute 2/minute") + confs.location("/v1", "APIQuotaMaxBody 1k"), keys=keys)
    checks.assert_problem(web.post("/v1/item.json", bytes(2 * KB)), 401)
    first = web.post("/v1/item.json", bytes(2 * KB), key=key)
    checks.assert_problem(first, 413)
    assert checks.trio(first).remaining == 1
    web.get("/v1/item.json", key=key)
    checks.assert_problem(web.post("/v1/item.json", bytes(2 * KB), key=key), 429)


@pytest.mark.parametrize("bound", ["1m", "none"])
def test_inner_section_has_a_bound_of_its_own_or_none(server, keys, key, backend, bound):
    inner = f"<Location /echo/files>\n    APIQuotaMaxBody {bound}\n</Location>\n"
    web = server(confs.BASIC_PLAN + confs.proxy("/echo", backend, "APIQuotaMaxBody 1k", to="/echo") + inner, keys=keys,
                 modules=("proxy_http",))
    assert web.post("/echo/files", bytes(64 * KB), key=key).status == 200
    checks.assert_problem(web.post("/echo", bytes(2 * KB), key=key), 413)


def test_batch_location_has_its_own_bound(server, keys, key, backend):
    web = server(confs.BASIC_PLAN + confs.batch("/v1/import", backend.url + "/import", "APIQuotaMaxBody 1k",
                                                "APIQuotaBatchMaxBody 64k"), keys=keys)
    answer = web.post("/v1/import", b"line\n" * 2000, key=key)
    assert answer.status == 202
    waiting.eventually(lambda: web.get(answer.headers["Location"], key=key).json()["status"] == "succeeded")
    checks.assert_problem(web.post("/v1/import", bytes(65 * KB), key=key), 413)


@pytest.mark.parametrize("mode, headers", [("On", {}), ("Prefer", {"Prefer": "respond-async"})])
def test_what_becomes_no_batch_at_a_batch_location_is_bounded_as_elsewhere(server, keys, key, backend, mode, headers):
    web = server(confs.BASIC_PLAN + confs.batch("/echo", backend.url, "APIQuotaMaxBody 1k", f"APIQuotaBatch {mode}",
                                                f"ProxyPass {backend.url}/echo"), keys=keys, modules=("proxy_http",))
    assert web.request("GET", "/echo", key=key, headers=headers, body=bytes(KB)).status == 200
    checks.assert_problem(web.request("GET", "/echo", key=key, headers=headers, body=bytes(KB + 1)), 413)


def test_http2_body_is_bounded(server, keys, key, backend):
    web = server(confs.BASIC_PLAN + confs.proxy("/echo", backend, "APIQuotaMaxBody 1k", to="/echo"), keys=keys,
                 modules=("proxy_http", "http2"))
    body = web.root.add_file("body", bytes(2 * KB))
    assert [answer.status for answer in web.nghttp("/echo", key=key, method="POST", data_file=body)] == [413]


@pytest.mark.parametrize("wrong", ["0", "-1", "50 mb", "many", ""])
def test_what_is_no_size_is_a_configuration_error(server, wrong):
    assert "APIQuotaMaxBody" in server(confs.location("/v1", f"APIQuotaMaxBody {wrong}"), start=False).start_fails()
