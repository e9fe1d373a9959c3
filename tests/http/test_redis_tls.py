# SPDX-License-Identifier: Apache-2.0
"""rediss://: a Redis is counted on over TLS where it shows the certificate that it must show, and on no other."""

import contextlib
import re
import socket
import ssl
import threading

import pytest

from harness import redis as redis_server
from harness.counted import conf, remaining
from harness.ports import PortLease
from harness.tls import HAS_TLS, Authority, needs_tls

NAME = "redis.test"


def assert_refused(output):
    """How far the handshake has come when it is given up is a matter of timing."""
    assert re.search(r"does not answer \((closed|protocol)\)", output), output


@pytest.fixture(name="authority", scope="module")
def authority_fixture(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def secured(redis_started):
    """secured(authority, certificate) -> (a Redis that shows it, its address): one that wants a certificate of its clients."""
    def start(authority, shown):
        running = redis_started(tls=(*shown, authority.file))
        return running, running.url
    return start


@pytest.fixture
def machine(secured, server, keys, key):  # pylint: disable=unused-argument
    def start(words, **how):
        return server(conf(words, budget="5s"), keys=keys, allow=(redis_server.NOT_PERSISTED,), **how)
    return start


@pytest.fixture
def shown(authority):
    return authority.certificate("redis", "IP:127.0.0.1")


@pytest.fixture
def mine(authority):
    """The words of a client that shows a certificate."""
    certificate, private = authority.certificate("client", "DNS:client.test")
    return f"ca={authority.file} cert={certificate} key={private}"


@pytest.mark.skipif(HAS_TLS, reason="hiredis has TLS here")
def test_tls_that_hiredis_lacks_is_a_configuration_error_that_says_what_to_do(server):
    status, output = server(start=False).configtest("APIQuotaStore rediss://127.0.0.1\n")
    assert status != 0 and "needs TLS in hiredis" in output and "tunnel" in output


@needs_tls
def test_requests_are_counted_over_tls_with_certificates_of_both_sides(machine, secured, authority, shown, mine, key):
    running, where = secured(authority, shown)
    web = machine(f"{where} {mine}")
    assert [remaining(web, key) for _ in range(3)] == [99999, 99998, 99997]
    assert running.counters() == 1


@needs_tls
def test_connections_are_kept_over_tls(machine, secured, authority, shown, mine, key):
    running, where = secured(authority, shown)
    web = machine(f"{where} {mine}")
    with web.session() as session:
        session.get("/v1/item.json", key=key)
        before = int(running.info("stats")["total_connections_received"])
        for _ in range(120):
            session.get("/v1/item.json", key=key)
    # One a thread, of which there are 32, and those of this test and of the timer.
    assert int(running.info("stats")["total_connections_received"]) - before < 60


@needs_tls
def test_name_of_the_certificate_may_be_said(machine, secured, authority, mine, key):
    _, where = secured(authority, authority.certificate("named", f"DNS:{NAME}"))
    assert remaining(machine(f"{where} {mine} sni={NAME}"), key) == 99999


@needs_tls
@pytest.mark.parametrize("names, at", [(f"DNS:{NAME}", None), ("IP:127.0.0.2", None), ("IP:127.0.0.1", "2020-01-01")],
                         ids=["name", "address", "expired"])
def test_certificate_of_another_or_of_the_past_is_refused(machine, secured, authority, mine, names, at):
    _, where = secured(authority, authority.certificate("wrong", names, at))
    assert_refused(machine(f"{where} {mine}", start=False).start_fails())


@needs_tls
def test_certificate_of_another_authority_is_refused(machine, secured, authority, shown, tmp_path):
    _, where = secured(authority, shown)
    other = Authority(tmp_path, "other")
    assert_refused(machine(f"{where} ca={other.file}", start=False).start_fails())


@needs_tls
def test_client_without_its_certificate_is_refused_by_the_server(machine, secured, authority, shown):
    _, where = secured(authority, shown)
    assert_refused(machine(f"{where} ca={authority.file}", start=False).start_fails())


@needs_tls
def test_file_that_holds_no_certificate_is_said(machine, authority):
    output = machine(f"rediss://127.0.0.1 ca={__file__}", start=False).start_fails()
    assert f"ca={__file__} holds no certificates" in output
    output = machine(f"rediss://127.0.0.1 ca={authority.file} cert={authority.file} key={authority.file}",
                     start=False).start_fails()
    assert "are no certificate and its key" in output


@needs_tls
def test_server_is_told_the_name_that_is_wanted(machine, authority, shown):
    """Redis does not look at it; what balances load in front of it may."""
    asked, lease = [], PortLease()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*shown)
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    listening = socket.create_server(("127.0.0.1", lease.port))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with contextlib.suppress(OSError), connection:
                    context.wrap_socket(connection, server_side=True).close()
    threading.Thread(target=serve, daemon=True).start()
    try:
        machine(f"rediss://127.0.0.1:{lease.port} ca={authority.file} sni={NAME}", start=False).start_fails()
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        lease.release()
    assert asked and set(asked) == {NAME}
