# SPDX-License-Identifier: Apache-2.0
"""The harness itself, on an httpd without our module: life, guard, clients, clock and backend."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from harness import checks, confs, faketime, keys as keys_of, processes
from harness.client import statuses
from harness.httpd import StartError
from harness.ports import PortLease, port_is_free
from harness.waiting import eventually

ITEM_BYTES = 693
GRACEFUL_OR_RESTART = ["graceful", "restart"]
CGI = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\n"


def plain(server, conf="", **fields):
    return server(conf, module=False, **fields)


# ---- life ----------------------------------------------------------------------------------------

@pytest.mark.mpm_all
def test_server_serves_and_leaves_nothing_behind(server, mpm):
    web = plain(server)
    assert web.get("/item.json").status == 200
    assert web.log.matching(rf"\[mpm_{mpm}:notice\]")
    family, folder = web.family(), web.root.path
    assert len(family) > len(web.child_pids()) > 1
    assert web.close() == []
    assert not any(processes.read_process(pid) for pid in family)
    assert port_is_free(web.port) and not folder.exists()


@pytest.mark.mpm_all
@pytest.mark.parametrize("how", GRACEFUL_OR_RESTART)
def test_new_configuration_is_in_force_after_a_restart(server, how):
    web = plain(server)
    before = set(web.child_pids())
    web.write_conf("Redirect /old /new")
    getattr(web, how)()
    assert web.get("/old").status == 302
    assert not before & set(web.child_pids())


def test_graceful_stop_ends_everything(server):
    web = plain(server)
    web.stop(graceful=True)
    assert web.log.matching("AH00492|SIGWINCH")
    web.start()
    assert web.get("/item.json").status == 200


@pytest.mark.mpm_all
def test_killed_parent_and_orphans_make_room_for_a_new_start(server):
    web = plain(server)
    web.kill9_parent()
    assert web.get("/item.json").status == 200
    with pytest.raises(StartError, match="AH00072"):
        web.start()
    web.expect_log("AH00072|AH00015|no listening sockets", must=True)
    assert web.get("/item.json").status == 200
    web.kill9_parent_and_orphans()
    web.start()
    assert web.get("/item.json").status == 200


def test_port_taken_by_a_stranger_makes_the_start_take_another(server):
    web = plain(server, start=False)
    taken = web.port
    with subprocess.Popen([sys.executable, "-c", LISTENER, str(taken)], stdout=subprocess.PIPE) as stranger:
        stranger.stdout.readline()
        web.start()
        assert web.port != taken and web.get("/item.json").status == 200
        stranger.kill()


def test_two_leases_are_never_of_one_port():
    leases = [PortLease() for _ in range(50)]
    assert len({lease.port for lease in leases}) == 50
    for lease in leases:
        lease.release()


def test_configuration_errors_are_returned(server):
    web = plain(server)
    status, wrote = web.configtest("Redirect 999 /a /b")
    assert status != 0 and "line 1 of" in wrote and "test.conf" in wrote
    assert web.configtest()[0] == 0
    broken = plain(server, "<Location /a>", start=False)
    assert "test.conf" in broken.start_fails()


@pytest.mark.mpm_all
def test_cgi_daemon_is_no_child_and_ends_with_the_server(server, mpm):
    web = plain(server, modules=("cgi",))
    web.root.add_cgi("hello", CGI + "echo hello $QUERY_STRING\n")
    assert web.get("/cgi-bin/hello?you").text == "hello you\n"
    others = 0 if mpm == "prefork" else 1
    eventually(lambda: len(set(web.family()) - set(web.child_pids()) - {web.pid}) == others)


def test_processes_of_another_session_belong_to_the_server(server):
    web = plain(server, f"PassEnv {processes.TAG_VARIABLE}", modules=("cgi", "env"))
    web.root.add_cgi("escape", CGI + "setsid sleep 60 </dev/null >/dev/null 2>&1 &\n")
    web.get("/cgi-bin/escape")
    eventually(lambda: "sleep" in {p.name for p in web.family().values()})
    web.end_s = 0.3
    problems = web.close()
    assert len(problems) == 1 and "left behind" in problems[0] and "sleep" in problems[0]


# ---- the guard of the error log ------------------------------------------------------------------

def test_unexpected_line_is_a_problem_and_an_expected_one_is_not(server):
    web = plain(server)
    web.get("/missing-%2f")
    assert web.verdict() == []
    web.get("/cgi-bin/../../../etc/passwd")
    assert "unexpected" in web.verdict()[0]
    web.expect_log("AH10244", must=True)
    web.get("/../../../etc/passwd")
    assert web.verdict() == []


def test_expected_line_that_never_came_is_a_problem(server):
    web = plain(server)
    web.expect_log("AQ99999", must=True)
    web.expect_log("AQ99998")
    assert web.verdict() == ["expected in the error log, and never seen: AQ99999"]


@pytest.mark.parametrize("line", [
    "[Sun Nov 22 01:00:00.1 2026] [core:notice] [pid 1:tid 2] AH00052: child pid 3 exit signal Killed (9)",
    "[Sun Nov 22 01:00:00.1 2026] [apiquota:warn] [pid 1:tid 2] AQ00001: careful",
    "==1==ERROR: AddressSanitizer: heap-use-after-free", "src/limit/rate.c:1:2: runtime error: shift",
    "free(): invalid pointer"])
def test_line_of_trouble_is_unexpected(server, line):
    web = plain(server)
    _append(web, line)
    assert line in web.verdict()[0]
    _append(web, "[Sun Nov 22 01:00:00.1 2026] [core:notice] [pid 1:tid 2] all is well")
    assert web.verdict() == []


@pytest.fixture(scope="module")
def shared(shared_server):
    return shared_server(module=False, allow=("AH10244",))


@pytest.mark.parametrize("turn", [1, 2])
def test_shared_server_is_judged_after_each_test_and_allows_lines_for_good(shared, turn):
    shared.get("/../../../etc/passwd")
    assert shared.verdict() == [], turn
    _append(shared, "free(): invalid pointer")
    assert "unexpected" in shared.verdict()[0]


def test_killed_child_is_expected_only_for_its_pid(server):
    web = plain(server)
    pid = web.kill_child(number=signal.SIGABRT)
    web.log.wait_for(f"child pid {pid} exit signal")
    assert web.verdict() == []
    other = web.child_pids()[0]
    os.kill(other, signal.SIGABRT)
    web.log.wait_for(f"child pid {other} exit signal")
    assert "AH00052" in web.verdict()[0]


def test_parent_that_ends_by_itself_is_a_problem(server):
    web = plain(server)
    os.kill(web.pid, signal.SIGTERM)
    eventually(lambda: not web.running())
    assert "ended by itself" in web.close()[0]


BAD_TESTS = """
    def test_that_logs(server):
        server(module=False).get("/../../../etc/passwd")

    def test_that_fails(server):
        assert server("# the conf of this test", module=False).get("/item.json").status == 999

    def test_that_is_fine(server):
        assert server(module=False).get("/item.json").status == 200
