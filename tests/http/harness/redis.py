# SPDX-License-Identifier: Apache-2.0
"""A private Redis (or Valkey: AQ_REDIS_SERVER=PROGRAM) on a free loopback port, and what is said to it.

Debian's redis-tools holds the server under the name of one of its tools; called by its own name it is the server.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile

from .ports import PortLease
from .waiting import eventually

TOOLS = ("/usr/bin/redis-check-rdb", "/usr/bin/valkey-check-rdb")
START_TIMEOUT_S = 60.0
# What a server on this one says at its start, and when it fails.
NOT_PERSISTED = r"AQ00425"
FAILED = r"AQ00420"


class RedisError(Exception):
    """An error that the server answered."""


def _program(folder):
    if os.environ.get("AQ_REDIS_SERVER"):
        return os.environ["AQ_REDIS_SERVER"]
    tool = next((tool for tool in TOOLS if os.access(tool, os.X_OK)), None)
    assert tool, "there is no Redis to test with: `make deps` installs it"
    link = pathlib.Path(folder) / "redis-server"
    if not link.is_symlink():
        link.symlink_to(tool)
    return str(link)


class Redis:
    """A server. `options` are of its command line: Redis("--maxmemory", "2mb"). Commands log in with `password`.

    tls: (certificate, key, file of the authority): it listens for TLS, too, at `tls_port`, and wants certificates of clients.
    """

    def __init__(self, *options, password=None, tls=None, started=True):
        self._folder = tempfile.mkdtemp(prefix="apiquota-redis-")
        self.folder = f"{self._folder}/data"
        os.mkdir(self.folder)
        self._lease, self._options, self._process = PortLease(), options, None
        self.port, self.password = self._lease.port, password
        self._tls, self._tls_lease = tls, PortLease() if tls else None
        self.tls_port = self._tls_lease.port if tls else None
        if started:
            self.start()

    @property
    def url(self):
        return f"rediss://127.0.0.1:{self.tls_port}" if self.tls_port else f"redis://127.0.0.1:{self.port}"

    @property
    def told_port(self):
        """The one that other servers and clients are told."""
        return self.tls_port or self.port

    @property
    def pid(self):
        return self._process.pid

    def start(self, *more):
        """Starts it, empty unless it persists or saved, and waits until it listens. `more` options for this time."""
        os.makedirs(self.folder, exist_ok=True)
        with open(f"{self._folder}/log", "ab") as log:
            self._process = subprocess.Popen([_program(self._folder), *self._arguments(), *more],
                                             stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(self._listens, START_TIMEOUT_S, what="Redis")

    def _arguments(self):
        return ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                "--dir", self.folder, *(("--requirepass", self.password) if self.password else ()),
                *(f"--{word}" if at % 2 == 0 else word for at, word in enumerate(self.tls_settings())), *self._options)

    def tls_settings(self):
        """Names and values of its configuration in turn; none without TLS. Between servers there is TLS as well."""
        if not self._tls:
            return ()
        certificate, key, authority = map(str, self._tls)
        return ("tls-port", str(self.tls_port), "tls-cert-file", certificate, "tls-key-file", key, "tls-ca-cert-file",
                authority, "tls-replication", "yes")

    def kill(self):
        """Ends it at once."""
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait(60)

    def stop(self):
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self._process.send_signal(signal.SIGCONT)

    def is_running(self):
        return self._process is not None and self._process.poll() is None

    def close(self):
        if self.is_running():
            self.kill()
        self._lease.release()
        if self._tls_lease:
            self._tls_lease.release()
        shutil.rmtree(self._folder, ignore_errors=True)

    def say(self, *words, auth=None, timeout_s=30):
        """Says one command and returns its answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout_s) as connection, \
                connection.makefile("rwb") as stream:
            if auth or self.password:
                _ask(stream, ("AUTH", *(auth or (self.password,))))
            return _ask(stream, words)

    def info(self, section):
        """What INFO says of a section, by name."""
        lines = self.say("INFO", section).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def error_of(self, *words):
        """The error that a command is answered with; "" where it is none."""
        try:
            self.say(*words)
        except RedisError as error:
            return str(error)
        return ""

    def say_all(self, *commands):
        """Says several over one connection and returns the last one's answer."""
        with socket.create_connection(("127.0.0.1", self.port), 30) as connection, connection.makefile("rwb") as stream:
            if self.password:
                _ask(stream, ("AUTH", self.password))
            return [_ask(stream, words) for words in commands][-1]

    def counters(self):
        """How many counters it holds."""
        return sum(self.say("HLEN", home) for home in self.say("KEYS", "aq:{*") if not home.startswith("aq:{keys}:"))

    def _listens(self):
        assert self._process.poll() is None, pathlib.Path(f"{self._folder}/log").read_text(errors="replace")
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


def _ask(stream, words):
    encoded = [str(word).encode() for word in words]
    stream.write(b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded))
    stream.flush()
    return _read(stream)


def _read(stream):
    line = stream.readline()
    if not line:
        raise ConnectionResetError("the server has ended the connection")
    line = line.rstrip(b"\r\n")
    kind, rest = line[:1], line[1:].decode("utf-8", "replace")
    if kind == b"-":
        raise RedisError(rest)
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == "-1" else stream.read(int(rest) + 2)[:-2].decode("utf-8", "replace")
    if kind == b"*":
        return [_read(stream) for _ in range(int(rest))]
    return rest
