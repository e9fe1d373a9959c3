# SPDX-License-Identifier: Apache-2.0
"""Batches whose target is a program."""

import os
import signal

import pytest

from harness import batches
from harness.faketime import ENDS_WAITS
from harness.processes import has_ended
from harness.waiting import eventually


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def running(server, keys, key):
    """running(script, *lines, **fields of Spec): a server whose batches are run by this shell script; $HERE is a folder of its own."""
    def make(script, *lines, **fields):
        web = server("", keys=keys, start=False)
        here = web.root.path / "here"
        here.mkdir()
        here.chmod(0o777)
        program = here / "program"
        program.write_text(f"#!/bin/sh\nHERE='{here}'\n{script}\n")
        program.chmod(0o755)
        return server(batches.conf(f"exec:{program}", *lines), keys=keys, **fields), here
    return make


def test_program_gets_the_body_tells_its_progress_and_makes_the_result(running, key):
    web, here = running("echo 1 4 >&3; while [ ! -e $HERE/go ]; do sleep 0.05; done; echo 4 4 1 >&3; tr a-z A-Z")
    url = batches.submit(web, key, body=b"one\ntwo\n", headers={"Content-Type": "text/csv"})
    eventually(lambda: web.get(url, key=key).json()["progress"] == {"done": 1, "total": 4, "failed": 0})
    (here / "go").touch()
    batch = batches.wait_over(web, key, url)
    assert batch["status"] == "succeeded" and batch["response"]["status"] == 200
    assert batch["progress"] == {"done": 4, "total": 4, "failed": 1}
    result = web.get(url + "/result", key=key)
    assert result.status == 200 and result.body == b"ONE\nTWO\n"
    assert result.headers["Content-Type"] == "application/octet-stream"


def test_exit_code_tells_what_becomes_of_the_batch(running, key):
    web, _ = running("read code; echo said $code; exit $code", "APIQuotaBatchAttempts 2")
    failed = batches.wait_over(web, key, batches.submit(web, key, body=b"3\n"))
    assert failed["status"] == "failed" and failed["attempt"] == 1
    assert failed["error"] == {"code": "target-status", "detail": "the program ended with exit code 3"}
    assert web.get(failed["links"]["result"], key=key).body == b"said 3\n"
    url = batches.submit(web, key, body=b"75\n")
    waiting = eventually(lambda: (batch := web.get(url, key=key).json())["attempt"] and batch["status"] != "running" and batch)
    # Whoever looks a moment late sees it over.
    assert waiting["attempt"] == 2 or (waiting["status"] == "queued" and waiting["next_attempt_at"]), waiting
    again = batches.wait_over(web, key, url)
    assert again["attempt"] == 2 and again["response"]["status"] == 503


# The worker is the parent of the program's parent, which keeps it. Those that run beside have a moment to end: under
# libfaketime a wait for the write lock ends at once, and who lost three attempts by that would wait for minutes.
KILLER = """read line
if [ "$line" = poison ]; then
    echo tried >>$HERE/tries
    sleep 1
    kill -9 $(cut -d ' ' -f 4 /proc/$PPID/stat)
    sleep 60
fi
echo $line
"""


def waits_or_is_over(web, key, url):
    """The batch, once it waits for another attempt or is over."""
    batch = web.get(url, key=key).json()
    return batch if batch["next_attempt_at"] or batch["status"] in batches.OVER else None


def test_f43_job_that_kills_its_worker_each_time_fails_and_no_other_suffers(running, key):
    web, here = running(KILLER, "APIQuotaBatchAttempts 4", faketime="+0", allow=(ENDS_WAITS,))
    web.expect_log(r"AQ01305: apiquota-worker .* ended with status 9", must=True)
    before = [batches.submit(web, key, body=b"good %d\n" % number) for number in range(3)]
    poison = batches.submit(web, key, body=b"poison\n")
    after = [batches.submit(web, key, body=b"fine %d\n" % number) for number in range(3)]
    for url in before + after:  # those that ran beside it lost an attempt or two by it
        assert batches.wait_over(web, key, url, timeout_s=30)["status"] == "succeeded"
    while batch := eventually(lambda: waits_or_is_over(web, key, poison), timeout_s=30, what="the end of an attempt"):
        if batch["status"] == "failed":
            break
        assert batch["error"]["code"] == "worker-lost"
        web.clock.advance(200)
        eventually(lambda tries=batch["attempt"]: len((here / "tries").read_text().split()) > tries, what="another try")
    killed = web.get(poison, key=key).json()
    assert killed["status"] == "failed" and killed["attempt"] == 4 and killed["error"]["code"] == "worker-lost"
    assert (here / "tries").read_text().split() == ["tried"] * 4
    last = batches.submit(web, key, body=b"last\n")
    assert batches.wait_over(web, key, last, timeout_s=30)["attempt"] == 1


def test_f48_cancel_ends_the_program(running, key):
    web, here = running("echo $$ >$HERE/pid; exec sleep 60")
    url = batches.submit(web, key)
    eventually((here / "pid").exists)
    assert web.post(url + "/cancel", body=b"", key=key).status == 200
    assert batches.wait_over(web, key, url)["status"] == "canceled"
    assert not os.path.exists(f"/proc/{(here / 'pid').read_text().strip()}")


def test_f41_program_ends_with_its_killed_worker_and_is_run_again(running, key):
    web, here = running("echo $$ >>$HERE/pids; while [ ! -e $HERE/go ]; do sleep 0.05; done; cat")
    url = batches.submit(web, key)
    eventually((here / "pids").exists)
    web.expect_log(r"AQ01305: apiquota-worker .* ended with status 9", must=True)
    os.kill(web.worker_pid(), signal.SIGKILL)
    eventually(lambda: len((here / "pids").read_text().split()) == 2)
    first = (here / "pids").read_text().split()[0]
    eventually(lambda: has_ended(first), what="the end of the first")
    (here / "go").touch()
    batch = batches.wait_over(web, key, url)
    assert batch["status"] == "succeeded" and batch["attempt"] == 2
