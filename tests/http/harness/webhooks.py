# SPDX-License-Identifier: Apache-2.0
"""What tests of webhooks share: a tenant's webhook, somebody else's library that verifies, and apiquotactl webhook."""

import base64
import json
import secrets
import subprocess

from . import batches, npm, paths
from .waiting import wait_until

PATH = "/status/200"  # of a Backend that receives
ALLOW = "APIQuotaWebhookAllow 127.0.0.0/8\n"
HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
VERIFY = """
const {Webhook} = require('standardwebhooks');
const {secret, body, headers} = JSON.parse(require('fs').readFileSync(0, 'utf8'));
console.log(JSON.stringify(new Webhook(secret).verify(body, headers)));
"""


def new_secret(size=32):
    return "whsec_" + base64.b64encode(secrets.token_bytes(size)).decode()


def webhook(receiver, *secret, path=PATH):
    """The member of a tenant: messages go to `receiver` (anything with a `url`)."""
    return {"url": receiver.url + path, "secret": list(secret) if len(secret) > 1 else secret[0]}


def conf(target, *lines, allow=ALLOW):
    """A batch location whose ends are told."""
    return allow + batches.conf(target, "APIQuotaBatchWebhook On", *lines)


def verified(seen, secret):
    """What the standard's own library makes of a recorded request: the payload, or None where it refuses."""
    packages = npm.install("standardwebhooks@1.0.0")
    headers = {name: seen.headers[name] for name in HEADERS}
    asked = json.dumps({"secret": secret, "body": seen.body.decode(), "headers": headers})
    done = packages.node(VERIFY, text=asked)
    if done.returncode != 0:
        assert "WebhookVerificationError" in done.stderr, done.stderr
        return None
    return json.loads(done.stdout)


def wait_seen(receiver, count=1, path=PATH, timeout_s=30.0):
    """Waits for so many messages, and returns those that came."""
    wait_until(lambda: len(receiver.seen(path)) >= count, timeout_s, interval_s=0.02)
    seen = receiver.seen(path)
    assert len(seen) >= count, f"{len(seen)} of {count} messages within {timeout_s} s"
    return seen


def ctl(web, *words, code=0, use_json=True):
    """Runs apiquotactl: the object printed, or its text; with a code, what it says is wrong."""
    command = [paths.CTL, "--state-dir", web.root.state, *(["--json"] if use_json and not code else []), *words]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    if code:
        return done.stderr + done.stdout
    return json.loads(done.stdout) if use_json else done.stdout


def log(web, *filters):
    """The delivery log, newest first."""
    return ctl(web, "webhook", "list", *filters)["webhooks"]


def wait_state(web, state, count=1, timeout_s=30.0):
    """Waits for so many messages of that state, and returns them."""
    found = wait_until(lambda: (lambda rows: rows if len(rows) >= count else None)(log(web, "--status", state)),
                       timeout_s, interval_s=0.1)
    assert found, f"no {count} messages {state} within {timeout_s} s: {log(web)}"
    return found
