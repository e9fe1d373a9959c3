# SPDX-License-Identifier: Apache-2.0
"""Webhooks: the end of a batch is told to its tenant's own server, which is a real one, by the worker that httpd starts."""

import datetime
import json
import time

import pytest

from harness import batches, processes, webhooks
from harness.backend import Backend
from harness.waiting import eventually

SECRET, OTHER = webhooks.new_secret(), webhooks.new_secret(24)


@pytest.fixture
def receiver():
    running = Backend()
    yield running
    running.close()


@pytest.fixture
def key(keys, receiver):
    keys.tenant("acme", webhook=webhooks.webhook(receiver, SECRET))
    return keys.add("acme")


@pytest.fixture
def running(server, keys, key, backend):
    """running(*lines, target="/import", **fields of Spec): a server whose location tells of ends."""
    def make(*lines, target="/import", **fields):
        return server(webhooks.conf(backend.url + target, *lines), keys=keys, **fields)
    return make


def test_the_end_of_a_batch_is_told_and_the_standards_own_library_believes_it(running, key, receiver):
    web = running()
    batch = batches.wait_over(web, key, batches.submit(web, key))
    (seen,) = webhooks.wait_seen(receiver)
    payload = webhooks.verified(seen, SECRET)
    assert payload == json.loads(seen.body)
    assert payload["type"] == "batch.succeeded" and payload["timestamp"] == batch["finished_at"]
    assert payload["data"] == {name: batch[name] for name in ("id", "status", "created_at", "started_at", "finished_at",
                                                              "attempt", "progress", "error", "metadata")} | {
                                                                  "response": {"status": 200}}
    assert webhooks.verified(seen, OTHER) is None
    assert webhooks.verified(seen._replace(body=seen.body.replace(b"succeeded", b"failed")), SECRET) is None
    assert (seen.method, seen.headers["Content-Type"]) == ("POST", "application/json")
    assert seen.headers["webhook-id"].startswith("msg_" + batch["id"].removeprefix("batch_") + "_")
    assert abs(int(seen.headers["webhook-timestamp"]) - time.time()) < 60
    text = str(seen.headers.pairs) + seen.body.decode()
    assert key not in text and "whsec" not in text and key.id not in text
    (row,) = webhooks.wait_state(web, "delivered")
    assert (row["id"], row["batch"], row["last_status"]) == (seen.headers["webhook-id"], batch["id"], 200)
    assert SECRET not in web.log.text() and OTHER not in web.log.text()


@pytest.mark.parametrize("target, status", [("/status/200", "succeeded"), ("/status/422", "failed")])
def test_each_end_has_its_type(running, key, receiver, target, status):
    web = running(target=target)
    batches.wait_over(web, key, batches.submit(web, key))
    (seen,) = webhooks.wait_seen(receiver)
    assert json.loads(seen.body)["type"] == "batch." + status
    assert json.loads(seen.body)["data"]["status"] == status


def test_a_batch_that_is_canceled_while_it_waits_is_told_too(running, key, receiver):
    web = running(worker=False)
    url = batches.submit(web, key)
    assert web.post(url + "/cancel", key=key).status == 200
    (row,) = webhooks.log(web)
    assert row["status"] == "pending" and row["attempts"] == 0 and row["type"] == "batch.canceled"
    web.spec.worker = True
    web.root.write_conf()
    web.restart()
    (seen,) = webhooks.wait_seen(receiver)
    assert webhooks.verified(seen, SECRET)["type"] == "batch.canceled"
    assert seen.headers["webhook-id"] == row["id"]


def test_a_location_without_the_directive_tells_nothing(server, keys, key, backend, receiver):
    web = server(webhooks.ALLOW + batches.conf(backend.url + "/import"), keys=keys)
    batches.wait_over(web, key, batches.submit(web, key))
    assert webhooks.log(web) == [] and receiver.seen() == []


def test_a_tenant_without_a_webhook_is_told_nothing_and_the_log_says_so(running, keys, receiver):
    web = running()
    stranger = keys.add("globex")
    web.load_keys()
    batches.wait_over(web, stranger, batches.submit(web, stranger))
    (row,) = webhooks.wait_state(web, "dropped")
    assert row["tenant"] == "globex" and receiver.seen() == []


def test_a_message_that_is_refused_comes_again_with_the_same_id_when_the_receiver_asked(running, key, receiver):
    web = running()
    began = time.monotonic()
    receiver.script(webhooks.PATH, status=503, headers={"Retry-After": "7"}, times=1)
    batches.wait_over(web, key, batches.submit(web, key))
    webhooks.wait_seen(receiver, 1)
    # What became of it is written down when the answer has come.
    (row,) = eventually(lambda: [row for row in webhooks.log(web) if row["attempts"] and row["last_status"]])
    assert (row["status"], row["attempts"], row["last_status"], row["last_error"]) == (
        "pending", 1, 503, "the receiver answered 503")
    wait = datetime.datetime.fromisoformat(row["next_attempt_at"]) - datetime.datetime.fromisoformat(
        row["last_attempt_at"])
    assert 7 <= wait.total_seconds() < 8
    first, second = webhooks.wait_seen(receiver, 2, timeout_s=60)
    assert time.monotonic() - began >= 7
    assert first.headers["webhook-id"] == second.headers["webhook-id"] and first.body == second.body
    assert int(second.headers["webhook-timestamp"]) >= int(first.headers["webhook-timestamp"]) + 6
    assert webhooks.verified(second, SECRET)
    (row,) = webhooks.wait_state(web, "delivered")
    assert row["attempts"] == 2 and row["last_error"] is None


