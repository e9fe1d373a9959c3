# SPDX-License-Identifier: Apache-2.0
"""Free loopback ports, without races between test processes.

Ports come from below the range that the kernel hands out to outgoing connections. A lease also binds
an abstract unix socket named after the port: the kernel frees it whenever and however this process
ends, so that two test runs never pick one port, and no lock file is left behind. A stranger may still
take the port before httpd binds it: Httpd.start() then takes another.
"""

import random
import socket

LOWEST, HIGHEST = 15000, 32000
TCP_LISTEN = "0A"


class PortLease:
    """A port that is ours until release(). Nothing listens on it yet."""

    def __init__(self):
        self.port, self._lock = _lease_any()

    def release(self):
        self._lock.close()


def port_is_free(port):
    """True if a server could bind the port now (connections in TIME_WAIT do not count)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def connection_is_open(port):
    """True while a process holds an accepted connection of this local port."""
    local = f"0100007F:{port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [row.split() for row in table.readlines()[1:]]
    return any(row[1] == local and row[3] != TCP_LISTEN and row[9] != "0" for row in rows)


def _lease_any():
    for _ in range(1000):
        port = random.randint(LOWEST, HIGHEST)
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            lock.bind(f"\0apiquota-test-port-{port}")
        except OSError:
            lock.close()
            continue
        if port_is_free(port):
            return port, lock
        lock.close()
    raise RuntimeError(f"no free port between {LOWEST} and {HIGHEST}")
