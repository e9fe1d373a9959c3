# SPDX-License-Identifier: Apache-2.0
"""apiquota-worker as a program, without httpd: its options, its log and its exit codes."""

import json
import re
import signal
import subprocess

import pytest

from harness import paths
from harness.waiting import wait_until

LOG_LINE = re.compile(r"\[\w{3} \w{3} \d\d \d\d:\d\d:\d\d\.\d{6} \d{4}\] \[apiquota-worker:\w+\] \[pid \d+\] "
                      r"(\(\d+\)[^:]+: )?AQ\d{5}: .+")


def run(*options):
    return subprocess.run([paths.WORKER, *options], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def state(tmp_path):
    """A state folder with an empty spool and the settings of a worker."""
    for folder in ("incoming", "body", "result", "segment"):
        (tmp_path / "spool" / folder).mkdir(mode=0o700, parents=True)
    for folder in (tmp_path, tmp_path / "spool"):
        folder.chmod(0o700)
    settings = {"queue_file": f"{tmp_path}/queue.db", "spool_folder": f"{tmp_path}/spool", "spool_max_bytes": 0,
                "spool_keep_percent": 90,
                "threads": 2, "locations": {}}
    (tmp_path / "runtime.json").write_text(json.dumps({"worker": settings}))
    return tmp_path


@pytest.mark.parametrize("options", [
    [], ["--state-dir"], ["--state-dir", "/nowhere", "surplus"], ["--state-dir", "/nowhere", "--parent-pid", "x"],
    ["--state-dir", "/nowhere", "--parent-pid", "0"], ["--state-dir", "/nowhere", "--log-level", "loud"],
    ["--state-dir", "/nowhere", "--lease-ms", "1e3"]])
def test_wrong_options_are_answered_with_the_usage(options):
    done = run(*options)
    assert done.returncode == 2
    assert "usage: apiquota-worker --state-dir DIR" in done.stderr


@pytest.mark.parametrize("options, said", [
    (("--lease-ms", "59"), "--lease-ms 59: allowed: a whole number from 60 to 3600000"),
    (("--parent-pid", "1x"), "--parent-pid 1x: allowed: a whole number from 1 to 2147483647"),
    (("--result-max-bytes", "99999999999999999999"), "--result-max-bytes 99999999999999999999: allowed: a whole number from 1 to"),
    (("--log-level", "loud"), "--log-level loud: allowed: crit, error, warn, notice, info, debug"),
    (("--state-dir", "/tmp", "more"), "it takes options alone"),
    ((), "--state-dir DIR or --config FILE is missing"),
    (("--nonsense",), "unrecognized option '--nonsense'"),
])
def test_wrong_option_is_named_before_the_usage(options, said):
    assert run(*options).stderr.partition("\n")[0].partition(": ")[2].startswith(said)


def test_help_is_no_mistake():
    done = run("--help")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("usage: apiquota-worker --state-dir DIR")


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"worker": 1}', '{"worker": {"threads": 2}}'])
def test_settings_that_cannot_be_read_end_it_with_a_reason(state, text):
    file = state / "runtime.json"
    file.unlink()
    if text is not None:
        file.write_text(text)
    done = run("--state-dir", str(state))
    assert done.returncode == 1
    line, = done.stderr.splitlines()
    assert LOG_LINE.fullmatch(line) and "AQ00607: cannot start: " in line and "runtime.json" in line


def test_spool_that_others_may_write_to_ends_it_with_a_reason(state):
    (state / "spool" / "body").chmod(0o777)
    done = run("--state-dir", str(state))
    assert done.returncode == 1
    assert "AQ00607" in done.stderr and "spool/body" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_and_leaves_nothing_behind(state, number):
    worker = subprocess.Popen([paths.WORKER, "--state-dir", str(state)], stderr=subprocess.PIPE, text=True)
    try:
        assert "AQ00600" in worker.stderr.readline()
        assert wait_until(lambda: list(state.glob("queue.db.worker-*")), 60.0)
        worker.send_signal(number)
        assert worker.wait(timeout=60) == 0
        rest = worker.stderr.read().splitlines()
        assert all(LOG_LINE.fullmatch(line) for line in rest)
        assert not list(state.glob("queue.db.worker-*"))
    finally:
        worker.kill()
        worker.communicate()


def test_log_level_leaves_out_what_matters_less(state):
    worker = subprocess.Popen([paths.WORKER, "--state-dir", str(state), "--log-level", "error"], stderr=subprocess.PIPE,
                              text=True)
    try:
        assert wait_until(lambda: list(state.glob("queue.db.worker-*")), 60.0)
        worker.send_signal(signal.SIGTERM)
        _, said = worker.communicate(timeout=60)
        assert worker.returncode == 0 and said == ""
    finally:
        worker.kill()
        worker.communicate()


def test_a_parent_that_is_not_its_own_stops_it_at_once(state):
    done = run("--state-dir", str(state), "--parent-pid", "1000000000")
    assert done.returncode == 0
    assert "AQ00609: stopping: the parent 1000000000 is gone" in done.stderr