def test_a_receiver_that_answers_410_is_sent_no_more(running, key, receiver):
    web = running()
    web.expect_log("AQ00662: webhook msg_")
    receiver.script(webhooks.PATH, status=410)
    batches.wait_over(web, key, batches.submit(web, key))
    (row,) = webhooks.wait_state(web, "failed")
    assert (row["attempts"], row["last_status"], row["next_attempt_at"]) == (1, 410, None)


def test_an_answer_of_any_length_is_enough(running, key, receiver):
    web = running()
    receiver.script(webhooks.PATH, body=b"x" * 5000000)
    batches.wait_over(web, key, batches.submit(web, key))
    (row,) = webhooks.wait_state(web, "delivered")
    assert row["attempts"] == 1


def test_rotated_secrets_sign_together_until_the_old_one_retires(running, key, receiver):
    web = running()
    batches.wait_over(web, key, batches.submit(web, key))
    webhooks.wait_seen(receiver, 1)
    fresh = webhooks.ctl(web, "webhook", "rotate", "acme", "--overlap", "1h")["webhook_secret"]
    batches.wait_over(web, key, batches.submit(web, key))
    seen = webhooks.wait_seen(receiver, 2)[1]
    assert len(seen.headers["webhook-signature"].split(" ")) == 2
    assert webhooks.verified(seen, SECRET) and webhooks.verified(seen, fresh)
    last = webhooks.ctl(web, "webhook", "rotate", "acme", "--overlap", "0")["webhook_secret"]
    batches.wait_over(web, key, batches.submit(web, key))
    seen = webhooks.wait_seen(receiver, 3)[2]
    assert webhooks.verified(seen, last) and not webhooks.verified(seen, SECRET) and not webhooks.verified(seen, fresh)


def test_a_webhook_is_changed_while_the_server_runs(running, keys, key, receiver):
    web = running()
    batches.wait_over(web, key, batches.submit(web, key))
    webhooks.wait_seen(receiver, 1)
    webhooks.ctl(web, "tenant", "set", "acme", "--webhook", receiver.url + "/status/204")
    batches.wait_over(web, key, batches.submit(web, key))
    webhooks.wait_seen(receiver, 1, path="/status/204")
    assert len(receiver.seen(webhooks.PATH)) == 1


def test_a_bad_webhook_is_refused_alone(server, keys, backend, receiver):
    keys.tenant("acme", webhook={"url": receiver.url, "secret": "whsec_short"})
    key = keys.add("acme")
    web = server(webhooks.conf(backend.url + "/import"), keys=keys, start=False)
    web.expect_log(r"AQ00200: .*tenants\.acme\.webhook: secret 1 is no")
    web.start()
    batches.wait_over(web, key, batches.submit(web, key))
    webhooks.wait_state(web, "dropped")
    assert receiver.seen() == []


# ---- crashes and slow receivers --------------------------------------------------------------------------------------

def test_a_message_whose_worker_is_killed_amid_it_is_sent_again(running, key, receiver):
    web = running()
    receiver.hold(webhooks.PATH)
    batches.wait_over(web, key, batches.submit(web, key))
    webhooks.wait_seen(receiver, 1)
    web.expect_log("AQ013|AQ00630")
    processes.send_signal(web.worker_pid(), 9)
    receiver.let_go()
    first, second = webhooks.wait_seen(receiver, 2, timeout_s=60)
    assert first.headers["webhook-id"] == second.headers["webhook-id"] and first.body == second.body
    (row,) = webhooks.wait_state(web, "delivered")
    assert row["attempts"] == 2


def test_a_slow_receiver_delays_neither_jobs_nor_other_receivers(running, keys, receiver):
    """The slow one answers nothing until the others are done, if only within the fifteen seconds that it is given."""
    keys.tenant("slow", webhook=webhooks.webhook(receiver, SECRET, path="/status/204"))
    keys.tenant("quick", webhook=webhooks.webhook(receiver, OTHER))
    slow, quick = keys.add("slow"), keys.add("quick")
    web = running()
    receiver.hold("/status/204")
    for url in [batches.submit(web, slow) for _ in range(12)]:
        batches.wait_over(web, slow, url)
    webhooks.wait_seen(receiver, 4, path="/status/204")
    for url in [batches.submit(web, quick) for _ in range(5)]:
        batches.wait_over(web, quick, url)
    webhooks.wait_seen(receiver, 5)
    webhooks.wait_state(web, "delivered", 5)
    assert len(receiver.seen("/status/204")) == 4, "one tenant has more than four on their way"


def test_a_stop_gives_messages_back_at_once(running, key, receiver):
    """Not after the minute for which a worker that was killed has one."""
    web = running()
    receiver.hold(webhooks.PATH)
    batches.wait_over(web, key, batches.submit(web, key))
    webhooks.wait_seen(receiver, 1)
    web.stop()
    web.start()
    (row,) = webhooks.log(web)
    assert row["status"] == "pending" and row["attempts"] <= 1
    webhooks.wait_seen(receiver, 2, timeout_s=40)
    receiver.let_go()
    (row,) = webhooks.wait_state(web, "delivered")
    assert row["attempts"] == 1
