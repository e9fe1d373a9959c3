# SPDX-License-Identifier: Apache-2.0
"""A backend for batches of items: one thread, thousands of requests a second, each effect once by its Idempotency-Key.

What it answers is told by `behave(request)`, which returns an Answer; 201 with {"stored": LINE} unless set. Requests of
which the answer is delayed are in hand meanwhile: `most_at_once` is how many were, at most.
"""

import collections
import heapq
import json
import selectors
import socket
import threading
import time

from .ports import PortLease

ItemRequest = collections.namedtuple("ItemRequest", "key line headers body times")
Answer = collections.namedtuple("Answer", "status body type headers delay_s", defaults=(201, b"", "application/json", (), 0))
HANG_UP = Answer(0)


def stored(request):
    return Answer(201, b'{"stored":%d}' % request.line)


class _Connection:
    def __init__(self, sock):
        self.sock, self.buffer = sock, b""


class ItemsBackend:
    """close() ends it. `keep_bodies`: remember what came, by line."""

    def __init__(self, behave=stored, keep_bodies=True):
        self.behave, self.keep_bodies = behave, keep_bodies
        self.effects, self.sent, self.times = {}, collections.Counter(), []
        self.bodies, self.headers = {}, {}
        self.in_hand = self.most_at_once = 0
        self._delayed, self._number = [], 0
        self._lease = PortLease()
        self._listener = socket.create_server(("127.0.0.1", self._lease.port), backlog=256)
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._closing = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._lease.port}/items"

    @property
    def lines(self):
        """The lines that had an effect."""
        return sorted(self.effects.values())

    @property
    def requests(self):
        return len(self.times)

    def close(self):
        self._closing = True
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()
        self._lease.release()

    def _run(self):
        while not self._closing:
            wait_s = min(0.05, self._delayed[0][0] - time.monotonic()) if self._delayed else 0.05
            for key, _ in self._selector.select(max(0, wait_s)):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._read(key.data)
            while self._delayed and self._delayed[0][0] <= time.monotonic():
                _, _, connection, answer = heapq.heappop(self._delayed)
                self.in_hand -= 1
                self._answer(connection, answer)

    def _accept(self):
        sock, _ = self._listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(sock, selectors.EVENT_READ, _Connection(sock))

    def _drop(self, connection):
        if connection.sock.fileno() >= 0:
            self._selector.unregister(connection.sock)
            connection.sock.close()

    def _read(self, connection):
        try:
            data = connection.sock.recv(1 << 18)
        except OSError:
            data = b""
        if not data:
            return self._drop(connection)
        connection.buffer += data
        while (request := self._request(connection)) and not self._closing:
            self._take(connection, request)

    def _request(self, connection):
        """The next request of the buffer, or None where it is not whole yet."""
        head, separator, rest = connection.buffer.partition(b"\r\n\r\n")
        if not separator:
            return None
        headers = {}
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            headers[name.lower().decode()] = value.strip().decode("latin-1")
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return None
        connection.buffer = rest[length:]
        key = headers.get("idempotency-key", "")
        return ItemRequest(key, int(key.rpartition("-")[2] or 0), headers, rest[:length], self.sent[key])

    def _take(self, connection, request):
        self.times.append(time.monotonic())
        self.sent[request.key] += 1
        if self.keep_bodies:
            self.bodies[request.line], self.headers[request.line] = request.body, request.headers
        answer = self.behave(request)
        if 200 <= answer.status <= 299:
            self.effects.setdefault(request.key, request.line)
        self.most_at_once = max(self.most_at_once, self.in_hand + 1)
        if answer.delay_s == 0:
            return self._answer(connection, answer)
        self.in_hand += 1
        self._number += 1
        heapq.heappush(self._delayed, (time.monotonic() + answer.delay_s, self._number, connection, answer))

    def _answer(self, connection, answer):
        if answer.status == 0:
            return self._drop(connection)
        head = f"HTTP/1.1 {answer.status} X\r\nContent-Length: {len(answer.body)}\r\n"
        if answer.type:
            head += f"Content-Type: {answer.type}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        try:
            connection.sock.sendall(head.encode() + b"\r\n" + answer.body)
        except OSError:
            self._drop(connection)


def results(text):
    """The lines of a result, parsed."""
    return [json.loads(line) for line in text.splitlines()]
