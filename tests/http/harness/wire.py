# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 responses, and connections on which a test decides about every byte."""

import http.client
import json
import socket
import struct
import time


class Headers:
    """Header fields in the order they came, names in any case, each value kept."""

    def __init__(self, pairs):
        self.pairs = [(name, value) for name, value in pairs]

    def all(self, name):
        return [v for n, v in self.pairs if n.lower() == name.lower()]

    def get(self, name, default=None):
        """The value of a field that may occur once at most; twice fails the test."""
        values = self.all(name)
        assert len(values) < 2, f"{name} occurs {len(values)} times: {values}"
        return values[0] if values else default

    def __getitem__(self, name):
        value = self.get(name)
        if value is None:
            raise KeyError(f"{name} is not among {[n for n, _ in self.pairs]}")
        return value

    def __contains__(self, name):
        return bool(self.all(name))

    def names(self):
        return [name.lower() for name, _ in self.pairs]

    def __repr__(self):
        return f"Headers({self.pairs!r})"


class Response:
    """A response. `truncated`: the connection ended before the body did."""

    def __init__(self, status, headers, body, truncated=False, reset=False):
        self.status, self.headers, self.body = status, Headers(headers), body
        self.truncated, self.reset = truncated, reset

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.headers.pairs} {self.body[:300]!r}>"


def collect(message):
    """The Response of an http.client.HTTPResponse, whose body is read here."""
    truncated = False
    try:
        body = message.read()
    except (http.client.IncompleteRead, ConnectionResetError) as broken:
        body, truncated = getattr(broken, "partial", b""), True
    return Response(message.status, message.getheaders(), body, truncated)


def request_bytes(method, path, headers=(), body=b"", host="127.0.0.1", version="HTTP/1.1"):
    """A request as it goes over the wire; Host is added, Content-Length is not."""
    lines = [f"{method} {path} {version}", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in pairs_of(headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def pairs_of(headers, key=None):
    """Header fields given as a dict, as pairs or None, as a list of pairs, with the key as bearer."""
    pairs = list(headers.items()) if isinstance(headers, dict) else list(headers or ())
    return pairs + ([("Authorization", f"Bearer {key}")] if key is not None else [])


class RawConnection:
    """A TCP connection. Use it in a `with`."""

    def __init__(self, port, timeout_s=60.0, host="127.0.0.1"):
        self.socket = socket.create_connection((host, port), timeout_s)
        self._stream = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.socket.sendall(data)
        return self

    def send_slowly(self, data, piece=1, pause_s=0.05):
        """Sends in pieces; returns how many bytes were sent before the peer closed."""
        sent = 0
        for start in range(0, len(data), piece):
            try:
                self.socket.sendall(data[start:start + piece])
            except OSError:
                break
            sent += len(data[start:start + piece])
            time.sleep(pause_s)
        return sent

    def half_close(self):
        """Says that nothing more will be sent; reading goes on."""
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def read(self, count):
        return self._stream.read(count)

    def read_all(self):
        """Everything until the peer closes, or resets."""
        pieces = []
        try:
            while piece := self._stream.read1(65536):
                pieces.append(piece)
        except ConnectionResetError:
            pass
        return b"".join(pieces)

    def next_is_continue(self):
        """True if what comes next is `100 Continue`; nothing is consumed."""
        return self._stream.peek(12)[:12] == b"HTTP/1.1 100"

    def read_response(self, method="GET"):
        """The next response; 100s before it are skipped."""
        message = http.client.HTTPResponse(_SocketOf(self._stream), method=method)
        message.begin()
        return collect(message)

    def closed_by_peer(self, timeout_s=30.0):
        """True if the peer closes, having sent nothing more, within the time."""
        self.socket.settimeout(timeout_s)
        try:
            return self._stream.read1(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def abort(self):
        """Ends the connection with a reset (RST)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        self._stream.close()
        self.socket.close()


class _SocketOf:
    """Gives http.client a stream that it cannot close, so that the connection outlives a response."""

    def __init__(self, stream):
        self._stream = stream

    def makefile(self, *_):
        return self

    def close(self):
        pass

    def __getattr__(self, name):
        return getattr(self._stream, name)
