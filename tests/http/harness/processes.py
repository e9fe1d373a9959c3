# SPDX-License-Identifier: Apache-2.0
"""Which processes belong to a server, read from /proc, and how to see them end.

A process belongs to a server if it is in the process group of its parent process, descends from it,
or carries the server's tag in its environment: so a worker in a session of its own is found too, and
so is what outlives a killed parent. Only processes found this way are ever signalled.

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

Process = collections.namedtuple("Process", "pid parent group state name")


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
    state, parent, group = after.split()[:3]
    return Process(int(pid), int(parent), int(group), state, before.partition("(")[2])


def all_processes():
    """Every process of the machine, zombies among them."""
    found = (read_process(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return [process for process in found if process]


def family(parent_pid, tag):
    """The living processes of the server that was started as `parent_pid` with `tag`, by ID."""
    everything = all_processes()
    ids = {p.pid for p in everything if p.group == parent_pid or p.pid == parent_pid}
    ids |= {p.pid for p in everything if p.pid not in ids and _has_tag(p.pid, tag)}
    while True:
        more = {p.pid for p in everything if p.parent in ids} - ids
        if not more:
            break
        ids |= more
    ids.discard(os.getpid())
    _reap({p.pid for p in everything if p.pid in ids and p.state == "Z"} - {parent_pid})
    return {p.pid: p for p in everything if p.pid in ids and p.state not in "ZX"}


def wait_gone(find_family, timeout_s):
    """Waits until `find_family()` is empty; returns those that are still there."""
    wait_until(lambda: not find_family(), timeout_s)
    return find_family()


def kill_all(find_family, timeout_s=5.0):
    """Kills (SIGKILL) each process that `find_family()` names, until there is none."""
    def none_left():
        living = find_family()
        for pid in living:
            send_signal(pid, signal.SIGKILL)
        return not living
    return bool(wait_until(none_left, timeout_s))


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
