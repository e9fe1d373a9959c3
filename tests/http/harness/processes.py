# SPDX-License-Identifier: Apache-2.0
"""Which processes belong to a server, read from /proc, and how to see them end.

A process belongs to a server if it is in the process group of its parent process, descends from it,
carries the server's tag in its environment, or was seen to belong earlier: so a worker in a session of
its own is found too, and so is what outlives a killed parent. Nothing else is ever signalled.

The test process is a child subreaper: orphans become its children, and are reaped.
"""

import collections
import ctypes
import os
import pathlib
import signal

from .waiting import wait_until

TAG_VARIABLE = "APIQUOTA_TEST_SERVER"
PR_SET_CHILD_SUBREAPER = 36

Process = collections.namedtuple("Process", "pid parent group state name threads started")


def become_subreaper():
    """Makes orphaned descendants children of this process."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def read_process(pid):
    """The Process of this ID, or None if it has gone."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    before, _, after = stat.rpartition(")")
    fields = after.split()
    return Process(int(pid), int(fields[1]), int(fields[2]), fields[0], before.partition("(")[2],
                   int(fields[17]), int(fields[19]))


def is_alive(process):
    """False for zombies. A killed process whose first thread is a zombie, while others still end, lives:
    it holds its sockets."""
    return process.state not in "ZX" or process.threads > 1


def is_stopped(pid):
    """Every thread of it stands still."""
    try:
        texts = [stat.read_text() for stat in pathlib.Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:
        return False  # a thread has ended amid it
    return {text.rpartition(")")[2].split()[0] for text in texts} == {"T"}


def has_ended(pid):
    """It is gone, or a zombie that somebody has yet to reap."""
    process = read_process(pid)
    return process is None or not is_alive(process)


def all_processes():
    """Every process of the machine, zombies among them."""
    found = (read_process(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return [process for process in found if process]


class Family:
    """The processes of the server whose environment carries `tag`."""

    def __init__(self, tag):
        self._tag, self._leader, self._seen = tag, None, set()

    def led_by(self, parent_pid):
        """Tells the process that the server was started as."""
        self._leader = parent_pid

    def living(self):
        """Those that live, by ID; dead ones are reaped, but for the leader, who is its starter's."""
        if self._leader is None:
            return {}
        everything = all_processes()
        ids = _with_descendants({p.pid for p in everything if self._is_ours(p)}, everything)
        ours = [p for p in everything if p.pid in ids and p.pid != os.getpid()]
        self._seen |= {(p.pid, p.started) for p in ours}
        _reap({p.pid for p in ours if not is_alive(p)} - {self._leader})
        return {p.pid: p for p in ours if is_alive(p)}

    def wait_gone(self, timeout_s):
        """Waits until none lives; returns those that still do."""
        wait_until(lambda: not self.living(), timeout_s)
        return self.living()

    def kill(self, timeout_s=30.0):
        """Kills (SIGKILL) each of them until none is left; returns those that are."""
        def none_left():
            living = self.living()
            for pid in living:
                send_signal(pid, signal.SIGKILL)
            return not living
        wait_until(none_left, timeout_s)
        return self.living()

    def _is_ours(self, process):
        return (process.group == self._leader or (process.pid, process.started) in self._seen
                or _has_tag(process.pid, self._tag))


def send_signal(pid, number):
    """Signals a process that may have gone; True if it was there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def listens_on_unix_socket(pid, path_prefix):
    """True if the process holds a unix socket bound to a path that starts with `path_prefix`."""
    bound = pathlib.Path("/proc/net/unix").read_text(errors="replace").splitlines()[1:]
    fields = (line.split() for line in bound)
    inodes = {f[6] for f in fields if len(f) > 7 and f[7].startswith(path_prefix)}
    wanted = {f"socket:[{inode}]" for inode in inodes}
    try:
        return any(os.readlink(entry.path) in wanted for entry in os.scandir(f"/proc/{pid}/fd"))
    except OSError:
        return False


def _with_descendants(ids, everything):
    while more := {p.pid for p in everything if p.parent in ids} - ids:
        ids = ids | more
    return ids


def _has_tag(pid, tag):
    try:
        environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{TAG_VARIABLE}={tag}".encode() in environment.split(b"\0")


def _reap(pids):
    for pid in pids:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass
