# SPDX-License-Identifier: Apache-2.0
"""A master, a replica and three sentinels, all with passwords, as an operator has them."""

import pathlib

from .redis import Redis
from .waiting import eventually

MASTER_NAME = "main"
PASSWORD, SENTINEL_PASSWORD = "master-secret", "sentinel-secret"
READY_TIMEOUT_S = 120.0
# So that a busy machine is no failover; `kill_master` makes it short.
PATIENT_MS, HASTY_MS = 60000, 1000


class Sentinel(Redis):
    """One that watches `master`; it keeps its state in its configuration, as they do."""

    def __init__(self, master, tls=None):
        super().__init__(password=SENTINEL_PASSWORD, tls=tls, started=False)
        settings = self.tls_settings()
        self._conf = pathlib.Path(self.folder) / "sentinel.conf"
        self._conf.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\nrequirepass {SENTINEL_PASSWORD}\n"
            f"sentinel sentinel-pass {SENTINEL_PASSWORD}\n"
            + "".join(f"{name} {value}\n" for name, value in zip(settings[::2], settings[1::2])) +
            f"sentinel monitor {MASTER_NAME} 127.0.0.1 {master.told_port} 2\n"
            f"sentinel auth-pass {MASTER_NAME} {PASSWORD}\n"
            f"sentinel down-after-milliseconds {MASTER_NAME} {PATIENT_MS}\n"
            f"sentinel failover-timeout {MASTER_NAME} 20000\n", encoding="ascii")
        self.start()

    def _arguments(self):
        return (str(self._conf), "--sentinel")

    def sees(self):
        """What it knows of the master, by name."""
        said = self.say("SENTINEL", "MASTER", MASTER_NAME)
        return dict(zip(said[::2], said[1::2]))

    def master_port(self):
        return int(self.say("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME)[1])


class Sentinels:
    """`servers` are the two that count, `sentinels` the three that watch them. `tls` as of a Redis."""

    def __init__(self, tls=None):
        self._tls, first = tls, self._server(tls)
        self.servers = [first, self._server(tls, "--replicaof", f"127.0.0.1 {first.told_port}")]
        self.sentinels = [Sentinel(first, tls) for _ in range(3)]
        eventually(self._is_ready, READY_TIMEOUT_S, what="sentinels that know each other")

    @staticmethod
    def _server(tls, *options):
        return Redis("--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0", *options, password=PASSWORD, tls=tls)

    @property
    def url(self):
        places = ",".join(f"127.0.0.1:{sentinel.told_port}" for sentinel in self.sentinels)
        return f"{'rediss' if self._tls else 'redis'}+sentinel://{places}/{MASTER_NAME}"

    @property
    def master(self):
        port = self.sentinels[0].master_port()
        return next(server for server in self.servers if server.told_port == port)

    def replica(self):
        return next(server for server in self.servers if server is not self.master)

    def kill_master(self):
        """Kills the master, and has the sentinels see it soon. Returns what is to be the master then."""
        master, heir = self.master, self.replica()
        for sentinel in self.sentinels:
            sentinel.say("SENTINEL", "SET", MASTER_NAME, "down-after-milliseconds", HASTY_MS)
        master.kill()
        return heir

    def fail_over(self):
        """Has the replica made the master, as an operator does; a sentinel that has not heard of it for a while refuses at first."""
        eventually(lambda: not self.sentinels[0].error_of("SENTINEL", "FAILOVER", MASTER_NAME), READY_TIMEOUT_S, what="a failover")

    def _is_ready(self):
        seen = [sentinel.sees() for sentinel in self.sentinels]
        return (self.servers[1].info("replication")["master_link_status"] == "up"
                and all(one["num-slaves"] == "1" and one["num-other-sentinels"] == "2" for one in seen))

    def close(self):
        for server in self.sentinels + self.servers:
            server.close()
