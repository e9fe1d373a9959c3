# SPDX-License-Identifier: Apache-2.0
"""APIQuotaRequestTimeout: all of a request ends in its time; 504 while no answer has begun, else closed."""

import http.client
import json
import socket
import ssl
import subprocess
import time

import pytest

from harness import checks, confs, waiting
from harness.trickle import TrickleBackend

LIMIT_S = 0.6
SCRIPT_LIMIT_S = 2  # a shell has to be started first, also on a busy machine
LATE_S = 0.9  # the timer's tick; less than the grace after which connections are cut
TRIES = 12
PROXY_LINES = "AH01102|AH00898|AH01110|AH10404|AH01106|AH01095"
SCRIPT_LINES = "End of script output before headers|Premature end of script headers"
# A shell whose command is ended first says so, and httpd logs that.
QUIET = "#!/bin/sh\nexec 2>/dev/null\n"
SILENT = "#!/bin/sh\nexec sleep 30\n"
CHILD = QUIET + "sleep 30\necho never\n"
TRICKLED_HEAD = QUIET + "while sleep 0.05; do printf 'X-More: yes\\n'; done\n"
TRICKLED_BODY = QUIET + "printf 'Content-Type: text/plain\\n\\n'\nwhile sleep 0.05; do printf 'b'; done\n"
# What is to be in time on any machine.
FAST = "<Location /api/fast>\n    APIQuotaRequestTimeout 60s\n</Location>\n"
STUBBORN = QUIET + "trap '' TERM\nwhile sleep 0.05; do :; done\n"


@pytest.fixture
def slow():
    backend = TrickleBackend()
    yield backend
    backend.close()


@pytest.fixture
def key(keys):
    return keys.add("acme")


def timeout(seconds=LIMIT_S):
    return f"APIQuotaRequestTimeout {int(seconds * 1000)}ms"


@pytest.fixture
def proxied(server, keys, key, slow):  # pylint: disable=unused-argument
    return server(confs.BASIC_PLAN + confs.proxy("/api", slow, timeout()) + FAST, keys=keys, modules=("proxy_http",))


