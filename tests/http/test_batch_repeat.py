# SPDX-License-Identifier: Apache-2.0
"""Idempotency keys: the same request once more, another one, and one that comes while the first is on its way."""

import collections

import pytest

from harness import batches, checks, confs
from harness.waiting import eventually
from harness.wire import request_bytes

AGAIN = {"Idempotency-Key": "order-1"}
BODY = b"order 1\n"


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def taking(server, keys, key, dead_backend):
    """taking(*lines, **fields of Spec): a server that takes batches and runs none."""
    def make(*lines, **fields):
        return server(batches.conf(dead_backend.url + "/import", *lines), keys=keys, worker=False, **fields)
    return make


def post(web, key, body=BODY, path="/v1/imports", **how):
    return web.post(path, body=body, key=key, headers={**AGAIN, **how.pop("headers", {})}, **how)


def begin(web, key, sent=b"order", length=len(BODY)):
    """A connection with an upload that has not got further than `sent`."""
    connection = web.raw(timeout_s=60)
    fields = [("Authorization", f"Bearer {key}"), ("Content-Length", length), *AGAIN.items()]
    connection.send(request_bytes("POST", "/v1/imports", fields, sent))
    return connection


def begun(web, count=1):
    """Waits until so many uploads have a file."""
    eventually(lambda: len(batches.left(web).incoming) == count, what=f"{count} uploads that have begun")


def test_same_uploads_at_once_are_one_batch_or_told_to_wait(taking, key):
    web = taking()
    answers = web.burst(32, "/v1/imports", concurrency=8, method="POST", key=key, body=BODY, headers=AGAIN)
    counted = collections.Counter(answer.status for answer in answers)
    assert set(counted) <= {202, 409} and counted[202] >= 1, counted
    for answer in answers:
        if answer.status == 409:
            checks.assert_problem(answer, 409, code="idempotency-key-in-use", retry_after=1)
    taken = [answer for answer in answers if answer.status == 202]
    assert len({answer.json()["id"] for answer in taken}) == len({answer.headers["Location"] for answer in taken}) == 1
    assert post(web, key).json()["id"] == taken[0].json()["id"]
    assert len(batches.rows(web)) == 1 and len(batches.left(web).body) == 1 and batches.left(web).incoming == []


@pytest.mark.mpm_all
def test_repeat_of_an_upload_that_is_still_on_its_way_is_refused_before_its_body(taking, keys, key):
    other = keys.add("globex")
    web = taking()
    with begin(web, key) as first:
        begun(web)
        refused = post(web, key)
        checks.assert_problem(refused, 409, code="idempotency-key-in-use", retry_after=1)
        assert refused.headers["Retry-After"] == "1"
        continued = web.expect_continue("/v1/imports", BODY, key=key, headers=AGAIN)
        assert not continued.got_100 and continued.response.status == 409
        assert post(web, other).status == 202
        assert web.post("/v1/imports", body=BODY, key=key, headers={"Idempotency-Key": "order-2"}).status == 202
        assert web.post("/v1/imports", body=BODY, key=key).status == 202
        first.send(b" 1\n")
        taken = first.read_response("POST")
    assert taken.status == 202
    again = post(web, key)
    assert again.status == 202 and again.json() == taken.json()
    assert len(batches.rows(web)) == 4 and batches.left(web).incoming == []


def test_upload_that_was_broken_off_blocks_nobody(taking, key):
    web = taking()
    with begin(web, key) as first:
        begun(web)
        assert post(web, key).status == 409
        first.abort()
    begun(web, 0)
    assert eventually(lambda: post(web, key).status == 202)
    assert len(batches.rows(web)) == 1


@pytest.mark.parametrize("mpm", ["prefork"], indirect=True)
def test_f41_upload_whose_process_was_killed_blocks_nobody(taking, key, mpm):
    web = taking()
    before = set(web.child_pids())
    with begin(web, key):
        begun(web)
        assert post(web, key).status == 409
        for child in before | set(web.child_pids()):
            web.kill_child(child)
        assert eventually(lambda: post(web, key).status == 202)
    # What the killed one left of its file goes at the next sweep: no lock holds it.
    assert len(batches.rows(web)) == 1 and len(batches.left(web).incoming) == 1


@pytest.mark.parametrize("change", ["body", "query", "method", "location"])
def test_other_request_with_the_same_idempotency_key_is_refused_and_leaves_nothing(server, keys, key, dead_backend, change):
    web = server(batches.conf(dead_backend.url) + confs.location(
        "/v1/orders", "APIQuotaBatch On", f"APIQuotaBatchTarget {dead_backend.url}"), keys=keys, worker=False)
    first = post(web, key)
    other = {"body": lambda: post(web, key, body=b"order 2\n"),
             "query": lambda: post(web, key, path="/v1/imports?x=1"),
             "method": lambda: web.request("PUT", "/v1/imports", body=BODY, key=key, headers=AGAIN),
             "location": lambda: post(web, key, path="/v1/orders")}
    checks.assert_problem(other[change](), 422, code="idempotency-key-reused")
    again = post(web, key)
    assert again.json() == first.json()
    assert len(batches.rows(web)) == 1 and len(batches.left(web).body) == 1


def test_same_path_of_another_virtual_host_is_another_request(server, keys, key, dead_backend):
    hosts = [f"<VirtualHost 127.0.0.1:${{PORT}}>\nServerName {name}.test\n"
             + confs.batch("/v1/imports", f"{dead_backend.url}/{name}") + "</VirtualHost>\n" for name in ("one", "two")]
    web = server(batches.PLAN + "".join(hosts), keys=keys, worker=False)
    one, two = ({"Host": f"{name}.test"} for name in ("one", "two"))
    first = post(web, key, headers=one)
    assert first.status == 202
    checks.assert_problem(post(web, key, headers=two), 422, code="idempotency-key-reused")
    assert post(web, key, headers=one).json()["id"] == first.json()["id"]
    assert [row["location"].partition(":")[0] for row in batches.rows(web)] == ["one.test"]


def test_repeat_finds_its_batch_whatever_became_of_it(server, keys, key, backend):
    web = server(batches.conf(backend.url + "/import"), keys=keys)
    first = post(web, key)
    done = batches.wait_over(web, key, first.headers["Location"])
    again = post(web, key)
    assert again.status == 202 and again.json() == done
    assert again.headers["Location"] == first.headers["Location"]
    assert len(backend.seen("/import")) == 1
