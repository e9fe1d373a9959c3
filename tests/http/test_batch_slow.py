# SPDX-License-Identifier: Apache-2.0
"""Uploads that crawl: mod_reqtimeout bounds them, and what they reserved of the spool is free again."""

import collections
import select
import socket
import time

import pytest

from harness import batches, checks
from harness.waiting import eventually
from harness.wire import request_bytes

UPLOADS = 500
DECLARED = 60000
BODY_S = 12
ROOMY = ("StartServers 6\nServerLimit 6\nThreadLimit 100\nThreadsPerChild 100\nMinSpareThreads 25\nMaxSpareThreads 600\n"
         "MaxRequestWorkers 600\n")
TIMEOUTS = f"RequestReadTimeout header=20 body={BODY_S},MinRate=500\n"


@pytest.fixture
def key(keys):
    return keys.add("acme")


class SlowUploads:
    """Many uploads of one byte a second each, from one thread."""

    def __init__(self, port, key, count):
        fields = [("Authorization", f"Bearer {key}"), ("Content-Length", DECLARED)]
        self.sockets, self.answers = [], {}
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), timeout=20)
            connection.sendall(request_bytes("POST", "/v1/imports", fields))
            connection.setblocking(False)
            self.sockets.append(connection)

    def open(self):
        return [connection for connection in self.sockets if connection not in self.answers]

    def send_a_byte_each(self):
        for connection in self.open():
            try:
                connection.send(b"x")
            except OSError:
                pass  # it has been answered, which is seen when it is read

    def read(self, pause_s):
        """Takes what comes within the time; each is answered once."""
        end = time.monotonic() + pause_s
        while (left := end - time.monotonic()) > 0 and self.open():
            poll = select.poll()
            by_fd = {connection.fileno(): connection for connection in self.open()}
            for fd in by_fd:
                poll.register(fd, select.POLLIN)
            for fd, _ in poll.poll(left * 1000):
                try:
                    self.answers[by_fd[fd]] = by_fd[fd].recv(4096)
                except ConnectionResetError:
                    self.answers[by_fd[fd]] = b""

    def close(self):
        for connection in self.sockets:
            connection.close()


def arriving(spool):
    """How many uploads have begun and not ended."""
    return len(list((spool / "incoming").glob("*")))


@pytest.mark.parametrize("mpm", ["event"], indirect=True)
def test_f74_500_slow_uploads_are_cut_and_keep_no_room_of_the_spool(server, keys, key, dead_backend, mpm):
    room = UPLOADS * DECLARED + 2_000_000
    web = server(f'{TIMEOUTS}APIQuotaSpool "${{ROOT}}/state/spool" max={room}\n' + batches.conf(dead_backend.url),
                 keys=keys, worker=False, modules=("reqtimeout",), mpm_conf=ROOMY)
    spool = web.root.state / "spool"
    slow = SlowUploads(web.port, key, UPLOADS)
    began = time.monotonic()
    try:
        eventually(lambda: arriving(spool) > UPLOADS * 0.9, what="the uploads")
        # What they declared is taken: there is no room for another large one, and there is for a small one.
        web.expect_log(r"AQ01220", must=True)
        checks.assert_problem(web.post("/v1/imports", body=bytes(10_000_000), key=key), 507, code="spool-full")
        assert web.post("/v1/imports", body=b"small\n", key=key).status == 202
        while slow.open() and time.monotonic() - began < BODY_S * 5:
            slow.send_a_byte_each()
            slow.read(1)
        assert not slow.open(), f"{len(slow.open())} uploads go on after {time.monotonic() - began:.0f} s"
        answered = collections.Counter(answer.split(b"\r\n")[0] for answer in slow.answers.values())
        # Those that came together with the large one may have been refused with it: the tenth that had not begun, and a few
        # whose file was there a moment before their room was taken.
        assert answered.pop(b"HTTP/1.1 507 Insufficient Storage", 0) <= UPLOADS * 0.2
        assert set(answered) <= {b"HTTP/1.1 408 Request Timeout", b""} and answered[b""] < UPLOADS / 2, answered
    finally:
        slow.close()
    eventually(lambda: batches.left(web, spool).incoming == [], what="a spool without uploads")
    assert web.post("/v1/imports", body=bytes(room - 3_000_000), key=key).status == 202
    assert len(batches.left(web, spool).body) == 2


def test_f74_steady_upload_is_let_through_however_long_it_takes(server, keys, key, dead_backend):
    web = server("RequestReadTimeout body=3,MinRate=500\n" + batches.conf(dead_backend.url), keys=keys, worker=False,
                 modules=("reqtimeout",))
    body = b"x" * 4000
    answer = web.slow_upload("/v1/imports", body, piece=200, pause_s=0.2, key=key)
    assert answer.status == 202 and answer.json()["request"]["bytes"] == len(body)
    cut = web.slow_upload("/v1/imports", b"x" * 100, piece=1, pause_s=0.1, key=key)
    checks.assert_problem(cut, 408)
    assert batches.left(web).incoming == [] and len(batches.left(web).body) == 1