@pytest.fixture
def scripts(server, keys, key):  # pylint: disable=unused-argument
    web = server(confs.BASIC_PLAN + confs.location("/cgi-bin", timeout(SCRIPT_LIMIT_S)), keys=keys,
                 modules=("cgi",))
    for name, text in (("silent", SILENT), ("child", CHILD), ("head", TRICKLED_HEAD), ("body", TRICKLED_BODY),
                       ("stubborn", STUBBORN), ("env", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; env\n")):
        web.root.add_cgi(name, text)
    return web


def ended(ask):
    """Its answer, or the error that it ended with."""
    try:
        return ask()
    except (OSError, http.client.HTTPException) as error:
        return error


def in_time(ask, limit_s=LIMIT_S, late_s=LATE_S, is_it=lambda end: True):
    """What `ask` ends with when it ends in its time, and not before: seen once in a few tries, for a busy machine may be late
    with anything. is_it: leaves out ends that come where a process was not up in time."""
    for _ in range(TRIES):
        began = time.monotonic()
        end = ended(ask)
        took_s = time.monotonic() - began
        assert took_s >= limit_s - 0.05, f"it took {took_s:.3f} s: {end!r}"
        if took_s <= limit_s + late_s and is_it(end):
            return end
    raise AssertionError(f"not once in {TRIES} in its time, the last in {took_s:.3f} s: {end!r}")


def assert_timed_out(answer):
    checks.assert_problem(answer, 504, code="request-timeout")
    assert checks.trio(answer).remaining < 60


@pytest.mark.mpm_all
@pytest.mark.parametrize("way", ["silent", "headers", "line"])
def test_row_o3_silent_backend_and_trickled_headers_are_504_in_time(proxied, key, way):
    proxied.expect_log(PROXY_LINES)
    assert_timed_out(in_time(lambda: proxied.get(f"/api/{way}", key=key)))


@pytest.mark.mpm_all
@pytest.mark.parametrize("way", ["body", "open", "chunks"])
def test_row_o3_trickled_body_is_closed_in_time(proxied, key, way):
    proxied.expect_log(PROXY_LINES)
    answer = in_time(lambda: proxied.get(f"/api/{way}", key=key), is_it=lambda end: getattr(end, "status", 0) == 200)
    assert answer.truncated


@pytest.mark.mpm_all
@pytest.mark.parametrize("name", ["silent", "child", "head"])
def test_row_o3_silent_script_is_504_in_time_and_ended(scripts, key, name):
    scripts.expect_log(SCRIPT_LINES, must=True)
    assert_timed_out(in_time(lambda: scripts.get(f"/cgi-bin/{name}", key=key), SCRIPT_LIMIT_S))
    waiting.eventually(lambda: not _sleepers(scripts), what="the end of the script")


@pytest.mark.mpm_all
def test_row_o3_trickled_body_of_a_script_is_closed_in_time(scripts, key):
    scripts.expect_log(SCRIPT_LINES)  # of one that is not up in time
    answer = in_time(lambda: scripts.get("/cgi-bin/body", key=key), SCRIPT_LIMIT_S,
                     is_it=lambda end: getattr(end, "status", 0) == 200)
    assert answer.truncated


def test_script_that_does_not_end_by_itself_is_killed(scripts, key):
    scripts.expect_log(SCRIPT_LINES)
    in_time(lambda: scripts.get("/cgi-bin/stubborn", key=key), SCRIPT_LIMIT_S, 2, is_it=lambda end: isinstance(end, OSError))
    waiting.eventually(lambda: not _sleepers(scripts), what="the end of the script")


def _sleepers(web):
    return [p for p in web.family().values() if p.name in ("sleep", "sh", "silent", "child", "head", "stubborn")]


def test_template_gives_the_504_the_shape_of_the_apis_errors(server, keys, key, slow):
    web = server(confs.BASIC_PLAN + confs.proxy("/api", slow, timeout(), "APIQuotaErrorBody 504 ${ROOT}/504.json"),
                 keys=keys, modules=("proxy_http",), start=False)
    (web.root.path / "504.json").write_text('{"message": "Endpoint request timed out"}')
    web.start().expect_log(PROXY_LINES)
    answer = in_time(lambda: web.get("/api/silent", key=key))
    assert (answer.status, answer.json()) == (504, {"message": "Endpoint request timed out"})


def test_error_document_of_the_operator_wins(server, keys, key, slow):
    web = server(confs.BASIC_PLAN + "ErrorDocument 504 /item.json\n" + confs.proxy("/api", slow, timeout()),
                 keys=keys, modules=("proxy_http",))
    web.expect_log(PROXY_LINES)
    answer = in_time(lambda: web.get("/api/silent", key=key))
    assert answer.status == 504 and "item" in answer.json()


def test_requests_in_time_are_not_touched_and_keep_their_connections(proxied, slow, key):
    with proxied.session() as session:
        for _ in range(20):
            assert session.get("/api/fast", key=key).body == b"fast\n"
        assert session.connects == 1
    assert slow.connections < 20
    proxied.expect_log(PROXY_LINES)
    assert_timed_out(in_time(lambda: proxied.get("/api/silent", key=key)))


def test_second_request_of_a_connection_is_answered_too(proxied, key):
    """mod_proxy ends a kept-alive connection without an answer where its backend's broke."""
    proxied.expect_log(PROXY_LINES)
    connects = []

    def second():
        with proxied.session() as session:
            assert session.get("/api/fast", key=key).status == 200
            answer = session.get("/api/silent", key=key)
            connects[:] = [session.connects]
            return answer
    assert_timed_out(in_time(second))
    assert connects == [1]


def test_connection_that_was_used_before_is_bounded_too(server, keys, key, slow):
    """A backend's connection is made for one request and serves others."""
    web = server(confs.BASIC_PLAN + confs.location("/api", timeout()) + confs.proxy("/", slow, to="/"), keys=keys,
                 modules=("proxy_http",), mpm="prefork", mpm_conf="StartServers 1\nServerLimit 1\nMaxRequestWorkers 1\n")
    web.expect_log(PROXY_LINES + "|AH00161")
    made = []

    def second():
        assert web.get("/other/fast", key=key).status == 200
        before = slow.connections
        answer = web.get("/api/silent", key=key)
        made[:] = [slow.connections - before]
        return answer
    assert_timed_out(in_time(second))
    assert made[0] <= 1


def test_many_at_once_end_each_in_its_time_and_the_server_goes_on(proxied, key):
    proxied.expect_log(PROXY_LINES)
    answers = in_time(lambda: proxied.burst(20, "/api/silent", concurrency=20, key=key), late_s=2.4)
    assert {answer.status for answer in answers} == {504}
    assert proxied.get("/api/fast", key=key).status == 200


def test_client_that_reads_slowly_is_cut_off(server, keys, key):
    web = server(confs.BASIC_PLAN + confs.location("/v1", timeout()), keys=keys)
    web.root.add_file("v1/large", 64 << 20)
    with web.raw() as connection:
        connection.send(f"GET /v1/large HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
        connection.read(1000)
        waiting.eventually(lambda: any("/v1/large" in line for line in web.access_log()), what="the end of the request")
        assert len(connection.read_all()) < 64 << 20


def test_client_that_sends_slowly_is_cut_off(proxied, key):
    proxied.expect_log(PROXY_LINES)

    def begin():
        with proxied.raw() as connection:
            connection.send(f"POST /api/silent HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n"
                            "Content-Length: 100\r\n\r\n".encode())
            connection.send(b"begin")
            return connection.read_all()
    answer = in_time(begin, late_s=3)
    assert not answer or answer.startswith(b"HTTP/1.1 504")


def test_stream_of_http2_ends_alone(server, keys, key, slow):
    web = server(confs.BASIC_PLAN + confs.proxy("/api", slow, timeout()) + FAST, keys=keys, modules=("proxy_http", "http2"))
    web.expect_log(PROXY_LINES)
    silent, fast = in_time(lambda: web.nghttp("/api/silent", "/api/fast", key=key))
    assert (silent.status, json.loads(silent.body)["code"], fast.status) == (504, "request-timeout", 200)


# ---- backends of other kinds ---------------------------------------------------------------------------------------

@pytest.fixture
def slow_tls(tmp_path):
    """The trickling backend behind a certificate of its own."""
    files = [str(tmp_path / name) for name in ("cert.pem", "key.pem")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-out",
                    files[0], "-keyout", files[1]], check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    backend = TrickleBackend(context)
    yield backend
    backend.close()


def test_backend_over_tls_ends_in_time(server, keys, key, slow_tls):
    web = server("SSLProxyEngine On\nSSLProxyVerify none\nSSLProxyCheckPeerName off\nSSLProxyCheckPeerExpire off\n"
                 + confs.BASIC_PLAN + confs.proxy("/api", slow_tls, timeout()) + FAST, keys=keys, modules=("proxy_http", "ssl"))
    web.expect_log(PROXY_LINES + "|AH01882|AH01873")
    assert web.get("/api/fast", key=key).body == b"fast\n"
    for way in ("silent", "headers", "line"):
        assert_timed_out(in_time(lambda way=way: web.get(f"/api/{way}", key=key)))
    for way in ("body", "open", "chunks"):
        answer = in_time(lambda way=way: web.get(f"/api/{way}", key=key), is_it=lambda end: getattr(end, "status", 0) == 200)
        assert answer.truncated


class Deaf:
    """Takes connections and says nothing, whatever is asked in whichever protocol."""

    def __init__(self, scheme):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self):
        self._listener.close()


@pytest.fixture
def deaf(request):
    backend = Deaf(request.param)
    yield backend
    backend.close()


def proxied_to(server, keys, deaf, parameters="", limit_s=LIMIT_S):
    scheme = deaf.url.partition(":")[0]
    conf = confs.location("/api", timeout(limit_s)) + f"ProxyPass /api {deaf.url}/ retry=0 {parameters}\n"
    web = server(confs.BASIC_PLAN + conf, keys=keys, modules=("proxy", f"proxy_{scheme}"))
    web.expect_log(r"\[proxy")
    return web


@pytest.mark.parametrize("deaf", ["uwsgi"], indirect=True)
def test_silent_backend_of_uwsgi_is_504_in_time(server, keys, key, deaf):
    web = proxied_to(server, keys, deaf)
    assert_timed_out(in_time(lambda: web.get("/api/x", key=key)))


@pytest.mark.parametrize("deaf", ["fcgi", "ajp", "scgi"], indirect=True)
def test_silent_backend_that_cannot_be_woken_is_closed_a_second_later(server, keys, key, deaf):
    web = proxied_to(server, keys, deaf, "timeout=4")
    assert isinstance(in_time(lambda: web.get("/api/x", key=key), late_s=2.4), OSError)


@pytest.mark.parametrize("deaf", ["fcgi", "ajp", "scgi"], indirect=True)
def test_silent_backend_with_a_timeout_of_the_proxy_has_an_answer_before(server, keys, key, deaf):
    web = proxied_to(server, keys, deaf, "timeout=1", limit_s=5)
    answer = in_time(lambda: web.get("/api/x", key=key), limit_s=1, late_s=3)
    assert answer.status in (503, 504)
    checks.assert_problem(answer, answer.status)
    assert checks.trio(answer).remaining < 60


def test_inner_section_can_lift_the_time(server, keys, key):
    inner = "<Location /cgi-bin/late>\n    APIQuotaRequestTimeout none\n</Location>\n"
    web = server(confs.BASIC_PLAN + confs.location("/cgi-bin", timeout()) + inner, keys=keys, modules=("cgi",))
    web.root.add_cgi("late", f"#!/bin/sh\nsleep {LIMIT_S + 0.6}\nprintf 'Content-Type: text/plain\\n\\nlate'\n")
    assert web.get("/cgi-bin/late", key=key).body == b"late"


@pytest.mark.parametrize("wrong", ["0", "-1s", "29 s", "50ms", "2d", "soon", ""])
def test_what_is_no_such_time_is_a_configuration_error(server, wrong):
    conf = confs.location("/v1", f"APIQuotaRequestTimeout {wrong}")
    assert "APIQuotaRequestTimeout" in server(conf, start=False).start_fails()
