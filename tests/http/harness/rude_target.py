# SPDX-License-Identifier: Apache-2.0
"""A target of batches that answers what no good one does: as much as there is, or whatever bytes the test likes.

    /flood     a head without a length, then bytes until the other side closes
    otherwise  what answers[path] holds, byte by byte as it is; the connection is closed behind it
"""

import contextlib
import socket
import threading

from .ports import PortLease

PIECE = b"x" * (1 << 20)


class RudeTarget:
    """Serves on a free loopback port; close() ends it. `flooded_bytes`: what was taken of /flood."""

    def __init__(self, most_bytes=1 << 30):
        self._lease, self._most_bytes = PortLease(), most_bytes
        self.url = f"http://127.0.0.1:{self._lease.port}"
        self.answers, self.paths, self.flooded_bytes = {}, [], 0
        self._listener = socket.create_server(("127.0.0.1", self._lease.port), backlog=16)
        self._connection = self._listener
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        # A thread in accept() is woken by the shutdown, not by the close.
        self._listener.shutdown(socket.SHUT_RDWR)
        # One that waits for the other side to close may wait for long: who asked may keep the connection for another request.
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self._lease.release()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connection = connection
            with connection:
                connection.settimeout(30)
                try:
                    self._answer(connection)
                except OSError:
                    pass

    def _answer(self, connection):
        stream = connection.makefile("rb")
        path = stream.readline().split()[1].decode()
        self.paths.append(path)
        length = 0
        while line := stream.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        stream.read(length)
        if path == "/flood":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
            while self.flooded_bytes < self._most_bytes:
                connection.sendall(PIECE)
                self.flooded_bytes += len(PIECE)
        else:
            connection.sendall(self.answers[path])
        # Reading on until the other side has closed: a reset would take what it has not read yet.
        connection.shutdown(socket.SHUT_WR)
        while stream.read(65536):
            pass
