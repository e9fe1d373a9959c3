# SPDX-License-Identifier: Apache-2.0
"""The worker as httpd's parent keeps it: started, watched, started again, told of new settings, and ended."""

import json
import os
import pathlib
import pwd

import pytest

from harness import batches, paths, processes
from harness.waiting import eventually, wait_until

ENDED = r"AQ01305: apiquota-worker \(process \d+\) ended with status"
LINES = b"".join(b"row %d\n" % number for number in range(3000))


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def running(server, keys, key, backend):
    def make(*lines, before="", **fields):
        return server(before + batches.conf(backend.url + "/import", *lines), keys=keys, **fields)
    return make


def descriptors(pid, prefix):
    """What the process holds open whose name begins so."""
    names = set()
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            names.add(os.readlink(entry.path))
        except FileNotFoundError:
            continue  # closed meanwhile
    return {name for name in names if name.startswith(prefix)}


def worker_of(web):
    """The worker's process ID, as soon as there is one."""
    return eventually(web.worker_pid, what="a worker")


def held_job(web, key, backend):
    """A batch whose target stands still in its midst; returns its URL."""
    backend.hold_import(after_lines=1000)
    url = batches.submit(web, key, body=LINES)
    backend.wait_held()
    return url


def imported_once(web, key, backend, url):
    """The batch succeeds, and the backend has each row once; returns it."""
    batch = batches.wait_over(web, key, url)
    assert batch["status"] == "succeeded", batch
    assert b"".join(line + b"\n" for line in backend.store.lines(batch["id"])) == LINES
    return batch


@pytest.mark.mpm_all
def test_worker_runs_as_httpds_user_in_a_session_of_its_own_without_httpds_sockets(running):
    web = running()
    pid = worker_of(web)
    # Between fork and exec it has its name already, but is still the parent's copy.
    eventually(lambda: os.readlink(f"/proc/{pid}/exe").endswith("apiquota-worker"), what="the worker's program")
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    uid = pwd.getpwnam(paths.HTTPD_USER).pw_uid if paths.AS_ROOT else os.geteuid()
    assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in status
    assert os.getsid(pid) == pid and os.getpgid(pid) == pid != os.getpgid(web.pid)
    # Sockets of its own: httpd hands a new error log over one, and over a pair libcurl wakes the thread of webhooks.
    assert len(descriptors(pid, "socket:")) in (1, 3) and not descriptors(pid, "socket:") & descriptors(web.pid, "socket:")
    assert not descriptors(pid, str(web.root.state / "counters"))


def test_no_worker_where_nothing_takes_batches_or_where_it_is_off(server, keys, key, backend):
    assert server(batches.PLAN, keys=keys).worker_pid() is None
    web = server(batches.conf(backend.url), keys=keys, worker=False)
    batches.submit(web, key)
    assert web.worker_pid() is None and web.get("/item.json").status == 200


@pytest.mark.mpm_all
def test_killed_worker_is_started_again_and_its_job_is_done_once(running, key, backend):
    web = running()
    url, first = held_job(web, key, backend), worker_of(web)
    web.expect_log(ENDED + " 9; it is started again in 1 s", must=True)
    processes.send_signal(first, 9)
    backend.release()
    batch = imported_once(web, key, backend, url)
    assert batch["attempt"] == 2
    assert worker_of(web) != first


@pytest.mark.mpm_all
@pytest.mark.parametrize("how", ["graceful", "restart"])
def test_restart_of_httpd_amid_a_job_leaves_worker_and_job_alone(running, key, backend, how):
    web = running()
    url, first = held_job(web, key, backend), worker_of(web)
    getattr(web, how)()
    assert worker_of(web) == first
    backend.release()
    assert imported_once(web, key, backend, url)["attempt"] == 1
    assert worker_of(web) == first


def test_worker_that_outlived_a_restart_is_watched_and_ended_by_the_new_configuration(running, key, backend):
    web = running()
    first = worker_of(web)
    for _ in range(3):
        web.graceful()
    assert worker_of(web) == first
    web.expect_log(ENDED, must=True)
    processes.send_signal(first, 9)
    second = eventually(lambda: web.worker_pid() not in (None, first) and web.worker_pid())
    assert second != first
    imported_once(web, key, backend, batches.submit(web, key, body=LINES))
    web.stop()
    assert web.family() == {}


@pytest.mark.parametrize("is_started", [True, False], ids=["started", "starting"])
@pytest.mark.parametrize("how", ["graceful", "restart"])
def test_worker_writes_to_the_new_error_log_after_a_rotation(running, how, is_started):
    """One that is still starting, too: it reads the new settings at once, and is told of the log before it listens."""
    web = running()
    first = worker_of(web)
    if is_started:
        web.log.wait_for(r"AQ00600")
    log = web.root.path / "logs" / "error.log"
    eventually(lambda: log.stat().st_ino in {os.stat(f"/proc/{first}/fd/2").st_ino})
    log.rename(log.with_name("error.log.1"))
    log.touch()
    getattr(web, how)()
    eventually(lambda: os.stat(f"/proc/{first}/fd/2").st_ino == log.stat().st_ino, what="the new log")
    if is_started:
        web.log.wait_for(r"AQ00603")
    assert worker_of(web) == first


