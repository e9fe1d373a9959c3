# SPDX-License-Identifier: Apache-2.0
"""A Redis Cluster of three masters and three replicas on loopback, and what an operator does to it.

The nodes are started with a nodes.conf that says all of them, which takes two seconds where a cluster that is put
together by CLUSTER MEET takes ten.
"""

import pathlib

from .ports import PortLease
from .redis import Redis
from .waiting import eventually

MASTERS = 3
SLOTS = 16384
READY_TIMEOUT_S = 60.0
# So that a busy machine is no failover; `kill` makes it short.
PATIENT_MS, HASTY_MS = 60000, 2000


class Node(Redis):
    """A node that knows by heart who it is; the cluster says who the others are."""

    def __init__(self, number, tls=None):
        self._bus = PortLease()
        self.id = f"{number:040x}"
        super().__init__("--cluster-enabled", "yes", "--cluster-port", str(self._bus.port),
                         "--cluster-node-timeout", str(PATIENT_MS), "--cluster-allow-replica-migration", "no",
                         "--repl-diskless-sync-delay", "0", *(("--tls-cluster", "yes") if tls else ()), tls=tls,
                         started=False)

    def line(self, is_myself, master, slots):
        flags = ("myself," if is_myself else "") + ("master" if master is None else "slave")
        epoch = int((master or self).id, 16)
        return (f"{self.id} 127.0.0.1:{self.told_port}@{self._bus.port} {flags} {master.id if master else '-'} 0 0 {epoch} "
                f"connected{f' {slots[0]}-{slots[1]}' if slots else ''}\n")

    def nodes_write(self, text):
        (pathlib.Path(self.folder) / "nodes.conf").write_text(text, encoding="ascii")

    def close(self):
        super().close()
        self._bus.release()


class Cluster:
    """`nodes`: three masters, and behind them the replica of each, as they are at the start. `tls` as of a Redis."""

    def __init__(self, tls=None):
        self._scheme = "rediss+cluster" if tls else "redis+cluster"
        self.nodes = [Node(number + 1, tls) for number in range(2 * MASTERS)]
        for node in self.nodes:
            node.nodes_write("".join(self._line(other, node) for other in self.nodes)
                             + f"vars currentEpoch {2 * MASTERS} lastVoteEpoch 0\n")
            node.start()
        eventually(self.is_whole, READY_TIMEOUT_S, what="a whole cluster")

    def _line(self, node, reader):
        number = self.nodes.index(node)
        master = self.nodes[number - MASTERS] if number >= MASTERS else None
        slots = None if master else (number * SLOTS // MASTERS, (number + 1) * SLOTS // MASTERS - 1)
        return node.line(node is reader, master, slots)

    @property
    def url(self):
        places = ",".join(f"127.0.0.1:{node.told_port}" for node in self.nodes[:2])
        return f"{self._scheme}://{places}"

    def is_whole(self):
        """True where each node knows that all slots are served, and each replica follows its master."""
        return all(node.info("cluster")["cluster_enabled"] == "1"
                   and "cluster_state:ok" in node.say("CLUSTER", "INFO")
                   and node.info("replication").get("master_link_status", "up") == "up" for node in self.nodes)

    def live(self):
        return [node for node in self.nodes if node.is_running()]

    def masters(self):
        return [node for node in self.live() if node.info("replication")["role"] == "master"]

    def owner(self, key):
        """The master that has the slot of `key`."""
        slot = self.live()[0].say("CLUSTER", "KEYSLOT", key)
        for first, last, master, *_ in self.live()[0].say("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if master[1] in (node.port, node.tls_port))
        raise AssertionError(f"nobody has slot {slot}")

    def replica_of(self, master):
        return next(one for one in self.live() if one.info("replication").get("master_port") == str(master.told_port))

    def replicated(self, master):
        """Waits until its replica has all that it has now."""
        wanted = int(master.info("replication")["master_repl_offset"])
        replica = self.replica_of(master)
        eventually(lambda: int(replica.info("replication")["slave_repl_offset"]) >= wanted, READY_TIMEOUT_S,
                   what="replication")

    def homes(self, kind=""):
        """The counters' keys in all masters."""
        return sorted(key for node in self.masters() for key in node.say("KEYS", f"aq:{{{kind}*"))

    def empty(self):
        for node in self.masters():
            node.say("FLUSHALL")

    def kill(self, node):
        """Kills a master, and has the others see it soon. Returns its replica, which is to be master then."""
        heir = self.replica_of(node)
        for one in self.live():
            one.say("CONFIG", "SET", "cluster-node-timeout", HASTY_MS)
        node.kill()
        return heir

    def durable(self, *nodes):
        """Has them sync each answer, until mend()."""
        for node in nodes:
            node.say("CONFIG", "SET", "appendonly", "yes", "appendfsync", "always")

    def mend(self):
        """Starts what was killed, and waits until all are as patient and whole as at the start."""
        for node in self.nodes:
            if not node.is_running():
                node.start()
            node.say("CONFIG", "SET", "cluster-node-timeout", PATIENT_MS, "appendonly", "no")
        eventually(self.is_whole, READY_TIMEOUT_S, what="a whole cluster")

    def close(self):
        for node in self.nodes:
            node.close()


class Move:
    """The way of a key's slot to another master, step by step."""

    def __init__(self, cluster, key):
        self._cluster, self._source = cluster, cluster.owner(key)
        self.target = next(node for node in cluster.masters() if node is not self._source)
        self._slot = self._source.say("CLUSTER", "KEYSLOT", key)

    def begin(self):
        """From here on new keys of the slot are at the target: the source answers ASK."""
        self.target.say("CLUSTER", "SETSLOT", self._slot, "IMPORTING", self._source.id)
        self._source.say("CLUSTER", "SETSLOT", self._slot, "MIGRATING", self.target.id)

    def keys(self):
        """The keys that are there go over."""
        while keys := self._source.say("CLUSTER", "GETKEYSINSLOT", self._slot, 100):
            for key in keys:
                self._source.say("MIGRATE", "127.0.0.1", self.target.port, key, 0, 5000)

    def end(self):
        """The target has the slot: the source answers MOVED."""
        for node in (self.target, self._source, *self._cluster.masters()):
            node.say("CLUSTER", "SETSLOT", self._slot, "NODE", self.target.id)
