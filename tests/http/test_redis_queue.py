# SPDX-License-Identifier: Apache-2.0
"""The queue in Redis, over a real httpd, its worker and a real Redis that syncs each answer: batches, machines, and what
becomes of them when the worker is killed or Redis goes away."""

import hashlib
import json
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from harness import batches, checks, exposition, paths, webhooks
from harness.own_worker import OwnWorker
from harness.redis import FAILED
from harness.waiting import eventually

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
# What worker and children say while Redis is away.
AWAY = (FAILED, r"AQ00604", r"AQ00606", r"AQ00611", r"AQ00632", r"AQ00633", r"AQ00641", r"AQ00647", r"AQ00667", r"AQ00689",
        r"AQ01222", r"AQ0125[0-9]", r"AQ01271", r"AQ01274")
KILLS = 6
ROWS = 50


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def durable(redis_started):
    return redis_started(*DURABLE)


@pytest.fixture
def worker_of():
    """worker_of(web) -> a worker of that machine, which ends with the test."""
    made = []

    def make(web):
        made.append(OwnWorker(web))
        made[-1].start()
        return made[-1]
    yield make
    for worker in made:
        worker.kill()


@pytest.fixture
def open_folder():
    """A folder that httpd's user can go through and write to."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="apiquota-shared-"))
    if paths.AS_ROOT:
        shutil.chown(folder, paths.HTTPD_USER)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def machine(durable, server, keys, key, backend):  # pylint: disable=unused-argument
    """machine(*lines, spool=None, options="", target="/import", **fields of Spec): a machine whose queue is in Redis."""
    def make(*lines, options="", spool=None, target="/import", **fields):
        where = f"APIQuotaQueue {durable.url} budget=10s {options}\n" + (f"APIQuotaSpool {spool}\n" if spool else "")
        fields.setdefault("allow", AWAY)
        return server(where + batches.conf(backend.url + target, *lines), keys=keys, **fields)
    return make


def ctl(web, *words, code=0):
    done = subprocess.run([paths.CTL, "--state-dir", web.root.state, "--json", *words], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def id_of(url):
    return url.rpartition("/")[2]


def ask_until_taken(web, key, body, name):
    """As a client does that gets 503 and a Retry-After: again, until it is taken, under one idempotency key."""
    def taken():
        answer = web.post("/v1/imports", body=body, key=key, headers={"Idempotency-Key": name})
        assert answer.status in (202, 503), answer
        return answer.headers["Location"] if answer.status == 202 else None
    return eventually(taken, 30, what="a 202")


def over(web, key, url):
    """The batch once it is over."""
    batch = batches.get_served(web, key, url)
    return batch if batch["status"] in batches.OVER else None


@pytest.mark.mpm_all
def test_a_batch_from_upload_to_result(machine, key, backend):
    web = machine()
    lines = [f"row {number}".encode() for number in range(2000)]
    url = batches.submit(web, key, body=b"\n".join(lines), headers={"Content-Type": "text/plain"})
    batch = batches.wait_over(web, key, url, timeout_s=30)
    assert batch["status"] == "succeeded" and batch["attempt"] == 1 and batch["error"] is None
    assert "waiting_for" not in batch
    assert backend.store.lines(batch["id"]) == lines
    result = web.get(url + "/result", key=key)
    assert result.status == 200 and result.json() == {"received": 2000, "imported": 2000}
    assert batch["response"]["sha256"] == hashlib.sha256(result.body).hexdigest()
    listed = web.get(batches.STATUS_PATH, key=key).json()
    assert [row["id"] for row in listed["data"]] == [batch["id"]] and listed["pagination"]["total"] == 1
    assert not (batches.folder(web) / "queue.db").exists()


def test_metrics_tell_of_the_queue_and_of_this_machines_worker(durable, server, keys, key, backend):
    conf = batches.conf(backend.url + "/import") + exposition.LOCATION
    web = server(f"APIQuotaQueue {durable.url} budget=10s\n" + conf, keys=keys, allow=AWAY)
    batches.wait_over(web, key, batches.submit(web, key), timeout_s=30)
    eventually(lambda: exposition.scrape(web).of("apiquota_worker_up") == 1, 30, what="the worker's sign of life")
    # It counts an end when it is written down, which clients may see before.
    eventually(lambda: exposition.scrape(web).of("apiquota_batches_ended_total") > 0, 30, what="the end to be counted")
    samples = exposition.scrape(web)
    assert samples.of("apiquota_batches", state="succeeded") == 1
    assert samples.of("apiquota_batches_ended_total", status="succeeded") == 1


def test_one_key_one_batch_on_two_machines(machine, keys, key):
    other = keys.add("other")
    first, second = machine(worker=False), machine(worker=False)
    how = {"headers": {"Idempotency-Key": "once"}}
    url = batches.submit(first, key, **how)
    assert batches.submit(second, key, **how) == url
    checks.assert_problem(second.post("/v1/imports", body=b"another", key=key, **how), 422)
    assert second.get(url, key=other).status == 404


def test_a_job_waits_for_the_machine_that_has_its_body_and_its_status_says_so(machine, worker_of, key, backend):
    away, here = machine(worker=False), machine()
    url = batches.submit(away, key)
    eventually(lambda: ctl(here, "batch", "show", id_of(url)).get("waiting_for") == "machine", what="the machine to be missed")
    seen = here.get(url, key=key)
    assert (seen.json()["status"], seen.json()["waiting_for"]) == ("queued", "machine")
    assert batches.wait_over(here, key, batches.submit(here, key), timeout_s=30)["status"] == "succeeded"
    assert here.get(url, key=key).json()["status"] == "queued"
    worker_of(away)
    assert batches.wait_over(here, key, url, timeout_s=30)["status"] == "succeeded"
    assert here.get(url, key=key, headers={"If-None-Match": seen.headers["ETag"]}).status == 200
    elsewhere = here.get(url + "/result", key=key)
    checks.assert_problem(elsewhere, 503, code="result-elsewhere", retry_after=checks.retry_after(elsewhere))
    name = (away.root.state / "machine").read_text()
    assert name in elsewhere.json()["detail"]
    assert away.get(url + "/result", key=key).status == 200
    assert len(backend.seen()) == 2


def test_a_shared_spool_has_no_home(open_folder, machine, key):
    takes, works = (machine(spool=f"{open_folder}/spool shared", worker=worker) for worker in (False, True))
    url = batches.submit(takes, key)
    assert batches.wait_over(takes, key, url, timeout_s=30)["status"] == "succeeded"
    for web in (takes, works):
        assert web.get(url + "/result", key=key).status == 200


def test_f41_a_killed_worker_and_a_restarted_redis_lose_nothing(machine, worker_of, key, backend, durable):
    web = machine(worker=False)
    worker = worker_of(web)
    urls = []
    for round_number in range(KILLS):
        lines = [f"{round_number} {row}".encode() for row in range(ROWS)]
        urls.append((ask_until_taken(web, key, b"\n".join(lines), f"round {round_number}"), lines))
        if round_number == KILLS // 2:
            durable.kill()
            answer = web.post("/v1/imports", body=b"x", key=key)
            checks.assert_problem(answer, 503, code="queue-unavailable", retry_after=checks.retry_after(answer))
            durable.start()
        worker.kill()
        worker.start()
    for url, lines in urls:
        batch = eventually(lambda url=url: over(web, key, url), 60, what="the end of a batch")
        assert batch["status"] == "succeeded", batch
        assert backend.store.lines(batch["id"]) == lines
    assert batches.get_served(web, key, batches.STATUS_PATH)["pagination"]["total"] == len(urls)
    counts = ctl(web, "batch", "list")
    assert {row["status"] for row in counts["batches"]} == {"succeeded"}


def test_webhooks_are_told_from_redis(durable, server, keys, backend):
    secret = webhooks.new_secret()
    keys.tenant("acme", webhook=webhooks.webhook(backend, secret))
    key = keys.add("acme")
    web = server(f"APIQuotaQueue {durable.url} budget=10s\n" + webhooks.conf(backend.url + "/status/200"), keys=keys, allow=AWAY)
    batch = batches.wait_over(web, key, batches.submit(web, key), timeout_s=30)
    seen = eventually(lambda: [one for one in backend.seen() if "webhook-id" in one.headers], 30, what="a message")
    assert webhooks.verified(seen[0], secret)["data"]["id"] == batch["id"]
    (row,) = webhooks.wait_state(web, "delivered")
    assert row["batch"] == batch["id"]


def test_apiquotactl_works_on_the_queue(machine, key):
    web = machine(worker=False)
    url = batches.submit(web, key)
    assert ctl(web, "batch", "cancel", id_of(url))["status"] == "canceled"
    assert ctl(web, "batch", "retry", id_of(url))["status"] == "queued"
    assert ctl(web, "batch", "cancel", id_of(url))["status"] == "canceled"
    assert ctl(web, "batch", "purge", id_of(url))["removed"] == 1
    assert ctl(web, "batch", "list")["total"] == 0


@pytest.mark.parametrize("options, durability, starts", [
    (("--appendonly", "yes", "--appendfsync", "everysec"), "", False),
    (("--appendonly", "yes", "--appendfsync", "everysec"), "durability=everysec", True),
    ((), "durability=everysec", False),
    ((), "durability=none", True),
])
def test_a_redis_that_may_lose_batches_is_used_only_where_that_was_agreed_to(redis_started, server, keys, backend, options,
                                                                           durability, starts):
    redis, key = redis_started(*options), keys.add("acme")
    conf = f"APIQuotaQueue {redis.url} budget=10s {durability}\n" + batches.conf(backend.url + "/import")
    if not starts:
        web = server(conf, keys=keys, start=False)
        said = web.start_fails()
        assert "acknowledges before it has written" in said and "durability=" in said
        return
    web = server(conf, keys=keys, allow=(*AWAY, r"AQ00441"))
    assert web.post("/v1/imports", body=b"x", key=key).status == 202
    assert len(web.log.matching("AQ00441")) == (0 if options else 1)


def test_a_password_is_in_no_file_and_in_no_log(open_folder, redis_started, server, keys, backend):
    secret = open_folder / "redis.password"
    secret.write_text("open sesame\n")
    redis = redis_started(*DURABLE, "--requirepass", "open sesame")
    key = keys.add("acme")
    web = server(f"APIQuotaQueue {redis.url} budget=10s password-file={secret}\n" + batches.conf(backend.url + "/import"), keys=keys,
                 allow=AWAY)
    assert batches.wait_over(web, key, batches.submit(web, key), timeout_s=30)["status"] == "succeeded"
    assert "sesame" not in (web.root.state / "runtime.json").read_text() + web.log.text()
