# SPDX-License-Identifier: Apache-2.0
"""What tests of batches share: a roomy plan, submitting and waiting, and a look at what lies on disk."""

import collections
import os
import pathlib
import shutil
import sqlite3
import tempfile

from . import confs
from .waiting import wait_until

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
        for suffix in ("", "-wal"):
            source = database.with_name(database.name + suffix)
            if source.exists():
                shutil.copyfile(source, os.path.join(copy, "queue.db" + suffix))
        connection = sqlite3.connect(os.path.join(copy, "queue.db"))
        connection.row_factory = sqlite3.Row
        try:
            tables = [name for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'batch%'")]
            return [dict(row) for table in tables for row in connection.execute(f"SELECT * FROM {table}")]
        finally:
            connection.close()


def left(web, spool=None):
    """What is on the spool and in the queue, by name; NOTHING_LEFT where there is nothing."""
    spool = pathlib.Path(spool) if spool else folder(web) / "spool"
    files = [sorted(file.name for file in (spool / part).iterdir()) for part in ("incoming", "body", "result")]
    return Left(*files, [row["id"] for row in rows(web)])
