# SPDX-License-Identifier: Apache-2.0
"""N/concurrent: how many requests of a caller may run at the same time."""

import concurrent.futures

import pytest

from harness import confs
from harness.waiting import eventually

WAITING = """#!/bin/sh
: > {folder}/began.$$
while [ ! -e {folder}/go ]; do sleep 0.05; done
printf 'Content-Type: text/plain\\n\\ndone\\n'
"""


@pytest.fixture
def gate(tmp_path):
    """A folder in which scripts say that they began, and wait for a file named go."""
    tmp_path.chmod(0o777)
    for parent in list(tmp_path.parents)[:3]:
        parent.chmod(0o755)
    return tmp_path


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def web(server, keys, key, gate):  # pylint: disable=unused-argument
    plan = confs.plan("basic", "running 2/concurrent headers=primary", "day 100/day headers=suffix:Daily")
    made = server(plan + confs.location("/cgi-bin", "APIQuotaHeaders both"), keys=keys, modules=("cgi",))
    made.root.add_cgi("waiting", WAITING.format(folder=gate))
    return made


def test_third_request_at_once_is_refused_and_admitted_when_one_has_ended(web, key, gate):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = [pool.submit(web.get, "/cgi-bin/waiting", key=key) for _ in range(2)]
        try:
            eventually(lambda: len(list(gate.glob("began.*"))) == 2)
            refused = web.get("/cgi-bin/waiting", key=key)
        finally:
            (gate / "go").touch()
        answers = [answer.result() for answer in running]
    assert refused.status == 429
    assert refused.json()["detail"].startswith('The limit "running" of 2 requests at the same time is used up.')
    assert refused.headers["Retry-After"] == "1"
    assert refused.headers["X-RateLimit-Limit"] == "2"
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    assert "X-RateLimit-Reset" not in refused.headers
    assert '"running";q=2;qu="concurrent-requests"' in refused.headers["RateLimit-Policy"]
    assert {answer.status for answer in answers} == {200}
    assert sorted(answer.headers["X-RateLimit-Remaining"] for answer in answers) == ["0", "1"]
    eventually(lambda: web.get("/cgi-bin/waiting", key=key).headers["X-RateLimit-Remaining"] == "1")
