# SPDX-License-Identifier: Apache-2.0
"""Results that lie on another machine: two real httpds with folders of their own, and one queue in a real Redis. `there`
takes and does the batches, `here` is asked for their results."""

import hashlib
import hmac
import socket
import time

import pytest

from harness import batches, checks, confs
from harness.ports import PortLease
from harness.redis import FAILED
from harness.tls import Authority
from harness.waiting import eventually

AWAY = (FAILED, r"AQ00441", r"AQ0060[46]", r"AQ00611", r"AQ00632", r"AQ00633", r"AQ00641", r"AQ00647", r"AQ00667", r"AQ00689",
        r"AQ01274")
HOME = "/apiquota-home"
GIVES = f"<Location {HOME}>\n    SetHandler apiquota-home\n    Require local\n</Location>\n"
PASSED = ("Content-Type", "ETag", "Last-Modified", "Cache-Control", "Content-Length", "Accept-Ranges", "APIQuota-Result")


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def machine(redis_started, server, keys, key, backend):  # pylint: disable=unused-argument
    """machine(*allowed, options="home=…", target="/import", **fields of Spec): one of the machines, which gives its results."""
    redis = redis_started()

    def make(*allowed, options=f"home=http://127.0.0.1:${{PORT}}{HOME}", gives=GIVES, target="/import", **fields):
        where = f"APIQuotaQueue {redis.url} budget=10s durability=none {options}\n"
        fields.setdefault("modules", ("proxy_http",))
        web = server(where + gives + batches.conf(backend.url + target), keys=keys, allow=(*AWAY, *allowed), **fields)
        web.redis = redis
        return web
    return make


def done(web, key):
    """A batch that is over there; its URL. Its machine has told by then where its results are."""
    url = batches.submit(web, key)
    batches.wait_over(web, key, url, timeout_s=30)
    name = (web.root.state / "machine").read_text()
    eventually(lambda: web.redis.say("GET", f"aq:{{q}}:h:{name}"), 30, what="the machine to be known")
    return url


def signature(web, url, at=None, machine=None, secret=None):
    """As another machine makes it; the first that asks gives the secret."""
    web.redis.say("SETNX", "aq:{q}:secret", "5a" * 32)
    seconds = int(time.time()) if at is None else at
    name = machine or (web.root.state / "machine").read_text()
    told = f"apiquota-home v1\n{seconds}\n{name}\n{url.rpartition('/')[2]}"
    secret = secret or bytes.fromhex(web.redis.say("GET", "aq:{q}:secret"))
    return f"v1,{seconds},{hmac.new(secret, told.encode(), hashlib.sha256).hexdigest()}"


def at_home(web, url, signed):
    return web.get(f"{HOME}/{url.rpartition('/')[2]}", headers={"APIQuota-Home": signed} if signed else {})


@pytest.mark.mpm_all
def test_a_result_of_another_machine_is_as_if_it_lay_here(machine, key):
    there, here = machine(), machine()
    url = done(there, key) + "/result"
    own, passed = there.get(url, key=key), here.get(url, key=key)
    assert own.status == passed.status == 200
    assert passed.body == own.body and passed.json() == {"received": 2, "imported": 2}
    assert {name: passed.headers.get(name) for name in PASSED} == {name: own.headers.get(name) for name in PASSED}
    assert "APIQuota-Home" not in passed.headers
    checks.trio(passed)
    head = here.request("HEAD", url, key=key)
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(own.body)))
    part = here.get(url, key=key, headers={"Range": "bytes=2-5"})
    assert (part.status, part.body) == (206, own.body[2:6])
    assert part.headers["Content-Range"] == f"bytes 2-5/{len(own.body)}"
    unchanged = here.get(url, key=key, headers={"If-None-Match": own.headers["ETag"]})
    assert (unchanged.status, unchanged.body) == (304, b"")
    checks.assert_problem(here.get(url, key=key, headers={"If-Match": '"another"'}), 412)
    assert here.get(url, key=key, headers={"Range": "bytes=5000-"}).status == 416


def test_results_are_given_on_a_port_of_their_own_where_all_else_is_counted(machine, key):
    lease = PortLease()
    gives = (f"Listen 127.0.0.1:{lease.port}\n<VirtualHost 127.0.0.1:{lease.port}>\nServerName machine-1\n"
             + GIVES.replace("    Require", "    APIQuota Off\n    AuthType None\n    Require") + "</VirtualHost>\n"
             + confs.location("/"))
    there = machine(gives=gives, options=f"home=http://127.0.0.1:{lease.port}{HOME}")
    here = machine(gives="", options="")
    assert here.get(done(there, key) + "/result", key=key).status == 200
    there.stop()
    lease.release()


