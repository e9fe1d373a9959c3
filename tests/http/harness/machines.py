# SPDX-License-Identifier: Apache-2.0
"""Machines with a network of their own, joined to that of a Redis: Linux network namespaces and veth pairs, cut and healed.

    A 10.77.1.2 ---- 10.77.1.1 [ Redis ] 10.77.2.1 ---- 10.77.2.2 B

A namespace has no name: it is that of a process which ends with us, whatever becomes of us, and the kernel then takes the
namespace and its links away. Threads enter it; what they start and connect belongs there. Where namespaces may not be made,
relays over loopback stand in for the links, and a cut relay passes nothing on.
"""

import contextlib
import ctypes
import os
import socket
import subprocess
import threading

from .ports import PortLease
from .waiting import eventually

CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def _enter(path):
    with open(path, "rb") as namespace:
        if _LIBC.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {path}")


class Namespace:
    """A network of its own."""

    def __init__(self):
        self._holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE)
        self.pid = self._holder.pid
        ours = os.readlink("/proc/self/ns/net")
        eventually(lambda: self._holder.poll() is not None or self._net() not in (None, ours), 30, "a namespace")
        if self._holder.poll() is not None:
            raise OSError(self._holder.stderr.read().decode().strip())
        self.ip("link set lo up")

    def _net(self):
        with contextlib.suppress(OSError):
            return os.readlink(f"/proc/{self.pid}/ns/net")
        return None

    def ip(self, words):
        """ip(8), inside."""
        subprocess.run(["nsenter", "--target", str(self.pid), "--net", "ip", *words.split()], check=True, timeout=30,
                       capture_output=True)

    @contextlib.contextmanager
    def entered(self):
        """What this thread connects and starts meanwhile is inside; threads that it starts, too."""
        outside = f"/proc/self/task/{threading.get_native_id()}/ns/net"
        with open(outside, "rb") as before:
            _enter(f"/proc/{self.pid}/ns/net")
            try:
                yield self
            finally:
                _LIBC.setns(before.fileno(), CLONE_NEWNET)

    def close(self):
        self._holder.stdin.close()
        self._holder.stderr.close()
        self._holder.wait(30)


class Namespaces:
    """Two machines and a Redis's, as drawn above."""

    kind = "namespaces"

    def __init__(self):
        self.made = []
        try:
            for _ in range(3):
                self.made.append(Namespace())
            self._middle, *self._machines = self.made
            for number, machine in enumerate(self._machines, 1):
                self._middle.ip(f"link add to{number} type veth peer name eth0 netns {machine.pid}")
                self._middle.ip(f"addr add 10.77.{number}.1/24 dev to{number}")
                self._middle.ip(f"link set to{number} up")
                machine.ip(f"addr add 10.77.{number}.2/24 dev eth0")
                machine.ip("link set eth0 up")
        except (OSError, subprocess.SubprocessError):
            self.close()
            raise

    def redis_options(self):
        return "--bind", "0.0.0.0", "--protected-mode", "no"

    def where_redis_is(self):
        return self._middle.entered()

    def on(self, number):
        """Machine 0 or 1, for a `with`."""
        return self._machines[number].entered()

    def url(self, number, redis):
        """How that machine calls the Redis."""
        return f"redis://10.77.{number + 1}.1:{redis.port}"

    def cut(self, number, how):
        """how: "link", nothing gets through; "answers", what comes from Redis does not."""
        self._middle.ip(f"link set to{number + 1} down" if how == "link"
                        else f"route add blackhole 10.77.{number + 1}.2/32")

    def heal(self, number, how):
        self._middle.ip(f"link set to{number + 1} up" if how == "link"
                        else f"route del blackhole 10.77.{number + 1}.2/32")

    def close(self):
        for namespace in self.made:
            namespace.close()


class _Relay:
    """Passes bytes between a port of its own and another, unless it is cut one way or both."""

    def __init__(self, to_port):
        self._to_port, self._lease, self.cut = to_port, PortLease(), None
        self.port = self._lease.port
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to_port), 10)
                for one, other, is_answer in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self._pass, args=(one, other, is_answer), daemon=True).start()

    def _pass(self, one, other, is_answer):
        with contextlib.suppress(OSError), one:
            while data := one.recv(65536):
                if self.cut != "link" and not (self.cut == "answers" and is_answer):
                    other.sendall(data)

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._lease.release()


class Relays:
    """The same over loopback."""

    kind = "relays"

    def __init__(self):
        self._relays = {}

    def redis_options(self):
        return ()

    def where_redis_is(self):
        return contextlib.nullcontext()

    def on(self, number):  # pylint: disable=unused-argument
        return contextlib.nullcontext()

    def url(self, number, redis):
        if number not in self._relays:
            self._relays[number] = _Relay(redis.port)
        return f"redis://127.0.0.1:{self._relays[number].port}"

    def cut(self, number, how):
        self._relays[number].cut = how

    def heal(self, number, how):  # pylint: disable=unused-argument
        self._relays[number].cut = None

    def close(self):
        for relay in self._relays.values():
            relay.close()


def network():
    """Namespaces where they may be made, else relays (AQ_RELAYS=1: always); the reason is printed."""
    try:
        if os.environ.get("AQ_RELAYS") == "1":
            raise OSError("AQ_RELAYS is set")
        return Namespaces()
    except (OSError, subprocess.SubprocessError) as failure:
        print(f"no network namespaces here, so relays over loopback stand in for the network: {failure}")
        return Relays()
