# SPDX-License-Identifier: Apache-2.0
"""The server behind httpd: the target of ProxyPass and of batches.

What it does is told by the path's first segment below any prefix named in the ROUTES table, for instance
/status/503 or /slow/0.5; script() overrides a path. Every request is written down in `requests`.

    /echo            the request as JSON: method, path, headers, body_length, body_sha256
    /status/CODE     that status, with a small body        /etag       an ETag, and 304 for it
    /ratelimited     X-RateLimit-* headers of its own      /slow/S     answers after S seconds
    /truncate        ends in the middle of its body        /reset      a TCP reset, no answer
    /import          each line of the body into `store`, once by Idempotency-Key and line
    /count           the number of rows stored

hold(path) makes the answers of a path wait, for the test to do something meanwhile.
"""

import collections
import hashlib
import http.server
import json
import socket
import ssl
import struct
import threading

from .import_store import ImportStore
from .ports import PortLease
from .wire import Headers

KEPT_BODY_BYTES = 65536
ETAG = '"version-1"'

Recorded = collections.namedtuple("Recorded", "method path headers body body_length body_sha256")
Scripted = collections.namedtuple("Scripted", "status headers body")


class Backend:
    """A threaded server on a free loopback port; close() ends it and its threads.

    certificate: a PEM file with key and certificate; it then speaks TLS.
    """

    def __init__(self, database=":memory:", certificate=None):
        self.store = ImportStore(database)
        self.requests, self.scripts, self._gates = [], {}, {}
        self._hold_after, self._held, self._go_on = None, threading.Event(), threading.Event()
        self._lease = PortLease()
        self._server = _Server(("127.0.0.1", self._lease.port), _Handler)
        self._server.backend = self
        self._scheme = "https" if certificate else "http"
        if certificate:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(certificate)
            # Each handshake in its connection's thread: one that is broken off must not end the server.
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def port(self):
        return self._lease.port

    @property
    def url(self):
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def script(self, path, status=200, headers=None, body=b"scripted\n", times=None):
        """Answers `path` so, `times` times (None: always), one script after the other."""
        answer = Scripted(status, dict(headers or {}), body)
        self.scripts.setdefault(path, []).append([answer, times])

    def next_script(self, path):
        queue = self.scripts.get(path, [])
        while queue and queue[0][1] == 0:
            queue.pop(0)
        if not queue:
            return None
        if queue[0][1] is not None:
            queue[0][1] -= 1
        return queue[0][0]

    def seen(self, path=None, method=None):
        """The requests recorded, of a path and a method if told."""
        return [r for r in list(self.requests)
                if path in (None, r.path) and method in (None, r.method)]

    def hold(self, path):
        """Requests of `path` are recorded, and answered not before let_go()."""
        self._gates[path] = threading.Event()

    def let_go(self):
        """Answers what was held, and holds nothing more."""
        gates, self._gates = self._gates, {}
        for gate in gates.values():
            gate.set()

    def wait_held_at(self, path):
        gate = self._gates.get(path)
        if gate:
            gate.wait()

    def hold_import(self, after_lines=1000):
        """Makes the next imports stop after so many lines (thousands), until release()."""
        self._hold_after = after_lines
        self._held.clear()
        self._go_on.clear()

    def wait_held(self, timeout_s=30.0):
        """Waits until an import stands still."""
        assert self._held.wait(timeout_s), f"no import was held within {timeout_s} s"

    def release(self):
        self._hold_after = None
        self._go_on.set()

    def import_progress(self, lines_seen):
        """Called by an import after each commit."""
        if self._hold_after is not None and lines_seen >= self._hold_after:
            self._held.set()
            self._go_on.wait()

    def wait_slow(self, seconds):
        """Sleeps, but not beyond close()."""
        self._server.closing.wait(seconds)

    def close(self):
        self.release()
        self.let_go()
        self._server.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.end_connections()
        self._server.server_close()
        self.store.close()
        self._lease.release()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128
    backend = None

    def __init__(self, *args):
        self.closing, self._open = threading.Event(), set()
        super().__init__(*args)

    def process_request(self, request, client_address):
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self._open.discard(request)
        super().shutdown_request(request)

    def end_connections(self):
        """Ends kept-alive connections, on which threads wait for another request."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def handle_error(self, request, client_address):
        """Clients that go away are part of the tests."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_one_request(self):
        # One entry for all methods: http.server wants a do_METHOD for each.
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        self.run_request()
        self.wfile.flush()

    def run_request(self):
        self.digest, self.kept, self.length = hashlib.sha256(), b"", 0
        path = self.path.partition("?")[0]
        name, _, rest = path.lstrip("/").partition("/")
        if name == "import":
            return self.run_import()
        for _ in self.body_pieces():
            pass
        record = self.record()
        self.server.backend.wait_held_at(path)
        scripted = self.server.backend.next_script(path)
        if scripted:
            return self.answer(scripted.status, scripted.body, scripted.headers)
        route = ROUTES.get(name)
        return route(self, rest, record) if route else self.answer(404, b"no such route\n")

    def body_pieces(self):
        """The request's body in pieces, counted and hashed on the way."""
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        pieces = self.chunks() if chunked else self.read_pieces(int(self.headers.get("Content-Length", 0)))
        for piece in pieces:
            self.digest.update(piece)
            self.length += len(piece)
            self.kept += piece[:KEPT_BODY_BYTES - len(self.kept)]
            yield piece

    def chunks(self):
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield from self.read_pieces(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def read_pieces(self, length):
        while length:
            piece = self.rfile.read(min(length, 65536))
            if not piece:
                raise ConnectionResetError("the client went away amid its body")
            length -= len(piece)
            yield piece

    def record(self):
        seen = Recorded(self.command, self.path, Headers(self.headers.items()), self.kept, self.length,
                        self.digest.hexdigest())
        self.server.backend.requests.append(seen)
        return seen

    def run_import(self):
        key = self.headers.get("Idempotency-Key")
        if not key:
            return self.answer_json(400, {"error": "no Idempotency-Key"})
        backend = self.server.backend
        seen, fresh = backend.store.add(key, _lines(self.body_pieces()), backend.import_progress)
        self.record()
        return self.answer_json(200, {"received": seen, "imported": fresh})

    def answer(self, status, body=b"", headers=None):
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(body)

    def answer_json(self, status, document):
        self.answer(status, json.dumps(document) + "\n", {"Content-Type": "application/json"})

    def log_message(self, *_):
        """Nothing: `requests` tells what came."""


def _lines(pieces):
    """Lines without their end; a last one without a newline counts."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _echo(handler, _, record):
    handler.answer_json(200, {**record._asdict(), "headers": record.headers.pairs,
                              "body": record.body.decode("utf-8", "replace")})


def _status(handler, rest, _):
    handler.answer(int(rest), f"status {rest}\n", {"Content-Type": "text/plain"})


def _etag(handler, _, record):
    matches = record.headers.get("If-None-Match") == ETAG
    handler.answer(304 if matches else 200, b"tagged\n", {"ETag": ETAG, "Content-Type": "text/plain"})


def _ratelimited(handler, _, __):
    handler.answer(200, b"mine\n", {"X-RateLimit-Limit": "7", "X-RateLimit-Remaining": "6",
                                    "X-RateLimit-Reset": "5", "RateLimit": '"theirs";r=6;t=5'})


def _slow(handler, rest, _):
    handler.server.backend.wait_slow(float(rest))
    handler.answer(200, b"at last\n")


def _truncate(handler, _, __):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"only this\n")
    handler.close_connection = True


def _reset(handler, _, __):
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True


def _count(handler, _, __):
    handler.answer_json(200, {"rows": handler.server.backend.store.count()})


ROUTES = {"echo": _echo, "status": _status, "etag": _etag, "ratelimited": _ratelimited, "slow": _slow,
          "truncate": _truncate, "reset": _reset, "count": _count}


class DeadBackend:
    """A port, kept for us, on which nothing listens."""

    def __init__(self):
        self._lease = PortLease()
        self.port, self.url = self._lease.port, f"http://127.0.0.1:{self._lease.port}"

    def close(self):
        self._lease.release()
