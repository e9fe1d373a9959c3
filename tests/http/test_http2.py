# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 over plain TCP: each stream is a request, charged once, whatever becomes of it."""

import struct

import pytest

from harness import checks, confs, quota
from harness.waiting import eventually

pytestmark = pytest.mark.mpm_all
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE = 0, 1, 3, 4, 8
END_STREAM_AND_HEADERS = 5


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def small(keys):
    keys.tenant("small", plan="small")
    return keys.add("small")


@pytest.fixture
def web(server, keys, key, small):  # pylint: disable=unused-argument
    return server(quota.ROOMY + confs.plan("small", "year 10/366d headers=primary") + confs.location("/v1"),
                  keys=keys, modules=("http2",))


def test_f24_headers_are_on_every_response(web, key):
    for path, status in (("/v1/item.json", 200), ("/v1/withindex", 301), ("/v1/none", 404)):
        (answer,) = web.nghttp(path, key=key)
        assert answer.status == status and checks.trio(answer).limit == 1000000
    (refused,) = web.nghttp("/v1/item.json")
    checks.assert_problem(refused, 401)
    assert refused.headers["www-authenticate"] == 'Bearer realm="API"'
    checks.assert_no_trio(refused)


def test_f24_304_is_free(web, key):
    (full,) = web.nghttp("/v1/item.json", key=key)
    with quota.costs(web, key, 0):
        (answer,) = web.nghttp("/v1/item.json", key=key, headers={"if-none-match": full.headers["etag"]})
        assert answer.status == 304
    # The request with which costs() looks is between the two.
    assert checks.trio(answer).remaining == checks.trio(full).remaining - 1


def test_f24_one_hundred_streams_of_one_connection_are_one_hundred_charges(web, key):
    with quota.costs(web, key, 100):
        load = web.h2load("/v1/item.json", 100, streams=100, key=key)
    assert load.ok == 100


def test_f24_streams_beyond_the_limit_are_429_and_exactly_the_limit_passes(web, small):
    left = checks.trio(web.head("/v1/none", key=small)).remaining
    load = web.h2load("/v1/item.json", 60, streams=60, key=small)
    assert (load.ok, load.refused) == (left, 60 - left)
    (answer,) = web.nghttp("/v1/item.json", key=small)
    checks.assert_problem(answer, 429)
    assert checks.retry_after(answer) > 0 and checks.trio(answer).remaining == 0


def test_f24_refused_upload_is_a_429(web, keys, key, tmp_path):
    body = tmp_path / "body"
    body.write_bytes(bytes(1 << 20))
    (answer,) = web.nghttp("/v1/item.json", data_file=body)
    checks.assert_problem(answer, 401)
    assert web.nghttp("/v1/item.json", key=key)[0].status == 200


def test_an_offer_to_upgrade_to_http_2_is_passed_over_and_the_request_answered_and_charged_once(web, key):
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQCAAAAAAIAAAAA"}
    with quota.costs(web, key, 1):
        answer = web.get("/v1/item.json", key=key, headers=offer)
    assert answer.status == 200 and checks.trio(answer)


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header field of HPACK, neither indexed nor compressed."""
    def text(what):
        assert len(what) < 127
        return bytes((len(what),)) + what.encode()
    return b"\0" + text(name) + text(value)


def test_f24_stream_that_is_reset_mid_response_is_one_charge(web, key):
    web.root.add_file("v1/large.bin", 8 << 20)
    fields = [(":method", "GET"), (":scheme", "http"), (":path", "/v1/large.bin"), (":authority", "127.0.0.1"),
              ("authorization", f"Bearer {key}")]
    head = b"".join(literal(*field) for field in fields)
    with quota.costs(web, key, 3):
        with web.raw() as connection:
            # Room for the connection; each stream may send 64 kB and waits then.
            connection.send(PREFACE + frame(SETTINGS, 0, 0) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 29)))
            for stream in (1, 3, 5):
                connection.send(frame(HEADERS, END_STREAM_AND_HEADERS, stream, head))
                wait_for_data(connection, stream)
                connection.send(frame(RST_STREAM, 0, stream, struct.pack(">I", 8)))
        eventually(lambda: sum("/v1/large.bin" in line for line in web.access_log()) == 3)


def wait_for_data(connection, stream):
    """Reads frames until the first DATA of the stream."""
    while True:
        size = int.from_bytes(connection.read(3), "big")
        kind, _, number = struct.unpack(">BBI", connection.read(6))
        connection.read(size)
        if kind == DATA and number == stream:
            return