def test_a_connection_goes_on_after_a_body_that_nobody_asked_for(machine, key):
    there, here = machine(), machine()
    url = done(there, key) + "/result"
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    with here.session() as session:
        assert session.request("GET", url, key=key, body=smuggled).status == 200
        assert session.get(url, key=key).status == 200
    for web in (here, there):
        assert "smuggled" not in (web.root.path / "logs" / "access.log").read_text()


@pytest.mark.parametrize("status", [404, 500])
@pytest.mark.parametrize("override", ["", "ProxyErrorOverride On\n"], ids=["", "ProxyErrorOverride"])
def test_a_stored_error_is_a_result_too(machine, key, override, status):
    """Whatever mod_proxy is to do with the errors of others: this one was made by the batch."""
    there, here = (machine(target=f"/status/{status}", gives=GIVES + override) for _ in range(2))
    url = done(there, key) + "/result"
    own, passed = there.get(url, key=key), here.get(url, key=key)
    assert own.status == passed.status == status and passed.headers["APIQuota-Result"] == "replay"
    assert passed.body == own.body


def test_who_may_not_see_a_batch_is_told_so_here_whatever_it_signs(machine, keys, key):
    other = keys.add("other")
    there, here = machine(), machine()
    url = done(there, key)
    signed = {"APIQuota-Home": signature(there, url)}
    assert here.get(url + "/result", headers=signed).status == 401
    assert here.get(url + "/result", key=other, headers=signed).status == 404
    assert here.get(url + "/result", key=key, headers={"APIQuota-Home": "v1,1,00"}).status == 200


def test_nothing_that_a_client_says_of_itself_goes_to_the_other_machine(machine, key, backend):
    there, here = machine(options=f"home={backend.url}/echo"), machine(r"AQ01277")
    url = done(there, key)
    said = {"Cookie": "session=1", "APIQuota-Home": "v1,1,00", "Range": "bytes=0-1", "X-Else": "1"}
    assert_elsewhere(here, url, key, headers=said)
    (asked,) = backend.seen(f"/echo/{url.rpartition('/')[2]}")
    assert asked.headers.all("APIQuota-Home") != ["v1,1,00"] and len(asked.headers.all("APIQuota-Home")) == 1
    assert asked.headers["Range"] == "bytes=0-1"
    names = set(asked.headers.names())
    assert not {"authorization", "x-api-key", "cookie", "x-else"} & names
    assert not [name for name in names if name.startswith("x-forwarded")]
    assert key not in str(asked.headers)


def test_home_gives_nothing_without_a_good_signature(machine, key):
    web = machine(r"AQ01279")
    url, now = done(web, key), int(time.time())
    assert web.get(f"{HOME}/{url.rpartition('/')[2]}", key=key).status == 403
    wrong = {
        "none": None,
        "text": "v1,,",
        "old": signature(web, url, at=now - 120),
        "early": signature(web, url, at=now + 600),
        "machine": signature(web, url, machine="m_0000000000000000"),
        "batch": signature(web, url[:-1] + ("0" if url[-1] != "0" else "1")),
        "secret": signature(web, url, secret=b"0" * 32),
    }
    for name, signed in wrong.items():
        refused = at_home(web, url, signed)
        assert refused.status == 403 and b"imported" not in refused.body, name
    good = at_home(web, url, signature(web, url))
    assert good.status == 200 and b"imported" in good.body
    checks.assert_no_trio(good)
    assert web.post(f"{HOME}/{url.rpartition('/')[2]}", headers={"APIQuota-Home": signature(web, url)}).status == 405


def assert_elsewhere(web, url, key, **how):
    answer = web.get(url + "/result", key=key, **how)
    problem = checks.assert_problem(answer, 503, code="result-elsewhere", retry_after=checks.retry_after(answer))
    assert "APIQuota-Result" not in answer.headers
    return problem


def test_a_home_that_is_down_is_a_503_that_says_when_to_ask_again(machine, key):
    there, here = machine(), machine(r"AQ01277", r"AH0095[79]", r"AH01114")
    url = done(there, key)
    assert here.get(url + "/result", key=key).status == 200
    name = (there.root.state / "machine").read_text()
    there.stop()
    assert name in assert_elsewhere(here, url, key)["detail"]
    assert len(here.log.matching("AQ01277")) == 1


