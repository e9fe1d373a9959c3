# SPDX-License-Identifier: Apache-2.0
"""Fixtures, markers and the guard that judges every server after every test.

conftest.py imports all of it; `pytest -p harness.fixtures` serves a folder without a conftest.
"""

import dataclasses
import os
import pathlib
import subprocess
import tempfile

import pytest

from . import paths, processes
from .backend import Backend, DeadBackend
from .cluster import Cluster
from .httpd import Httpd
from .keys import Keys
from .redis import Redis
from .serverroot import MPM_CONF, Spec

LOG_LINES_SHOWN = 60
MUST_COME_S = 30.0
LIVE_SERVERS = pytest.StashKey()


def pytest_configure(config):
    config.stash[LIVE_SERVERS] = []
    processes.become_subreaper()
    config.addinivalue_line("markers", "mpm_all: runs under each of event, worker and prefork")
    config.addinivalue_line("markers", "long: takes minutes; only with AQ_LONG=1")


def pytest_generate_tests(metafunc):
    if metafunc.definition.get_closest_marker("mpm_all"):
        metafunc.parametrize("mpm", sorted(MPM_CONF), indirect=True)


def pytest_runtest_setup(item):
    if item.get_closest_marker("long") and os.environ.get("AQ_LONG") != "1":
        pytest.skip("takes minutes: AQ_LONG=1 runs it")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Attaches configuration and error log of the live servers to the report of a failed test."""
    report = (yield).get_result()
    if report.failed and report.when != "teardown":
        for server in item.config.stash[LIVE_SERVERS]:
            report.sections += sections_of(server)


def sections_of(server):
    """What a failed test's report shows of a server."""
    return [(f"test.conf of {server.root.path.name}", server.spec.conf),
            (f"stderr of {server.root.path.name}", server.console.tail(LOG_LINES_SHOWN)),
            (f"error log of {server.root.path.name}", server.log.tail(LOG_LINES_SHOWN))]


@pytest.fixture(scope="module")
def mpm(request):
    """The MPM that this test runs under: AQ_MPM, or each of them for tests marked mpm_all."""
    return getattr(request, "param", os.environ.get("AQ_MPM") or "event")


@pytest.fixture
def keys():
    """An empty keys file to be filled and given to server(keys=...)."""
    return Keys()


@pytest.fixture
def server(request, mpm):
    """server(conf="", start=True, **fields of Spec) -> Httpd, as many as a test likes."""
    made = []
    yield _factory(request, mpm, made)
    _close(request, made)


@pytest.fixture(scope="module")
def shared_server(request, mpm):
    """As `server`, for servers that all tests of a file share; their log is judged after each test.
    A test that takes one must also take `log_guard`, or use a fixture that does."""
    made = []
    yield _factory(request, mpm, made)
    _close(request, made)


@pytest.fixture(autouse=True)
def log_guard(request):
    """Judges, after each test, the error log of every server that is still there."""
    yield
    problems = [p for s in request.config.stash[LIVE_SERVERS] for p in s.verdict(MUST_COME_S)]
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


@pytest.fixture
def backend():
    """A Backend that ends with the test."""
    running = Backend()
    yield running
    running.close()


@pytest.fixture
def dead_backend():
    """Something with a `url` where nothing listens."""
    dead = DeadBackend()
    yield dead
    dead.close()


@pytest.fixture(name="six", scope="session")
def six_fixture():
    """One cluster for all tests of a process, since it takes seconds; not to be asked for but by `cluster`."""
    running = Cluster()
    yield running
    running.close()


@pytest.fixture
def cluster(six):
    """A cluster of six nodes, empty; it is mended after the test. Ask for it before `server`."""
    six.empty()
    yield six
    six.mend()


@pytest.fixture
def redis_started():
    """redis_started(*options, tls=None) -> a Redis, as many as a test likes. Servers that ask them are to end first, so ask for this
    before `server`."""
    made = []

    def make(*options, **how):
        made.append(Redis(*options, **how))
        return made[-1]
    yield make
    for running in made:
        running.close()


@pytest.fixture
def redis(redis_started):
    """A Redis that keeps nothing on disk."""
    return redis_started()


@pytest.fixture
def small_tmpfs(request):
    """A file system of 1 MB, or what its parameter says, ours to fill. Ask for it before `server`, whose end it must outlive."""
    if not paths.AS_ROOT:
        pytest.skip("mounting a tmpfs takes root")
    point = pathlib.Path(tempfile.mkdtemp(prefix="apiquota-tmpfs-"))
    options = f"size={getattr(request, 'param', '1m')},mode=755"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(point)], check=False)
    if mounted.returncode != 0:
        point.rmdir()
        pytest.skip("this system lets nobody mount a tmpfs")
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)
    point.rmdir()


def _factory(request, mpm, made):
    def make(conf="", start=True, **fields):
        for name in fields:
            assert name in Spec.__dataclass_fields__, f"server() knows no {name!r}"
        httpd = Httpd(dataclasses.replace(Spec(mpm=mpm), conf=conf, **fields))
        made.append(httpd)
        request.config.stash[LIVE_SERVERS].append(httpd)
        return httpd.start() if start else httpd
    return make


def _close(request, made):
    problems = []
    for httpd in reversed(made):  # a later one may use an earlier one's folder
        shown = "".join(f"\n--- {title}\n{text}" for title, text in sections_of(httpd))
        found = httpd.close()
        request.config.stash[LIVE_SERVERS].remove(httpd)
        problems += [problem + shown for problem in found]
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)
