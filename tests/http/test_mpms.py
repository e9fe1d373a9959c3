# SPDX-License-Identifier: Apache-2.0
"""What is promised holds under each MPM. Tests of what depends on processes and threads run under all three by themselves
(mpm_all); the long one runs all others, too. Debian 13 is `make check-bare RELEASE=trixie`."""

import os
import subprocess
import sys

import pytest

from harness import batches, checks, confs, paths
from harness.client import statuses

CONF = confs.plan("basic", "year 12/366d headers=primary")


@pytest.mark.mpm_all
def test_f30_limits_free_answers_restarts_and_batches_under_each_mpm(server, keys, backend):
    key, other = keys.add("acme"), keys.add("other")
    batcher = keys.tenant("busy", limits={"year": "1000000/366d"}).add("busy")
    web = server(CONF + confs.location("/v1") + confs.batch("/v1/imports", f"{backend.url}/import"), keys=keys,
                 worker=True, modules=("proxy_http",))
    first = web.get("/v1/item.json", key=key)
    assert first.status == 200 and checks.trio(first).remaining == 11
    free = web.get("/v1/item.json", key=key, headers={"If-None-Match": first.headers["ETag"]})
    assert free.status == 304 and checks.trio(free).remaining == 11
    web.graceful()
    url = batches.submit(web, batcher)
    assert batches.wait_over(web, batcher, url)["status"] == "succeeded"
    web.restart()
    spent = web.get("/v1/item.json", key=other)
    assert statuses(web.burst(40, "/v1/item.json", key=other)) == {200: 11, 429: 29}
    checks.assert_problem(web.get("/v1/item.json", key=other), 429, code="quota-exceeded")
    assert web.get("/v1/item.json").status == 401 and checks.trio(spent).remaining == 11


@pytest.mark.long
@pytest.mark.parametrize("mpm_of_all", ["prefork", "worker"])
def test_f30_whole_suite_under_each_mpm(mpm_of_all):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not mpm_all and not long",
               "tests/http"]
    done = subprocess.run(command, cwd=paths.REPOSITORY, capture_output=True, text=True, check=False,
                          env={**os.environ, "AQ_MPM": mpm_of_all, "AQ_LONG": "", "PYTEST_XDIST_WORKER": ""})
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-5000:]
