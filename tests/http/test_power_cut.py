# SPDX-License-Identifier: Apache-2.0
"""A power cut at any moment loses nothing that a client was told: neither a batch that was acknowledged, nor its body, nor
the result of one that was over. The states a disk may be in are built by harness/power_cut.py."""

import collections
import hashlib
import json
import os
import pathlib
import random
import shutil
import sqlite3
import subprocess
import tempfile
import threading

import pytest

from harness import batches, paths, power_cut
from harness.waiting import eventually, wait_until

LONG = os.environ.get("AQ_LONG") == "1"
CUTS = 600 if LONG else 60
RECOVERIES = 12 if LONG else 2
CLIENTS = 4
UPLOADS = 60 if LONG else 15
BODY_SIZES = (1, 700, 30000, 150000)

pytestmark = pytest.mark.skipif(not power_cut.is_possible(), reason="a sanitizer's runtime takes the calls that are noted")

# What a client knows of a batch: from which moment on, and what.
Promise = collections.namedtuple("Promise", "moment id sha256 status result_sha256")


class ClientThread(threading.Thread):
    """Uploads and polls one batch after the other, cancels some, and notes each promise with its moment."""

    def __init__(self, web, key, log, number):
        super().__init__()
        self._web, self._key, self._log, self._rng = web, key, log, random.Random(number)
        self.promises = []

    def _note(self, batch):
        over = batch["status"] in batches.OVER
        result = (batch["response"] or {}).get("sha256") if over and batch.get("response") else None
        self.promises.append(Promise(self._log.moment(), batch["id"], batch["request"]["sha256"],
                                     batch["status"] if over else None, result))
        return over

    def run(self):
        for number in range(UPLOADS):
            body = b"%s %d\n" % (self.name.encode(), number) + self._rng.randbytes(self._rng.choice(BODY_SIZES))
            answer = self._web.post("/v1/imports", body=body, key=self._key)
            assert answer.status == 202, answer
            url = answer.headers["Location"]
            self._note(answer.json())
            assert answer.json()["request"]["sha256"] == hashlib.sha256(body).hexdigest()
            if self._rng.random() < 0.2:
                self._web.post(url + "/cancel", body=b"", key=self._key)
            if self._rng.random() < 0.6:
                eventually(lambda: self._note(self._web.get(url, key=self._key).json()), timeout_s=30, what="its end")


History = collections.namedtuple("History", "root records promises runtime")
KEPT = []  # the history, once there is one: the tests of this file read it, and change nothing


