# SPDX-License-Identifier: Apache-2.0
"""`make demo`: the tour finds everything as it should be, what it imported is there, and nothing is left behind."""

import os
import pathlib
import shutil
import sqlite3
import subprocess
import tempfile

import pytest

from harness import paths, processes, profiles
from harness.client import Client
from harness.ports import PortLease, port_is_free
from harness.waiting import eventually

DEMO = paths.REPOSITORY / "conf" / "demo" / "demo.sh"
TIMEOUT_S = 180
UNICODE_DATA = pathlib.Path("/usr/share/unicode/UnicodeData.txt")


class Demo(Client):
    """A demo in a folder of its own, on a free port."""

    def __init__(self, folder):
        self._lease = PortLease()
        self.port, self.folder = self._lease.port, pathlib.Path(folder) / "demo"

    def run(self, what, **environment):
        ours = {"AQ_BUILD": str(paths.BUILD), "AQ_DEMO": str(self.folder), "PORT": str(self.port), "PACE_MS": "10",
                "AQ_HTTPD_MODULES": str(paths.HTTPD_MODULES), **environment}
        ran = subprocess.run([DEMO, what], env={**os.environ, **ours}, stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, timeout=TIMEOUT_S, check=False)
        return ran.returncode, ran.stdout + ran.stderr

    @property
    def files(self):
        return pathlib.Path((self.folder / "run").read_text().strip())

    def processes(self):
        """Living processes with a path of this demo in their arguments."""
        mark = str(self.files).encode()
        return {p.pid: p for p in processes.all_processes() if mark in read_arguments(p.pid)}

    def close(self):
        self.run("stop")
        self._lease.release()


def read_arguments(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture
def demo():
    """A demo whose folder httpd's user can reach, unlike pytest's own."""
    folder = tempfile.mkdtemp(prefix="apiquota-demo-test-")
    os.chmod(folder, 0o755)
    made = Demo(folder)
    yield made
    made.close()
    shutil.rmtree(folder)


def test_tour_finds_all_as_it_should_be_and_stop_leaves_nothing(demo):
    code, said = demo.run("start")
    assert code == 0, said
    assert "The tour found everything as it should be." in said
    assert "NOT SO" not in said

    lines = sum(1 for _ in UNICODE_DATA.open("rb"))
    with sqlite3.connect(f"file:{demo.files}/data/import.db?mode=ro", uri=True) as database:
        counted = database.execute("SELECT count(*), count(DISTINCT line), count(DISTINCT import_key)"
                                   " FROM characters").fetchone()
    assert counted == (lines, lines, 1)
    assert demo.get("/v1/countries/ET").status == 401, "the demo goes on"

    files, running = demo.files, demo.processes()
    assert {p.name for p in running.values()} == {"apache2", "apiquota-worker", "python3"}
    code, said = demo.run("stop")
    assert code == 0, said
    assert not files.exists()
    assert [pid for pid in running if read_arguments(pid)] == []
    assert port_is_free(demo.port)


@pytest.mark.parametrize("name", sorted(path.stem for path in profiles.FOLDER.glob("*.conf")))
def test_profile_is_served_and_shown(demo, name):
    code, said = demo.run("start", PROFILE=name)
    assert code == 0, said
    assert "The tour found everything as it should be." in said
    assert "NOT SO" not in said
    assert demo.get(profiles.ECHO[name]).status == 401, "the demo goes on"
    assert {p.name for p in demo.processes().values()} - {"apiquota-worker"} == {"apache2", "python3"}
    assert demo.run("stop")[0] == 0


def test_profile_that_is_not_there_is_said_and_nothing_is_started(demo):
    code, said = demo.run("start", PROFILE="../demo/httpd")
    assert code != 0
    assert "there is no profile ../demo/httpd: there are" in said and " waqti" in said
    assert not demo.folder.exists()


def test_stop_without_a_demo_says_so(demo):
    code, said = demo.run("stop")
    assert code == 0
    assert "no demo runs" in said


def test_stop_ends_a_demo_whose_folder_was_removed(demo):
    assert demo.run("start", TOUR="off")[0] == 0
    running = demo.processes()

    def is_removed():
        shutil.rmtree(demo.folder, ignore_errors=True)  # what runs may still write there
        return not demo.folder.exists()
    eventually(is_removed, what="the folder's end")
    code, said = demo.run("stop")
    assert code == 0, said
    assert [pid for pid in running if read_arguments(pid)] == []


def test_port_in_use_is_said_and_nothing_is_started(demo, backend):
    port = backend.url.rpartition(":")[2]
    code, said = demo.run("start", PORT=port)
    assert code != 0
    assert f"port {port} is in use" in said
    assert not demo.folder.exists()


def test_second_start_replaces_the_first_one(demo):
    assert demo.run("start", TOUR="off")[0] == 0
    first = demo.processes()
    assert first
    code, said = demo.run("start", TOUR="off")
    assert code == 0, said
    assert [pid for pid in first if read_arguments(pid)] == []


@pytest.mark.skipif(not paths.AS_ROOT, reason="only root gives httpd another user")
def test_folder_that_httpds_user_cannot_reach_is_avoided(demo):
    os.chmod(demo.folder.parent, 0o700)
    code, said = demo.run("start", TOUR="off")
    assert code == 0, said
    assert "cannot reach" in said
    assert not demo.files.is_relative_to(demo.folder)
    assert demo.get("/v1/countries/ET").status == 401
    files = demo.files
    assert demo.run("stop")[0] == 0
    assert not files.exists()
