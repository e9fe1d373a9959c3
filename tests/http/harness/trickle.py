# SPDX-License-Identifier: Apache-2.0
"""A backend that takes its time, byte by byte. What it does is told by the last segment of the path:

    /silent     reads the request and says nothing          /deaf    does not even read its body
    /headers    a header line after the other, without end  /line    one header line that does not end
    /body       a head with a length, then bytes            /open    a head without a length, then bytes
    /chunks     a head, then a chunk after the other        /fast    answers at once, and keeps the connection
"""

import socket
import threading

from .ports import PortLease

PAUSE_S = 0.05
TRICKLES = {
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-More: yes\r\n"),
    "line": (b"HTTP/1.1 200 OK\r\nX-Long: ", b"y"),
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"b"),
    "open": (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"o"),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nc\r\n"),
}


class TrickleBackend:
    """Serves on a free loopback port; close() ends it. `connections` counts those that were accepted."""

    def __init__(self, tls=None):
        """`tls`: an ssl.SSLContext; the backend is https:// then."""
        self._lease, self._closing, self._tls = PortLease(), threading.Event(), tls
        self.port, self.url = self._lease.port, f"http{'s' if tls else ''}://127.0.0.1:{self._lease.port}"
        self.connections, self._threads = 0, []
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self._listener.settimeout(0.05)
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def close(self):
        self._closing.set()
        self._accepting.join()
        for thread in self._threads:
            thread.join()
        self._listener.close()
        self._lease.release()

    def _accept(self):
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            self.connections += 1
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection):
        try:
            connection.settimeout(5)
            connection = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
        except OSError:
            connection.close()
            return
        with connection:
            connection.settimeout(0.05)
            try:
                while (path := self._read_head(connection)) == "fast":
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfast\n")
                if path in TRICKLES:
                    self._trickle(connection, *TRICKLES[path])
                elif path:
                    self._closing.wait()
            except OSError:
                pass

    def _read_head(self, connection):
        """The last segment of the path of the next request; None where none comes."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if self._closing.is_set():
                return None
            try:
                byte = connection.recv(1)
            except TimeoutError:
                continue
            if not byte:
                return None
            head += byte
        return head.split()[1].decode().rpartition("/")[2]

    def _trickle(self, connection, beginning, more):
        connection.sendall(beginning)
        while not self._closing.wait(PAUSE_S):
            connection.sendall(more)
