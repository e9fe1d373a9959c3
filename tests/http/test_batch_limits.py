# SPDX-License-Identifier: Apache-2.0
"""What bounds batches: when an upload is one, how long they wait and stay, how many a tenant may have and run."""

import pytest

from harness import batches, checks, confs
from harness.import_store import ROWS_A_COMMIT as LINES
from harness.waiting import eventually


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def running(server, keys, key, backend):
    """running(*lines, target=, before=, **fields of Spec): a server with its worker, and `backend` as target."""
    def make(*lines, target="/import", before="", **fields):
        return server(before + batches.conf(backend.url + target, *lines), keys=keys, **fields)
    return make


# ---- Prefer ----------------------------------------------------------------------------------------

def test_prefer_leaves_the_choice_to_the_client(server, keys, key, backend):
    conf = batches.conf(backend.url + "/import").replace(
        "APIQuotaBatch On\n", f"APIQuotaBatch Prefer\n    ProxyPass {backend.url}/echo\n")
    web = server(conf, keys=keys, modules=("proxy", "proxy_http"))
    at_once = web.post("/v1/imports", body=b"one\n", key=key)
    assert at_once.status == 200 and at_once.json()["body"] == "one\n"
    for preference in ("respond-async", "wait=10, respond-async", "Respond-Async"):
        later = web.post("/v1/imports", body=b"one\n", key=key, headers={"Prefer": preference})
        assert later.status == 202 and later.headers["Preference-Applied"] == "respond-async", preference
    assert batches.wait_over(web, key, later.headers["Location"])["status"] == "succeeded"
    for preference in ("wait=10", "respond-asynchronously", ""):
        assert web.post("/v1/imports", body=b"x", key=key, headers={"Prefer": preference}).status == 200, preference
    assert web.get("/v1/imports", key=key, headers={"Prefer": "respond-async"}).status == 200


def test_prefer_has_the_bound_of_what_it_becomes(server, keys, key, backend):
    conf = batches.conf(backend.url + "/import", "APIQuotaBatchMaxBody 100", "APIQuotaMaxBody 10").replace(
        "APIQuotaBatch On\n", f"APIQuotaBatch Prefer\n    ProxyPass {backend.url}/echo\n")
    web = server(conf, keys=keys, modules=("proxy", "proxy_http"))
    asynchronous = {"Prefer": "respond-async"}
    assert web.post("/v1/imports", body=b"x" * 50, key=key, headers=asynchronous).status == 202
    checks.assert_problem(web.post("/v1/imports", body=b"x" * 50, key=key), 413, code="body-too-large")
    checks.assert_problem(web.post("/v1/imports", body=b"x" * 101, key=key, headers=asynchronous), 413,
                          code="body-too-large")


# ---- time ------------------------------------------------------------------------------------------

def test_result_expires_before_its_batch(running, key):
    web = running("APIQuotaBatchRetention 1h results=1s")
    url = batches.submit(web, key)
    batch = batches.wait_over(web, key, url)
    assert batch["finished_at"] < batch["result_expires_at"] < batch["expires_at"]
    eventually(lambda: web.get(url + "/result", key=key).status == 410)
    checks.assert_problem(web.get(url + "/result", key=key), 410, code="result-expired")
    after = web.get(url, key=key).json()
    assert after["status"] == "succeeded" and after["response"]["status"] == 200


def test_batch_that_waits_too_long_fails(server, keys, key, dead_backend):
    web = server(batches.conf(dead_backend.url + "/import", "APIQuotaBatchMaxWait 1s"), keys=keys)
    batch = batches.wait_over(web, key, batches.submit(web, key))
    assert batch["status"] == "failed" and batch["error"]["code"] == "waited-too-long"
    assert batch["next_attempt_at"] is None


# ---- how many a tenant may have ----------------------------------------------------------------------

def test_tenant_with_too_many_queued_is_refused_and_no_other(running, keys, key):
    other = keys.add("globex")
    web = running(before="APIQuotaQueue sqlite tenant-max=2\n", worker=False)
    first = batches.submit(web, key, headers={"Idempotency-Key": "a"})
    batches.submit(web, key)
    before = batches.left(web)
    refused = web.post("/v1/imports", body=b"x", key=key)
    checks.assert_problem(refused, 429, code="too-many-queued", retry_after=10)
    assert refused.headers["Retry-After"] == "10"
    assert batches.left(web) == before
    assert batches.submit(web, key, headers={"Idempotency-Key": "a"}) == first
    batches.submit(web, other)
    assert web.post(first + "/cancel", body=b"", key=key).status == 200
    batches.submit(web, key)


@pytest.mark.parametrize("body", [b"x" * 60, iter([b"x" * 30, b"x" * 30])], ids=["declared", "chunked"])
def test_tenant_with_too_much_on_the_spool_is_refused_and_no_other(running, keys, key, body):
    other = keys.add("globex")
    web = running(before="APIQuotaSpool spool tenant-max=100\n", worker=False)
    spool = web.root.path / "spool"
    first = batches.submit(web, key, body=b"x" * 50)
    before = batches.left(web, spool)
    refused = web.post("/v1/imports", body=body, key=key)
    checks.assert_problem(refused, 507, code="tenant-spool-full")
    assert batches.left(web, spool) == before
    batches.submit(web, other, body=b"x" * 60)
    assert web.post(first + "/cancel", body=b"", key=key).status == 200
    assert web.request("DELETE", first, key=key).status == 204
    batches.submit(web, key, body=b"x" * 60)


# ---- how many it may run ---------------------------------------------------------------------------

def running_now(web, key):
    return web.get(batches.STATUS_PATH + "?status=running", key=key).json()["pagination"]["total"]


@pytest.mark.parametrize("lines, most", [((), 3), (("APIQuotaBatchConcurrency 2",), 2),
                                         (("APIQuotaBatchConcurrency 4",), 4),
                                         (("APIQuotaBatchConcurrency 1 per=endpoint",), 1)])
def test_tenant_runs_as_many_as_it_may(running, keys, key, backend, lines, most):
    other = keys.add("globex")
    elsewhere = confs.location("/v1/others", "APIQuotaBatch On", f"APIQuotaBatchTarget {backend.url}/import")
    backend.hold_import(after_lines=LINES)
    web = running(*lines, before=f"APIQuotaWorker on threads={most + 1}\n" + elsewhere)
    urls = [batches.submit(web, key, body=b"x\n" * LINES) for _ in range(7)]
    eventually(lambda: running_now(web, key) == most)
    # The thread that is left has looked at what waits, and passed over it, once it runs another's.
    last = batches.submit(web, other, body=b"x\n" * LINES, path="/v1/others")
    batches.wait_status(web, other, last, "running")
    assert running_now(web, key) == most
    backend.release()
    for url in urls:
        assert batches.wait_over(web, key, url)["status"] == "succeeded"


def test_many_batches_of_one_tenant_delay_anothers_single_one_by_one_job_at_most(running, keys, key, backend):
    other = keys.add("globex")
    web = running(target="/slow/0.2", before="APIQuotaWorker on threads=1\n")
    for _ in range(40):
        batches.submit(web, key)
    eventually(lambda: backend.seen())
    url = batches.submit(web, other)
    # As the queue has it: a job that was claimed already may not have reached the backend.
    begun = sum(row["status"] != "queued" for row in batches.rows(web))
    batches.wait_over(web, other, url)
    tenants = [request.headers["APIQuota-Batch-Tenant"] for request in backend.seen()]
    assert begun < 40 and tenants.index("globex") <= begun + 1, tenants