"""


def test_guard_fails_a_test_and_a_failed_one_shows_conf_and_log(tmp_path):
    (tmp_path / "test_bad.py").write_text(textwrap.dedent(BAD_TESTS))
    here = os.path.dirname(os.path.abspath(__file__))
    command = [sys.executable, "-m", "pytest", "-p", "harness.fixtures", "-p", "no:cacheprovider",
               "-p", "no:xdist", "--rootdir", str(tmp_path), str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False,
                         env={**os.environ, "PYTHONPATH": here, "PYTEST_ADDOPTS": ""})
    assert "1 failed, 2 passed, 1 error" in ran.stdout, ran.stdout + ran.stderr
    assert "AH10244" in ran.stdout and "unexpected in the error log" in ran.stdout
    assert "# the conf of this test" in ran.stdout and "resuming normal operations" in ran.stdout


# ---- HTTP/1.1 ------------------------------------------------------------------------------------

def test_response_has_its_headers_in_any_case_and_each_value(server):
    web = plain(server, "Header add X-Two one\nHeader add X-Two two\n")
    answer = web.get("/item.json", headers={"X-Sent": "1"})
    assert len(answer.body) == ITEM_BYTES and answer.json()["item"]
    assert answer.headers["content-TYPE"] == "application/json"
    assert answer.headers.all("x-two") == ["one", "two"]
    with pytest.raises(AssertionError, match="occurs 2 times"):
        answer.headers.get("X-Two")
    head = web.head("/item.json")
    assert head.body == b"" and head.headers["Content-Length"] == str(ITEM_BYTES)


def test_session_keeps_its_connection(server):
    web = plain(server, "<Location /part1.txt>\nHeader set Connection close\n</Location>\n")
    with web.session() as session:
        assert {session.get("/item.json").status for _ in range(5)} == {200}
        assert session.connects == 1
        session.request("GET", "/missing")
        assert session.connects == 1


def test_burst_sends_exactly_as_many_requests_as_asked(server):
    web = plain(server)
    answers = web.burst(203, "/item.json", concurrency=10)
    assert statuses(answers) == {200: 203}
    eventually(lambda: len(web.access_log()) == 203)


def test_raw_bytes_and_half_closed_connection(server):
    web = plain(server)
    assert web.raw_exchange(b"GET / HTTP/9.9\r\n\r\n").startswith(b"HTTP/1.1 400")
    asked = b"GET /part1.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert web.raw_exchange(asked, half_close=True).endswith(b"part 1\n")
    with web.raw() as connection:
        connection.send(b"GET /part1.txt HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        assert [connection.read_response().text for _ in range(2)] == ["part 1\n"] * 2
        assert not connection.closed_by_peer(timeout_s=0.2)


def test_expect_100_continue_tells_whether_a_100_came(server, backend):
    web = proxying(server, backend, "<Location /api/refused>\nRequire all denied\n</Location>\n")
    taken = web.expect_continue("/api/echo", b"x" * 1000)
    assert taken.got_100 and taken.response.json()["body_length"] == 1000
    web.expect_log("AH01630", must=True)
    refused = web.expect_continue("/api/refused", b"x" * 1000)
    assert not refused.got_100 and refused.response.status == 403


def test_aborted_response_is_seen_by_httpd(server):
    web = plain(server)
    web.root.add_file("big.bin", 50_000_000)
    assert web.abort_response("/big.bin", after=1024).startswith(b"HTTP/1.1 200")
    assert eventually(web.access_log)[0].endswith(" X")


# ---- HTTP/2 --------------------------------------------------------------------------------------

@pytest.mark.mpm_all
def test_h2c_streams_of_one_connection(server):
    web = plain(server, "Header set X-Key expr=%{HTTP:Authorization}\n", modules=("http2",))
    answers = web.nghttp("/part1.txt", "/missing", "/item.json", key="aq_x", repeat=3)
    assert statuses(answers) == {200: 6, 404: 3}
    assert sorted(len(a.body) for a in answers if a.status == 200) == [7] * 3 + [ITEM_BYTES] * 3
    assert {a.headers["x-key"] for a in answers if a.status == 200} == {"Bearer aq_x"}


def test_h2c_upload_with_another_method(server, backend, tmp_path):
    web = proxying(server, backend, modules=("proxy_http", "http2"))
    upload = tmp_path / "upload"
    upload.write_bytes(b"y" * 200_000)
    [answer] = web.nghttp("/api/echo", method="PUT", data_file=upload)
    assert answer.json()["method"] == "PUT" and answer.json()["body_length"] == 200_000


def test_h2load_counts_statuses(server):
    web = plain(server, modules=("http2",))
    load = web.h2load("/item.json", 500, connections=5, streams=10)
    assert (load.ok, load.refused, load.total, load.failed) == (500, 0, 500, 0)
    assert web.h2load("/missing", 20, http1=True).refused == 20


# ---- clock ---------------------------------------------------------------------------------------

@pytest.mark.mpm_all
def test_faked_time_moves_while_the_server_runs(server):
    web = plain(server, faketime="+1d")
    _assert_clock(web)
    web.clock.set_offset("-2h")
    _assert_clock(web)
    web.clock.set_to(1_830_297_599.5)
    _assert_clock(web)
    web.clock.freeze(1_830_297_599)
    assert {_time_seen(web) for _ in range(3)} == {1_830_297_599}
    web.clock.advance(86400)
    assert _time_seen(web) == 1_830_383_999
    web.clock.set_offset("0")
    _assert_clock(web)


@pytest.mark.parametrize("text, seconds", [("+1d", 86400), ("-2h", -7200), ("90", 90), (1.5, 1.5)])
def test_offsets_are_parsed(text, seconds):
    assert faketime.parse_offset(text) == seconds


def _time_seen(web):
    lines = len(web.access_log())
    assert web.get("/item.json").status == 200
    line = eventually(lambda: web.access_log()[lines:])[0]
    return int(line.split()[0])


def _assert_clock(web):
    seen = _time_seen(web)
    assert abs(seen - web.clock.now()) < 5, (seen, web.clock.now())


# ---- backend -------------------------------------------------------------------------------------

def proxying(server, backend, conf="", modules=("proxy_http",), **fields):
    return plain(server, f"ProxyPass /api {backend.url} retry=0\n{conf}", modules=modules, **fields)


def test_backend_echoes_and_records(server, backend):
    web = proxying(server, backend)
    echoed = web.post("/api/echo?a=b", b"hello", headers={"X-A": "1"}).json()
    assert (echoed["method"], echoed["path"], echoed["body"]) == ("POST", "/echo?a=b", "hello")
    assert ["X-A", "1"] in echoed["headers"]
    chunked = web.post("/api/echo", (b"z" * 1000 for _ in range(100))).json()
    assert chunked["body_length"] == 100_000
    assert [r.body_length for r in backend.seen(method="POST")] == [5, 100_000]


def test_backend_answers_as_its_paths_say(server, backend):
    web = proxying(server, backend)
    assert web.get("/api/status/418").status == 418
    assert web.get("/api/etag").headers["ETag"] == '"version-1"'
    assert web.get("/api/etag", headers={"If-None-Match": '"version-1"'}).status == 304
    assert web.get("/api/ratelimited").headers["X-RateLimit-Limit"] == "7"
    assert web.get("/api/slow/0.01").status == 200
    assert web.head("/api/status/200").body == b""
    assert web.get("/api/nothing").status == 404


def test_backend_follows_a_script(server, backend):
    web = proxying(server, backend)
    backend.script("/job", status=503, headers={"Retry-After": "1"}, times=2)
    backend.script("/job", status=200)
    assert [web.get("/api/job").status for _ in range(4)] == [503, 503, 200, 200]


def test_backend_that_breaks_off_or_is_dead(server, backend, dead_backend):
    web = proxying(server, backend, f"ProxyPass /dead {dead_backend.url} retry=0\n")
    assert web.get("/api/truncate").truncated
    web.expect_log("AH01110", must=True)
    web.expect_log("AH01102|AH00898", must=True)
    assert web.get("/api/reset").status == 502
    web.expect_log("AH00957|AH01114", must=True)
    assert web.get("/dead").status == 503


def test_import_keeps_each_line_once(server, backend):
    web = proxying(server, backend)
    lines = b"".join(b"%d\n" % n for n in range(2500))
    assert web.post("/api/import", lines).status == 400
    once = {"Idempotency-Key": "batch_1"}
    assert web.post("/api/import", lines, headers=once).json() == {"received": 2500, "imported": 2500}
    assert web.post("/api/import", lines, headers=once).json() == {"received": 2500, "imported": 0}
    assert web.get("/api/count").json() == {"rows": 2500}
    assert backend.store.count("batch_1") == backend.store.repeated() == 2500
    assert backend.store.lines("batch_1")[:2] == [b"0", b"1"]
    assert backend.store.uploads() == ["batch_1"]


def test_import_can_be_held_in_its_middle(server, backend):
    web = proxying(server, backend)
    lines = b"".join(b"%d\n" % n for n in range(5000))
    backend.hold_import(after_lines=2000)
    with web.raw() as connection:
        connection.send(b"POST /api/import HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\n"
                        b"Content-Length: %d\r\n\r\n" % len(lines) + lines)
        backend.wait_held()
        assert backend.store.count("k") == 2000
        backend.release()
        assert connection.read_response("POST").json()["imported"] == 5000


# ---- keys, texts, checks -------------------------------------------------------------------------

def test_keys_have_their_form_and_are_written_atomically(server, keys):
    key = keys.add("acme", scopes=["a"])
    assert len(key) == 46 and key.startswith("aq_")
    web = plain(server, keys=keys)
    before = web.root.keys_file.stat().st_ino
    keys.change(key, disabled=True)
    web.save_keys()
    assert web.root.keys_file.stat().st_ino != before
    assert web.root.keys_file.stat().st_mode & 0o777 == 0o640
    entry = keys.document["keys"][0]
    assert (entry["sha256"], entry["disabled"]) == (keys_of.sha256_of(key), True)
    assert key not in web.root.keys_file.read_text()


def test_conf_text_is_as_the_interface_writes_it(backend):
    assert confs.BASIC == BASIC_AS_WRITTEN
    assert f"ProxyPass /v1 {backend.url} retry=0" in confs.proxy("/v1", backend)


def test_trio_and_problem_fail_where_they_should(server, backend):
    web = proxying(server, backend)
    assert checks.trio(web.get("/api/ratelimited")) == (7, 6, 5)
    with pytest.raises(AssertionError, match="missing"):
        checks.trio(web.get("/api/status/200"))
    problem = '{"title": "Too many", "status": 429, "limit": 60}'
    backend.script("/problem", 429, {"Content-Type": "application/problem+json"}, problem)
    checks.assert_problem(web.get("/api/problem"), 429, limit=60)
    with pytest.raises(AssertionError, match="limit is 60"):
        checks.assert_problem(web.get("/api/problem"), 429, limit=61)


LISTENER = """
import socket, sys, time
taken = socket.socket()
taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
taken.bind(("127.0.0.1", int(sys.argv[1])))
taken.listen()
print("ready", flush=True)
time.sleep(60)
"""

BASIC_AS_WRITTEN = """\
<APIQuotaPlan basic>
    APIQuotaLimit minute 60/minute headers=primary
    APIQuotaLimit day 1000/day per=tenant
</APIQuotaPlan>
<Location /v1>
    AuthType APIKey
    AuthName "API"
    Require valid-user
    APIQuota On
    APIQuotaKeyFrom bearer header:X-API-Key
    AuthzSendForbiddenOnFailure On
</Location>
"""


def _append(web, line):
    with (web.root.path / "logs" / "error.log").open("a") as log:
        log.write(line + "\n")
