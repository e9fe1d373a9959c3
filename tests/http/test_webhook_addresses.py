# SPDX-License-Identifier: Apache-2.0
"""Where webhooks may not go: a tenant's URL must not reach what only the server can reach. And who is believed."""

import pathlib
import subprocess
import tempfile

import pytest

from harness import batches, webhooks
from harness.backend import Backend
from harness.waiting import wait_until

SECRET = webhooks.new_secret()

# A host, as it may be written in a URL; each leads to this machine, a private network, or nowhere public.
HOSTS = [
    "127.0.0.1", "127.1", "127.255.255.254", "0x7f.1", "0x7f000001", "2130706433", "017700000001", "0177.0.0.1",
    "0.0.0.0", "0", "localhost", "LOCALHOST",
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "169.254.169.254", "0xa9fea9fe",
    "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "[::]", "[::1]", "[::127.0.0.1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:169.254.169.254]",
    "[64:ff9b::127.0.0.1]", "[64:ff9b:1::1]", "[2002:7f00:1::]", "[2002:a9fe:a9fe::1]", "[2001:0:7f00:1::]",
    "[2001:db8::1]", "[fe80::1]", "[fc00::1]", "[fd00::1]", "[ff02::1]",
]


@pytest.fixture
def receiver():
    running = Backend()
    yield running
    running.close()


@pytest.fixture
def running(server, keys, backend):
    """running(allow="", **fields of Spec): a server with tenants of `keys`, and what it may send to."""
    def make(allow="", **fields):
        return server(webhooks.conf(backend.url + "/import", allow=allow), keys=keys, **fields)
    return make


def tenants_for(keys, urls):
    """A tenant with a key for each URL; {tenant: URL} and the keys."""
    named = {f"t{number}": url for number, url in enumerate(urls)}
    made = []
    for tenant, url in named.items():
        keys.tenant(tenant, webhook={"url": url, "secret": SECRET})
        made.append(keys.add(tenant))
    return named, made


def first_attempts(web, urls):
    """Sends a message to each URL, and what was said of it: {URL: error}."""
    named, made = urls
    for key in made:
        batches.submit(web, key)
    rows = []

    def all_tried():
        rows[:] = webhooks.log(web)
        return len(rows) == len(named) and all(row["last_error"] or row["status"] != "pending" for row in rows)
    wait_until(all_tried, 120, interval_s=0.3)
    return {named[row["tenant"]]: (row["status"], row["last_error"]) for row in rows}


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_f68_private_addresses_are_refused_however_they_are_written(running, keys, receiver, scheme):
    urls = tenants_for(keys, [f"{scheme}://{host}:{receiver.port}/status/200" for host in HOSTS])
    web = running()
    said = first_attempts(web, urls)
    assert set(said) == set(urls[0].values())
    wrong = {url: end for url, end in said.items()
             if end[0] != "pending" or "is neither public nor allowed" not in (end[1] or "")}
    assert not wrong
    assert receiver.seen() == [], "a message came through"


def test_f68_a_redirect_there_is_not_followed(running, keys, receiver):
    inner = Backend()
    try:
        for status in (301, 302, 303, 307, 308):
            receiver.script(f"/go/{status}", status=status, headers={"Location": inner.url + "/status/200"})
        urls = tenants_for(keys, [f"{receiver.url}/go/{status}" for status in (301, 302, 303, 307, 308)])
        web = running(allow=webhooks.ALLOW)
        said = first_attempts(web, urls)
        assert said == {url: ("pending", f"the receiver answered {url[-3:]}") for url in urls[0].values()}
        # A slow machine may have sent some of them again by now.
        assert {seen.path for seen in receiver.seen()} == {url.removeprefix(receiver.url) for url in said}
        assert inner.seen() == []
    finally:
        inner.close()


def test_an_allowed_network_says_nothing_of_another(running, keys, receiver):
    urls = tenants_for(keys, [f"http://{host}:{receiver.port}/status/200" for host in
                              ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.0.0.2", "10.0.0.1")])
    web = running(allow="APIQuotaWebhookAllow 127.0.0.1 10.20.0.0/16\n")
    said = first_attempts(web, urls)
    delivered = {url for url, end in said.items() if end[0] == "delivered"}
    assert delivered == {url for url in urls[0].values() if "//127.0.0.1:" in url or "localhost" in url}
    assert all("is neither public nor allowed" in end[1] for url, end in said.items() if url not in delivered)
    assert len(receiver.seen()) == 2


def test_http_is_for_allowed_networks_alone(running, keys, receiver):
    """An address of the public Internet, which is not connected to: the refusal comes before."""
    urls = tenants_for(keys, ["http://192.88.98.1/"])
    web = running(allow=webhooks.ALLOW)
    said = first_attempts(web, urls)
    assert said == {"http://192.88.98.1/": ("pending", "its address 192.88.98.1 is not allowed for http: use https")}


def test_proxies_of_the_environment_are_not_used(running, keys, receiver, backend):
    urls = tenants_for(keys, [receiver.url + "/status/200", f"https://127.0.0.2:{receiver.port}/status/200"])
    proxy = backend.url
    web = running(allow="APIQuotaWebhookAllow 127.0.0.1\n",
                  env={name: proxy for name in ("http_proxy", "https_proxy", "ALL_PROXY", "HTTPS_PROXY")})
    said = first_attempts(web, urls)
    assert [end[0] for end in said.values()].count("delivered") == 1
    assert any("127.0.0.2 is neither public" in (end[1] or "") for end in said.values())
    assert [seen.path for seen in backend.seen()] == ["/import", "/import"]


# ---- certificates ----------------------------------------------------------------------------------------------------

@pytest.fixture
def secure():
    """A receiver with a certificate for 127.0.0.1 that nobody has signed, and the certificate's file."""
    with tempfile.TemporaryDirectory(prefix="apiquota-tls-") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)  # httpd's user reads it
        key, certificate, both = folder / "key.pem", folder / "certificate.pem", folder / "both.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=receiver",
                        "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        both.write_text(key.read_text() + certificate.read_text())
        running = Backend(certificate=both)
        yield running, certificate
        running.close()


def test_a_certificate_that_nobody_vouches_for_is_refused(running, keys, secure):
    receiver, _ = secure
    urls = tenants_for(keys, [receiver.url + "/status/200"])
    web = running(allow=webhooks.ALLOW)
    ((status, error),) = first_attempts(web, urls).values()
    assert status == "pending" and "certificate" in error
    assert receiver.seen() == []


def test_a_certificate_of_an_authority_that_the_server_trusts_is_believed_for_its_address_alone(running, keys, secure):
    receiver, certificate = secure
    urls = tenants_for(keys, [receiver.url + "/status/200", f"https://127.0.0.2:{receiver.port}/status/200"])
    web = running(allow=webhooks.ALLOW, env={"SSL_CERT_FILE": str(certificate)})
    said = first_attempts(web, urls)
    assert said[receiver.url + "/status/200"][0] == "delivered"
    assert webhooks.verified(receiver.seen()[0], SECRET)
    assert said[f"https://127.0.0.2:{receiver.port}/status/200"][0] == "pending"
    assert len(receiver.seen()) == 1
