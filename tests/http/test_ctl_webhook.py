# SPDX-License-Identifier: Apache-2.0
"""apiquotactl webhook, and tenant set --webhook, beside a real httpd with its worker."""

import json
import os

import pytest

from harness import batches, webhooks
from harness.backend import Backend

SECRET = webhooks.new_secret()


@pytest.fixture
def receiver():
    running = Backend()
    yield running
    running.close()


@pytest.fixture
def web(server, keys, backend, receiver):
    """Tenants: acme with a webhook that answers 200, failing whose receiver answers 500, and globex without one."""
    keys.tenant("acme", webhook=webhooks.webhook(receiver, SECRET))
    keys.tenant("failing", webhook=webhooks.webhook(receiver, SECRET, path="/status/500"))
    for tenant in ("acme", "failing", "globex"):
        keys.add(tenant, id="k_" + tenant)
    started = server(webhooks.conf(backend.url + "/import"), keys=keys)
    started.log.wait_for(r"AQ00600")  # the worker makes the queue
    return started


def test_a_test_message_is_sent_by_the_worker_and_its_end_is_told(web, receiver):
    shown = webhooks.ctl(web, "webhook", "test", "acme")
    assert (shown["status"], shown["type"], shown["batch"], shown["last_status"]) == ("delivered", "webhook.test", None,
                                                                                    200)
    (seen,) = receiver.seen(webhooks.PATH)
    assert seen.headers["webhook-id"] == shown["id"]
    assert webhooks.verified(seen, SECRET) == {"type": "webhook.test", "timestamp": shown["created_at"], "data": {}}
    assert "is delivered: the receiver answered 200." in webhooks.ctl(web, "webhook", "test", "acme", use_json=False)
    assert "is pending: the receiver answered 500." in webhooks.ctl(web, "webhook", "test", "failing", code=1)
    assert 'the tenant "globex" has no webhook' in webhooks.ctl(web, "webhook", "test", "globex", code=1)
    assert 'the tenant "nobody" is unknown' in webhooks.ctl(web, "webhook", "test", "nobody", code=1)
    assert len(webhooks.log(web)) == 3


def test_the_log_is_listed_shown_and_tried_again(web, receiver):
    webhooks.ctl(web, "webhook", "test", "acme")
    webhooks.ctl(web, "webhook", "test", "failing", code=1)
    failing, acme = webhooks.log(web)
    assert (failing["tenant"], failing["status"], failing["last_status"]) == ("failing", "pending", 500)
    assert webhooks.log(web, "--tenant", "acme") == [acme] == webhooks.log(web, "--status", "delivered")
    assert webhooks.log(web, "1") == [failing]
    table = webhooks.ctl(web, "webhook", "list", use_json=False).splitlines()
    assert table[0].split()[:4] == ["ID", "TENANT", "TYPE", "STATUS"] and len(table) == 3
    shown = webhooks.ctl(web, "webhook", "show", acme["id"])
    assert shown.pop("payload") == json.loads(receiver.seen(webhooks.PATH)[0].body) and shown == acme
    assert SECRET not in webhooks.ctl(web, "webhook", "show", acme["id"], use_json=False)
    assert webhooks.ctl(web, "webhook", "retry", acme["id"]) == {"id": acme["id"], "status": "pending"}
    first, second = webhooks.wait_seen(receiver, 2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert "there is no message msg_none" in webhooks.ctl(web, "webhook", "retry", "msg_none", code=1)
    assert "there is no message msg_none" in webhooks.ctl(web, "webhook", "show", "msg_none", code=1)
    assert "--status must be" in webhooks.ctl(web, "webhook", "list", "--status", "sent", code=2)
    assert "COUNT" in webhooks.ctl(web, "webhook", "list", "0", code=2)
    owners = {os.stat(batches.folder(web) / name).st_uid for name in os.listdir(batches.folder(web))}
    assert owners == {os.stat(batches.folder(web)).st_uid}, "a file of root's would keep httpd out"


def test_a_secret_is_shown_once_and_never_again(web, receiver):
    made = webhooks.ctl(web, "tenant", "set", "globex", "--webhook", receiver.url + "/status/201")
    assert made["webhook_secret"].startswith("whsec_")
    assert webhooks.ctl(web, "webhook", "test", "globex")["last_status"] == 201
    assert webhooks.verified(receiver.seen("/status/201")[0], made["webhook_secret"])
    rotated = webhooks.ctl(web, "webhook", "rotate", "globex")
    assert rotated["webhook_secret"] not in ("", made["webhook_secret"]) and rotated["old_until"]
    again = webhooks.ctl(web, "tenant", "set", "globex", "--plan", "basic", "--webhook", receiver.url + "/status/202")
    assert again == {"tenant": "globex"}
    shown = webhooks.ctl(web, "tenant", "show", "globex", use_json=False)
    assert receiver.url + "/status/202" in shown and "whsec" not in shown
    webhooks.ctl(web, "tenant", "set", "globex", "--webhook", "")
    assert 'has no webhook' in webhooks.ctl(web, "webhook", "rotate", "globex", code=1)


@pytest.mark.parametrize("words, code, said", [
    (("tenant", "set", "acme", "--webhook", "ftp://x/"), 2, "--webhook ftp://x/: its URL is no URL https://"),
    (("tenant", "set", "acme", "--webhook", "https://u:p@x/"), 2, "has a user, a password or a fragment"),
    (("tenant", "set", "nobody", "--webhook", "https://x/"), 1, 'the tenant "nobody" is unknown'),
    (("webhook", "rotate", "acme", "--overlap", "soon"), 2, "--overlap soon"),
    (("webhook", "rotate", "nobody"), 1, 'the tenant "nobody" is unknown'),
    (("webhook", "test"), 2, "usage: apiquotactl webhook test TENANT"),
    (("key", "list", "--webhook", "x"), 2, "usage: apiquotactl key list"),
])
def test_what_cannot_be_done_is_said_and_changes_nothing(web, words, code, said):
    before = web.root.keys_file.read_bytes()
    assert said in webhooks.ctl(web, *words, code=code)
    assert web.root.keys_file.read_bytes() == before
