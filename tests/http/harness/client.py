# SPDX-License-Identifier: Apache-2.0
"""An HTTP/1.1 client for tests: plain requests, sessions, bursts, and clients that misbehave."""

import collections
import concurrent.futures
import http.client
import itertools
import threading

from . import h2
from .wire import RawConnection, collect, pairs_of, request_bytes

Continued = collections.namedtuple("Continued", "got_100 response")


class Session:
    """One kept-alive connection; `connects` tells how often it had to be opened."""

    def __init__(self, port, timeout_s=60.0, check=None):
        self.connects, self._check = 0, check
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
        self._open, self._connection.connect = self._connection.connect, self._count_connect

    def request(self, method, path, key=None, headers=None, body=None):
        """Sends a request; an iterable body goes out chunked. An early answer is read all the same."""
        fields = pairs_of(headers, key)
        if isinstance(body, str):
            body = body.encode()
        try:
            self._send(method, path, fields, body)
        except (BrokenPipeError, ConnectionResetError):
            # The server answered before it had read the body, which is its right.
            pass
        response = self._receive()
        if self._check:
            self._check(method, path, fields, response)
        return response

    def get(self, path, **how):
        return self.request("GET", path, **how)

    def close(self):
        self._connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _count_connect(self):
        self.connects += 1
        self._open()

    def _send(self, method, path, fields, body):
        wire, names = self._connection, {name.lower() for name, _ in fields}
        chunked = body is not None and not isinstance(body, (bytes, bytearray))
        wire.putrequest(method, path, skip_host="host" in names, skip_accept_encoding=True)
        for name, value in fields:
            wire.putheader(name, value)
        if chunked:
            wire.putheader("Transfer-Encoding", "chunked")
        elif "content-length" not in names and (body is not None or method in ("POST", "PUT", "PATCH")):
            wire.putheader("Content-Length", str(len(body or b"")))
        wire.endheaders(body, encode_chunked=chunked)

    def _receive(self):
        message = self._connection.getresponse()
        response = collect(message)
        if response.truncated:
            self._connection.close()
        return response


class Client:
    """Requests to 127.0.0.1:`port`. `how` is what Session.request takes: key, headers, body."""

    port = 0
    check_response = None  # called with method, path, fields and the Response of each request

    def session(self, timeout_s=60.0):
        return Session(self.port, timeout_s, self.check_response)

    def request(self, method, path, timeout_s=60.0, **how):
        with self.session(timeout_s) as session:
            return session.request(method, path, **how)

    def get(self, path, **how):
        return self.request("GET", path, **how)

    def head(self, path, **how):
        return self.request("HEAD", path, **how)

    def post(self, path, body=b"", **how):
        return self.request("POST", path, body=body, **how)

    def burst(self, count, path, concurrency=16, method="GET", **how):
        """`count` requests over `concurrency` kept-alive connections that begin together."""
        tickets, gate = itertools.count(), threading.Barrier(concurrency)

        def run_one_connection():
            gate.wait(timeout=30)
            with self.session(timeout_s=60) as session:
                # next() on a count is one step under the interpreter's lock.
                return [session.request(method, path, **how)
                        for _ in itertools.takewhile(lambda ticket: ticket < count, tickets)]

        with concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
            runs = [pool.submit(run_one_connection) for _ in range(concurrency)]
            return [response for run in runs for response in run.result()]

    def raw(self, timeout_s=60.0):
        """A connection on which the test decides about every byte."""
        return RawConnection(self.port, timeout_s)

    def raw_exchange(self, data, half_close=False):
        """Sends bytes and returns all that comes back until the server closes."""
        with self.raw() as connection:
            connection.send(data)
            if half_close:
                connection.half_close()
            return connection.read_all()

    def expect_continue(self, path, body, method="POST", key=None, headers=None):
        """An upload with `Expect: 100-continue`: sends the body only if a 100 came."""
        fields = pairs_of(headers, key) + [("Content-Length", len(body)), ("Expect", "100-continue")]
        with self.raw() as connection:
            connection.send(request_bytes(method, path, fields))
            got_100 = connection.next_is_continue()
            if got_100:
                connection.send(body)
            return Continued(got_100, self._checked(method, path, fields, connection.read_response(method)))

    def slow_upload(self, path, body, piece=1, pause_s=0.05, method="POST", key=None, headers=None):
        """Uploads in pieces with pauses, and reads the answer, whenever it comes."""
        fields = pairs_of(headers, key) + [("Content-Length", len(body))]
        with self.raw(timeout_s=60) as connection:
            connection.send(request_bytes(method, path, fields))
            connection.send_slowly(body, piece, pause_s)
            return self._checked(method, path, fields, connection.read_response(method))

    def abort_upload(self, path, declared, sent, method="POST", key=None, headers=None):
        """Declares a body, sends its beginning, and resets the connection."""
        fields = pairs_of(headers, key) + [("Content-Length", declared)]
        with self.raw() as connection:
            connection.send(request_bytes(method, path, fields, sent))
            connection.abort()

    def abort_response(self, path, after=1024, method="GET", key=None, headers=None):
        """Reads the first bytes of a response, resets the connection, and returns them."""
        with self.raw() as connection:
            connection.send(request_bytes(method, path, pairs_of(headers, key)))
            beginning = connection.read(after)
            connection.abort()
            return beginning

    def _checked(self, method, path, fields, response):
        if self.check_response:
            self.check_response(method, path, fields, response)
        return response

    def nghttp(self, *paths, **how):
        """h2.nghttp to this server: Responses of one HTTP/2 connection."""
        return h2.nghttp(self.port, *paths, **how)

    def h2load(self, path, requests, **how):
        """h2.h2load to this server."""
        return h2.h2load(self.port, path, requests, **how)


def statuses(responses):
    """How often each status came, as a Counter."""
    return collections.Counter(response.status for response in responses)