@pytest.fixture
def history(server, keys, backend):
    """What was noted of a server under load, and what its clients were promised meanwhile."""
    if not KEPT:
        key = keys.add("acme")
        web = server(batches.conf(backend.url + "/echo"), keys=keys, start=False)
        log = power_cut.WriteLog(web)
        web.start()
        clients = [ClientThread(web, key, log, number) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        promises = [promise for client in clients for promise in client.promises]
        assert len({promise.id for promise in promises}) == CLIENTS * UPLOADS, "a client failed"
        web.stop()
        KEPT.append(History(web.root.state, list(log.records()), promises,
                            json.loads((web.root.state / "runtime.json").read_text())))
    return KEPT[0]


def rows_of(database):
    """The rows of a queue after its recovery, by ID; an empty one where the file or its tables are not there yet."""
    if not database.exists():
        return {}
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        known = connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'batches'").fetchone()[0]
        return {row["id"]: row for row in connection.execute("SELECT * FROM batches")} if known else {}
    finally:
        connection.close()


def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def broken(promise, rows, spool):
    """What of a promise does not hold, or None."""
    row = rows.get(promise.id)
    if row is None:
        return f"{promise.id} is lost"
    if row["request_sha256"] != promise.sha256 or sha256_of(spool / "body" / promise.id) != promise.sha256:
        return f"{promise.id}: its body is lost"
    if promise.status and row["status"] != promise.status:
        return f"{promise.id} was {promise.status} and is {row['status']}"
    result = spool / "result" / f"{promise.id}.{row['result_token']}"
    if promise.result_sha256 and sha256_of(result) != promise.result_sha256:
        return f"{promise.id}: its result is lost"
    return None


def losses(state, promises, moment):
    """What a client was told by then and does not hold in this state; and rows that promise what is not there."""
    folder = state / "batches"
    try:
        rows = rows_of(folder / "queue.db")
    except (sqlite3.DatabaseError, AssertionError) as error:
        return [f"the queue cannot be read: {error}"]
    found = [broken(promise, rows, folder / "spool") for promise in promises if promise.moment <= moment]
    for row in rows.values():
        if sha256_of(folder / "spool" / "body" / row["id"]) != row["request_sha256"]:
            found.append(f"{row['id']} has a row and no whole body")
    return [sentence for sentence in found if sentence]


def cut_many(history, folder, cuts, hows, is_void=None, seed=1):
    """Plays the cut at so many random moments: {how: losses}. The folder is used anew for each state."""
    rng = random.Random(seed)
    moments = sorted(rng.sample(range(len(history.records)), min(cuts, len(history.records))))
    disk, found, at = power_cut.Disk(history.root, is_void), {how: [] for how in hows}, 0
    for number, index in enumerate(moments):
        for record in history.records[at:index + 1]:
            disk.play(record)
        at = index + 1
        how = hows[number % len(hows)]
        state = folder / "state"
        disk.state(how, rng, state)
        found[how] += losses(state, history.promises, history.records[index][0])
        shutil.rmtree(state)
    return found


def test_power_cut_loses_nothing_that_was_acknowledged(history, tmp_path):
    assert len(history.records) > 1000 and any(promise.result_sha256 for promise in history.promises)
    found = cut_many(history, tmp_path, CUTS, ("nothing", "some", "all"))
    assert found == {"nothing": [], "some": [], "all": []}


@pytest.mark.parametrize("what, is_void", [
    ("no sync at all", lambda path: True),
    ("bodies as they arrive", lambda path: "/spool/incoming/" in path),
    ("the folder of bodies", lambda path: path.endswith("/spool/body")),
    ("the folder of results", lambda path: path.endswith("/spool/result")),
    ("the queue's log", lambda path: path.endswith("/queue.db-wal")),
    ("the folder of the queue", lambda path: path.endswith("/batches")),
    ("the state folder", lambda path: path.endswith("/state")),
], ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "")
def test_power_cut_is_noticed_where_a_sync_is_left_out(history, tmp_path, what, is_void):
    found = cut_many(history, tmp_path, 30, ("nothing",), is_void)
    assert found["nothing"], f"{what}: nobody noticed"


def own(folder):
    """Gives what was built to httpd's user, as whom the worker runs."""
    if paths.AS_ROOT:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, paths.HTTPD_USER, paths.HTTPD_USER)


def recover(history, state, backend):
    """Runs a worker on a state until all its batches are over; returns their rows."""
    settings = history.runtime["worker"]
    settings.update(queue_file=str(state / "batches" / "queue.db"), spool_folder=str(state / "batches" / "spool"))
    for location in settings["locations"].values():
        location["target"] = backend.url + "/import"
    (state / "runtime.json").write_text(json.dumps({"worker": settings}))
    own(state)
    user = {"user": paths.HTTPD_USER, "group": paths.HTTPD_USER, "extra_groups": []} if paths.AS_ROOT else {}
    worker = subprocess.Popen([paths.WORKER, "--state-dir", state, "--log-level", "warn"], stdin=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, **user)
    def all_over():
        return all(row["status"] in batches.OVER for row in batches.rows_of(state / "batches" / "queue.db"))
    is_over = wait_until(all_over, timeout_s=60, interval_s=0.1)
    worker.terminate()
    said = worker.communicate(timeout=20)[1].decode()
    assert is_over and not said, said
    return rows_of(state / "batches" / "queue.db")


@pytest.fixture
def open_folder():
    """A folder that httpd's user can come to, other than pytest's own."""
    with tempfile.TemporaryDirectory(prefix="apiquota-cut-") as folder:
        os.chmod(folder, 0o755)
        yield pathlib.Path(folder)


def test_power_cut_is_recovered_from_by_the_worker(history, backend, open_folder):
    rng = random.Random(7)
    for number in range(RECOVERIES):
        index = rng.randrange(len(history.records) // 3, len(history.records))
        disk = power_cut.Disk(history.root)
        for record in history.records[:index + 1]:
            disk.play(record)
        state = open_folder / f"recovered-{number}"
        disk.state("some", rng, state)
        moment = history.records[index][0]
        assert losses(state, history.promises, moment) == []
        known = {promise.id for promise in history.promises if promise.moment <= moment}
        rows = recover(history, state, backend)
        assert known <= set(rows) and {row["status"] for row in rows.values()} <= {"succeeded", "canceled"}
