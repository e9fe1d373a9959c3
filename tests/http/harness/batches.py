# SPDX-License-Identifier: Apache-2.0
"""What tests of batches share: a roomy plan, submitting and waiting, and a look at what lies on disk."""

import collections
import os
import pathlib
import shutil
import sqlite3
import tempfile

from . import confs
from .waiting import eventually, wait_until

STATUS_PATH = "/v1/batches"
PLAN = confs.plan("basic", "minute 1000000/minute headers=primary")
OVER = ("succeeded", "failed", "canceled")

Left = collections.namedtuple("Left", "incoming body result rows")
NOTHING_LEFT = Left([], [], [], [])


def conf(target, *lines, path="/v1/imports"):
    """A plan without bounds and one batch location for `target`."""
    return PLAN + confs.batch(path, target, *lines)


def submit(web, key, body=b"one\ntwo\n", path="/v1/imports", **how):
    """Uploads a batch that has to be taken; returns its URL."""
    answer = web.post(path, body=body, key=key, **how)
    assert answer.status == 202, answer
    return answer.headers["Location"]


def wait_over(web, key, url, timeout_s=30.0):
    """Polls until the batch is over; returns it."""
    def over():
        answer = web.get(url, key=key)
        assert answer.status == 200, answer
        batch = answer.json()
        return batch if batch["status"] in OVER else None
    batch = wait_until(over, timeout_s, interval_s=0.02)
    assert batch, f"{url} was not over within {timeout_s} s: {web.get(url, key=key).text}"
    return batch


def wait_status(web, key, url, status, timeout_s=30.0):
    """Polls until the batch has this status; returns it."""
    def reached():
        batch = web.get(url, key=key).json()
        return batch if batch["status"] == status else None
    batch = wait_until(reached, timeout_s, interval_s=0.02)
    assert batch, f"{url} was not {status} within {timeout_s} s: {web.get(url, key=key).text}"
    return batch


def get_served(web, key, path, timeout_s=60.0):
    """What is answered with 200 by a process that has found the queue again, as each does for itself."""
    def served():
        answer = web.get(path, key=key)
        assert answer.status in (200, 503), answer
        return answer.json() if answer.status == 200 else None
    return eventually(served, timeout_s, what="the queue")


def folder(web):
    return web.root.state / "batches"


def rows(web):
    """The job rows as dicts."""
    return rows_of(folder(web) / "queue.db")


def rows_of(database):
    """The job rows of a queue, read from a copy: root must not make files beside a live database."""
    if not database.is_file():
        return []
    with tempfile.TemporaryDirectory(prefix="apiquota-queue-") as copy:
        assert wait_until(lambda: _copied(database, copy), 30), "the queue never rests"
        connection = sqlite3.connect(os.path.join(copy, "queue.db"))
        connection.row_factory = sqlite3.Row
        try:
            tables = [name for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'batch%'")]
            return [dict(row) for table in tables for row in connection.execute(f"SELECT * FROM {table}")]
        finally:
            connection.close()


def _copied(database, copy):
    """Copies a queue with its log; True where neither changed meanwhile, so that the two belong together."""
    files = [database, database.with_name(database.name + "-wal")]

    def state():
        found = [file.stat() if file.exists() else None for file in files]
        return [(one.st_ino, one.st_size, one.st_mtime_ns) if one else None for one in found]
    try:
        before = state()
        for file, known in zip(files, before):
            target = pathlib.Path(copy) / file.name.replace(database.name, "queue.db")
            target.unlink(missing_ok=True)
            if known:
                shutil.copyfile(file, target)
        return state() == before
    except FileNotFoundError:
        return False  # SQLite has just removed its log


def left(web, spool=None):
    """What is on the spool and in the queue, by name; NOTHING_LEFT where there is nothing."""
    spool = pathlib.Path(spool) if spool else folder(web) / "spool"
    files = [sorted(file.name for file in (spool / part).iterdir()) for part in ("incoming", "body", "result")]
    return Left(*files, [row["id"] for row in rows(web)])