def test_a_silent_home_is_waited_for_ten_seconds_whatever_proxies_are(machine, key):
    """It accepts, and then nothing; other backends of this server may take ten minutes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        there = machine(options=f"home=http://127.0.0.1:{silent.getsockname()[1]}{HOME}")
        here = machine(r"AQ01277", r"AH01102", r"AH00898", gives="ProxyTimeout 600\n")
        url, began = done(there, key), time.monotonic()
        assert_elsewhere(here, url, key, timeout_s=120)
        assert 9 < time.monotonic() - began < 110
    assert len(here.log.matching("AQ01277")) == 1


@pytest.mark.parametrize("path", ["/nowhere", "/v1/item.json", "/v1/batches"])
def test_another_page_than_a_result_is_never_passed_on(machine, key, path):
    there, here = machine(options=f"home=http://127.0.0.1:${{PORT}}{path}"), machine(r"AQ01277")
    assert_elsewhere(here, done(there, key), key)


def test_a_home_without_a_url_gives_nothing(machine, key):
    there, here = machine(options=""), machine()
    url = batches.submit(there, key)
    batches.wait_over(there, key, url, timeout_s=30)
    assert_elsewhere(here, url, key)


def test_without_mod_proxy_http_nothing_is_fetched_and_the_log_says_so_at_the_start(machine, key):
    there, here = machine(), machine(r"AQ01276", modules=())
    assert here.log.matching("AQ01276")
    assert_elsewhere(here, done(there, key), key)


def test_a_machine_that_gives_its_results_to_all_is_no_configuration(machine):
    web = machine(start=False)
    status, said = web.configtest(GIVES.replace("    Require local\n", ""))
    assert status != 0 and "AQ01652" in said and "apiquota-home" in said


# ---- https -----------------------------------------------------------------------------------------

# Of the libraries, of a cache that is not set, and of a certificate for another name, at the start.
SSL_SAID = (r"AH01882", r"AH01873", r"AH01909")
# What mod_ssl and mod_proxy say of a handshake that fails, at both ends.
REFUSED = (r"AQ01277", r"AH0[0-9]{4}")


@pytest.fixture(name="authority", scope="module")
def fixture_authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secured(machine, authority):
    """secured(names) -> a machine that gives its results over TLS alone, with a certificate for these names."""
    leases = []

    def make(names):
        leases.append(PortLease())
        port = leases[-1].port
        certificate, private = authority.certificate(f"home{port}", names)
        gives = (f"Listen 127.0.0.1:{port}\n<VirtualHost 127.0.0.1:{port}>\nServerName localhost\nSSLEngine on\n"
                 f'SSLCertificateFile "{certificate}"\nSSLCertificateKeyFile "{private}"\n{GIVES}</VirtualHost>\n')
        return machine(*SSL_SAID, gives=gives, options=f"home=https://localhost:{port}{HOME}", modules=("proxy_http", "ssl"))
    yield make
    for lease in leases:
        lease.release()


def asking(machine, authority, *allowed, lines="SSLProxyEngine on\nSSLProxyVerify require\n"):
    trusted = f'SSLProxyCACertificateFile "{authority.file}"\n' if lines else ""
    return machine(*SSL_SAID, *allowed, gives=lines + trusted, options="", modules=("proxy_http", "ssl"))


def test_a_result_is_fetched_over_tls_from_a_home_that_shows_its_certificate(machine, secured, authority, key):
    there, here = secured("DNS:localhost"), asking(machine, authority)
    url = done(there, key) + "/result"
    own, passed = there.get(url, key=key), here.get(url, key=key)
    assert own.status == passed.status == 200 and passed.body == own.body
    assert here.get(url, key=key, headers={"If-None-Match": own.headers["ETag"]}).status == 304


def test_a_home_whose_certificate_is_anothers_gives_nothing(machine, secured, authority, key, tmp_path):
    named, good, another = secured("DNS:elsewhere.test"), secured("DNS:localhost"), Authority(tmp_path, "other")
    for there, here in ((named, asking(machine, authority, *REFUSED)), (good, asking(machine, another, *REFUSED)),
                        (good, asking(machine, authority, *REFUSED, lines=""))):
        assert_elsewhere(here, done(there, key), key)
        assert len(here.log.matching("AQ01277")) == 1