def test_new_target_is_in_force_after_a_graceful_restart(running, key, backend):
    web = running()
    first = worker_of(web)
    # One that is still starting reads the new settings at once, and has nothing to read again.
    web.log.wait_for(r"AQ00600")
    web.write_conf(batches.conf(backend.url + "/echo"))
    web.graceful()
    web.log.wait_for(r"AQ00603")
    batch = batches.wait_over(web, key, batches.submit(web, key))
    assert batch["status"] == "succeeded" and len(backend.seen("/echo")) == 1
    assert worker_of(web) == first


def test_worker_is_replaced_where_it_cannot_change(running, key, backend):
    web = running()
    first = worker_of(web)
    web.write_conf("APIQuotaWorker on threads=2\n" + web.spec.conf)
    web.graceful()
    second = worker_of(web)
    assert second != first and not processes.read_process(first)
    imported_once(web, key, backend, batches.submit(web, key, body=LINES))


def test_worker_goes_and_comes_with_the_configuration(running, key, backend):
    web = running()
    worker_of(web)
    with_worker = web.spec.conf
    web.write_conf(with_worker + "APIQuotaWorker off\n")
    web.graceful()
    assert web.worker_pid() is None
    url = batches.submit(web, key, body=LINES)
    assert web.get(url, key=key).json()["status"] == "queued"
    web.write_conf(with_worker)
    web.graceful()
    imported_once(web, key, backend, url)


@pytest.mark.mpm_all
def test_graceful_stop_ends_the_worker(running):
    web = running()
    worker_of(web)
    web.stop(graceful=True)
    assert web.family() == {}


def test_stop_ends_the_worker_and_its_job_is_done_after_the_next_start(running, key, backend):
    web = running()
    url = held_job(web, key, backend)
    web.stop()
    assert web.family() == {}
    row = batches.rows(web)[0]
    assert row["status"] == "queued" and row["attempt"] == 0
    backend.release()
    web.start()
    assert imported_once(web, key, backend, url)["attempt"] == 1


def test_worker_ends_when_httpds_parent_is_killed(running):
    web = running()
    pid = worker_of(web)
    web.kill9_parent()
    assert wait_until(lambda: not processes.read_process(pid) or processes.read_process(pid).state == "Z", 60)
    web.kill9_parent_and_orphans()


def test_program_that_ends_at_once_is_started_less_and_less_often(server, keys, backend):
    web = server('APIQuotaWorkerProgram "${ROOT}/broken"\n' + batches.conf(backend.url), keys=keys, start=False)
    program = web.root.path / "broken"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    web.expect_log(ENDED + " 3;")
    web.start()
    web.log.wait_for(r"status 3; it is started again in 4 s")
    said = [int(line.split(" in ")[1].split()[0]) for line in web.log.matching(ENDED)]
    assert said[:3] == [1, 2, 4]
    web.stop()


def test_graceful_restart_with_a_program_that_is_gone_does_not_end_httpd(running, key, backend):
    web = running()
    worker_of(web)
    web.write_conf(f'APIQuotaWorkerProgram "{web.root.path}/none"\n' + web.spec.conf)
    web.expect_log(r"AQ01306", must=True)
    web.graceful()
    assert web.get("/item.json").status == 200
    web.stop()
    assert web.family() == {}


def test_worker_learns_of_queue_spool_and_targets_from_a_file_that_others_cannot_write(running, backend):
    web = running("APIQuotaBatchAttempts 7", "APIQuotaBatchTimeout 90s", "APIQuotaBatchRetention 2d",
                  "APIQuotaBatchTargetIdempotent Off", before="APIQuotaSpool spool max=1g\n")
    file = web.root.state / "runtime.json"
    assert file.stat().st_uid == os.geteuid() and file.stat().st_mode & 0o137 == 0
    told = json.loads(file.read_text())["worker"]
    assert told["locations"] == {"127.0.0.1/v1/imports": {
        "target": backend.url + "/import", "timeout_ms": 90000, "max_attempts": 7, "target_is_idempotent": False,
        "retention_ms": 2 * 86400000, "result_retention_ms": 0,
        "max_wait_ms": 86400000, "concurrency": 0, "concurrency_is_of_all": False, "wants_webhook": False,
        "items_parallel": 4, "items_gap_us": 0, "items_timeout_ms": 30000}}
    assert told["spool_folder"] == str(web.root.path / "spool") and told["spool_max_bytes"] == 1 << 30
    assert told["threads"] == 4 and told["spool_keep_percent"] == 90
