# SPDX-License-Identifier: Apache-2.0
"""The counter file over the ends of those who use it: restarts under load, kills of everybody, other sizes, disks that are
full or cannot be written."""

import os
import pathlib
import subprocess

import pytest

from harness import confs, paths
from harness.callers import Callers
from harness.client import statuses
from harness.waiting import eventually

LONG = os.environ.get("AQ_LONG") == "1"
ITEM = "/v1/item.json"
PLENTY = 10_000_000
TOTAL = confs.plan("basic", f"all {PLENTY}/total headers=primary") + confs.location("/v1")
CALLERS = 6


@pytest.fixture
def key(keys):
    return keys.add("acme")


def used(web, key):
    """How much of PLENTY the key had used before this request, which costs one itself."""
    answer = web.get(ITEM, key=key)
    assert answer.status == 200, answer
    return PLENTY - int(answer.headers["X-RateLimit-Remaining"]) - 1


# ---- restarts and kills --------------------------------------------------------------------------

RESTARTS, WARM = (500, 50) if LONG else (12, 4)
# Seven restarts took 12 kB when this was written.
GROWTH_KB_A_RESTART = 8
# An allocator takes more now and then, and keeps it.
GROWTH_KB_ONCE = 512


def held(pid):
    """What a process holds: descriptors, shared mappings, private memory in kB."""
    proc = pathlib.Path(f"/proc/{pid}")
    shared = sum(line.split()[1][3] == "s" for line in (proc / "maps").read_text().splitlines())
    private = next(line for line in (proc / "status").read_text().splitlines() if line.startswith("RssAnon"))
    return len(list((proc / "fd").iterdir())), shared, int(private.split()[1])


def test_f03_graceful_restarts_under_load_lose_no_request_and_let_nothing_grow(server, keys, key):
    web = server(TOTAL, keys=keys, worker=True)
    with Callers(web, key, CALLERS, once=True) as callers:
        for restart in range(RESTARTS):
            before = callers.answered
            web.graceful(wait_for_old=False, timeout_s=60)
            eventually(lambda: callers.answered > before, 30, "an answer after the restart")
            if restart == WARM:
                warm = held(web.pid)
    # At any moment a descriptor may be on its way to the worker.
    eventually(lambda: all(now <= before for now, before in zip(held(web.pid)[:2], warm)), 30, "as few descriptors as before")
    assert (callers.lost, callers.hung, callers.others) == (0, 0, [])
    assert used(web, key) == callers.answered
    if not paths.sanitizer_preload():  # which keep what was freed
        assert held(web.pid)[2] - warm[2] <= GROWTH_KB_A_RESTART * (RESTARTS - WARM) + GROWTH_KB_ONCE


KILLS = 200 if LONG else 8


def test_f04_parent_and_orphans_killed_again_and_again_start_again_and_keep_their_counts(server, keys, key):
    web = server(TOTAL, keys=keys)
    with Callers(web, key, CALLERS, dead_ok=True) as callers:
        for kill in range(KILLS):
            before = callers.answered
            eventually(lambda: callers.answered > before + CALLERS, 30, f"answers after {kill} kills")
            web.kill9_parent_and_orphans()
            web.start()
    assert (callers.hung, callers.others) == (0, [])
    assert callers.lost > 0, "no kill met a request"
    assert callers.answered <= used(web, key) <= callers.answered + callers.lost


# ---- sizes ---------------------------------------------------------------------------------------

def of_size(size):
    return f"APIQuotaStore shm size={size}\n" + TOTAL


@pytest.mark.parametrize("how, size", [("graceful", "2m"), ("restart", "256k")])
def test_f07_another_size_waits_for_a_full_stop_and_then_carries_the_counts_over(server, keys, how, size):
    callers = [keys.add("acme", id=f"k_{i}") for i in range(30)]
    web = server(of_size("1m"), keys=keys)
    file = web.root.state / "counters"
    for number, one in enumerate(callers):
        assert statuses(web.burst(number % 3 + 1, ITEM, concurrency=1, key=one)) == {200: number % 3 + 1}
    web.write_conf(of_size(size))
    web.expect_log(r"AQ00302: counter file \S+/counters: its size stays 1048576 bytes", must=True)
    getattr(web, how)()
    assert file.stat().st_size == 1 << 20
    assert [used(web, one) for one in callers] == [number % 3 + 1 for number in range(30)]
    web.stop()
    web.start()
    assert file.stat().st_size == {"2m": 2 << 20, "256k": 256 << 10}[size]
    assert web.log.matching(r"AQ00301: .*the counters were carried over")
    assert [used(web, one) for one in callers] == [number % 3 + 2 for number in range(30)]


# ---- disks ---------------------------------------------------------------------------------------

# Room for the metrics and little else.
disk = pytest.mark.parametrize("small_tmpfs", ["6m"], indirect=True)


def on(folder, size):
    """The state on a disk of its own: the last of two directives holds."""
    return f'APIQuotaStateDir "{folder}"\n' + of_size(size)


def fill(folder):
    """Takes what is left of a file system, and returns the file that does."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
    assert os.statvfs(folder).f_bavail == 0
    return filler


@disk
def test_f10_no_room_for_the_counters_is_a_start_up_error_that_leaves_no_half_file(small_tmpfs, server, keys, key):
    web = server(on(small_tmpfs, "8m"), keys=keys, start=False)
    said = web.start_fails()
    assert f"{small_tmpfs}/counters: 8388608 bytes cannot be allocated for it: No space left on device" in said
    assert [file.name for file in small_tmpfs.iterdir()] == ["counters.lock"]
    web.write_conf(on(small_tmpfs, "256k"))
    web.start()
    assert used(web, key) == 0


@disk
def test_f10_disk_that_fills_up_while_httpd_runs_costs_no_counter_and_no_child(small_tmpfs, server, keys):
    callers = [keys.add(f"t{i // 50}", id=f"k_{i}") for i in range(300)]
    web = server(on(small_tmpfs, "256k"), keys=keys)
    children = web.child_pids()
    filler = fill(small_tmpfs)
    # More counters than pages: the file's space was allocated when it was made, so that no page of it can be missing.
    with web.session() as session:
        assert [session.get(ITEM, key=one).status for one in callers] == [200] * 300
    assert web.child_pids() == children and not web.log.matching("exit signal")
    web.stop()
    said = web.start_fails()
    assert "No space left on device" in said and str(small_tmpfs) in said
    filler.unlink()
    web.start()
    assert [used(web, one) for one in callers] == [1] * 300


@disk
def test_f10_folder_that_cannot_be_written_is_a_start_up_error(small_tmpfs, server, keys):
    web = server(on(small_tmpfs, "256k"), keys=keys, start=False)
    subprocess.run(["mount", "-o", "remount,ro", str(small_tmpfs)], check=True)
    said = web.start_fails()
    assert "Read-only file system" in said and str(small_tmpfs) in said
