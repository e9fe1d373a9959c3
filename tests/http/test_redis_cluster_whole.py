# SPDX-License-Identifier: Apache-2.0
"""The queue and the keys in a Redis Cluster of six nodes: each lies in one slot, which it needs whole. What happens while
that slot is moved, and when the master that has it dies."""

import json
import subprocess

import pytest

from harness import batches, checks, confs, paths, quota, redis as redis_server
from harness.cluster import Move
from harness.keys import new_secret, sha256_of
from harness.redis_keys import PREFIX, RedisKeys
from harness.waiting import eventually

QUEUE, QUEUE_LOG, HOME = "aq:{q}:", r"AQ00442", "/apiquota-home"
GIVES = f"<Location {HOME}>\n    SetHandler apiquota-home\n    Require local\n</Location>\n"
ITEM = "/v1/item.json"
ROOMY = quota.ROOMY + confs.plan("rich", "year 2000000/366d headers=primary") + confs.location("/v1")
# What is said while a slot is moved, or a node is away.
AWAY = (redis_server.FAILED, redis_server.NOT_PERSISTED, r"AQ00604", r"AQ00606", r"AQ00611", r"AQ00632", r"AQ00633",
        r"AQ00641", r"AQ00647", r"AQ0066[57]", r"AQ00689", r"AQ01222", r"AQ01230", r"AQ0125[0-9]", r"AQ01271",
        r"AQ01274", r"AQ00613")  # the last: a lease that a slow machine lets go by
SOON_S, FOLLOWED_S = 30, 60
HELD = [f"held {row}".encode() for row in range(2000)]


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def machine(cluster, server, keys, key, backend):  # pylint: disable=unused-argument
    """machine(options="", allow=()): one whose queue is in the cluster, and which gives its results to the others."""
    def make(options="", allow=()):
        where = f"APIQuotaQueue {cluster.url} budget=10s home=http://127.0.0.1:${{PORT}}{HOME} {options}\n"
        return server(where + GIVES + batches.conf(backend.url + "/import"), keys=keys, modules=("proxy_http",),
                      allow=AWAY + tuple(allow))
    return make


def ctl(web, *words, code=0):
    done = subprocess.run([paths.CTL, "--state-dir", web.root.state, "--json", *words], capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


class Asked:
    """What a client uploads, until it is taken, under one idempotency key each; all of it is to be done."""

    def __init__(self, web, key, backend):
        self._web, self._key, self._backend, self.taken = web, key, backend, {}

    def upload(self, name, lines=None):
        lines = lines or [f"{name} {row}".encode() for row in range(5)]

        def taken():
            answer = self._web.post("/v1/imports", body=b"\n".join(lines), key=self._key,
                                    headers={"Idempotency-Key": name})
            assert answer.status in (202, 503), answer
            return answer.headers["Location"] if answer.status == 202 else None
        url = eventually(taken, FOLLOWED_S, what="a 202")
        self.taken.setdefault(name, (url, lines))
        assert self.taken[name][0] == url
        return url

    def _get(self, path):
        return batches.get_served(self._web, self._key, path, FOLLOWED_S)

    def _over(self, url):
        batch = self._get(url)
        return batch if batch["status"] in batches.OVER else None

    def are_done(self):
        for url, lines in self.taken.values():
            batch = eventually(lambda url=url: self._over(url), FOLLOWED_S, what="the end of a batch")
            assert batch["status"] == "succeeded", batch
            assert self._backend.store.lines(batch["id"]) == lines
            assert self._get(url + "/result")["imported"] == len(lines)
        assert self._get(batches.STATUS_PATH)["pagination"]["total"] == len(self.taken)


@pytest.fixture
def asked(key, backend):
    return lambda web: Asked(web, key, backend)


def assert_away(web, key, url):
    """The queue answers nothing, and says when to ask again."""
    for answer in (web.get(url, key=key), web.post("/v1/imports", body=b"x", key=key)):
        checks.assert_problem(answer, 503, code="queue-unavailable", retry_after=checks.retry_after(answer))


# ---- the queue -------------------------------------------------------------------------------------

def test_a_batch_is_taken_done_and_its_result_fetched_by_another_machine(machine, cluster, key, backend):
    """Of the nodes, the one that has the queue alone is asked whether it is durable."""
    cluster.durable(cluster.owner(QUEUE))
    there, here = machine(), machine()
    lines = [f"row {number}".encode() for number in range(2000)]
    url = batches.submit(there, key, body=b"\n".join(lines))
    batch = batches.wait_over(here, key, url, timeout_s=SOON_S)
    assert batch["status"] == "succeeded" and batch["attempt"] == 1
    assert backend.store.lines(batch["id"]) == lines
    machine_name = (there.root.state / "machine").read_text()
    eventually(lambda: cluster.owner(QUEUE).say("GET", f"{QUEUE}h:{machine_name}"), SOON_S, what="the machine to be known")
    assert here.get(url + "/result", key=key).body == there.get(url + "/result", key=key).body
    for web in (there, here):
        assert [row["id"] for row in ctl(web, "batch", "list")["batches"]] == [batch["id"]]
    assert [node.say("KEYS", QUEUE + "*") != [] for node in cluster.masters()].count(True) == 1


def test_f38_slot_of_the_queue_moved_while_jobs_run_loses_and_repeats_nothing(machine, cluster, asked, key, backend):
    """While it is moved the queue is away, never half there; a node that is not durable is not used."""
    cluster.durable(cluster.owner(QUEUE))
    web = machine(allow=(QUEUE_LOG,))
    client = asked(web)
    client.upload("before")
    client.are_done()
    backend.hold_import(1000)
    held = client.upload("held", HELD)
    backend.wait_held(SOON_S)
    client.upload("queued behind it")
    move = Move(cluster, QUEUE)
    for step in (move.begin, move.keys):
        step()
        assert_away(web, key, held)
        assert "busy" in ctl(web, "batch", "list", code=1)
    backend.release()
    move.end()
    web.log.wait_for(QUEUE_LOG)
    assert_away(web, key, held)
    cluster.durable(move.target)
    client.upload("after")
    client.upload("before")
    client.are_done()


def test_f38_killed_master_of_the_queue_is_replaced_and_nothing_that_its_replica_had_is_lost(machine, cluster, asked, key,
                                                                                          backend):
    dying = cluster.owner(QUEUE)
    cluster.durable(dying, cluster.replica_of(dying))
    web = machine()
    client = asked(web)
    client.upload("before")
    client.are_done()
    backend.hold_import(1000)
    client.upload("held", HELD)
    backend.wait_held(SOON_S)
    client.upload("queued behind it")
    cluster.replicated(dying)
    cluster.kill(dying)
    backend.release()
    client.upload("after")
    client.upload("held", HELD)
    client.are_done()


# ---- keys ------------------------------------------------------------------------------------------

class InCluster:
    """The node that has the keys, whichever it is, as a Redis."""

    def __init__(self, cluster):
        self._cluster, self.url = cluster, cluster.url

    def say(self, *words):
        return self._cluster.owner(PREFIX).say(*words)

    def say_all(self, *commands):
        return self._cluster.owner(PREFIX).say_all(*commands)


@pytest.fixture
def redis_keys(cluster):
    return RedisKeys(InCluster(cluster))


@pytest.fixture
def known(redis_keys):
    return redis_keys.add("acme", id="k_acme")


@pytest.fixture
def by_keys(server, redis_keys, known):  # pylint: disable=unused-argument
    return lambda: server(ROOMY, keys=redis_keys, allow=AWAY)


def status(web, key):
    return web.get(ITEM, key=key).status


def limit(web, key):
    return checks.trio(web.get(ITEM, key=key)).limit


def assert_obeyed(redis, webs, key):
    """One write of a plan, back and forth."""
    for plan, wanted in (("rich", 2000000), ("basic", 1000000)):
        redis.say("HSET", PREFIX + "tenant:acme", "plan", plan)
        for web in webs:
            eventually(lambda web=web, wanted=wanted: all(limit(web, key) == wanted for _ in range(8)), SOON_S)


def test_keys_in_a_cluster_are_changed_by_one_write_and_by_apiquotactl(by_keys, redis_keys, known):
    webs = by_keys(), by_keys()
    assert [limit(web, known) for web in webs] == [1000000] * 2
    assert_obeyed(redis_keys.redis, webs, known)
    made = ctl(webs[0], "key", "create", "--tenant", "acme")
    eventually(lambda: all(status(web, made["key"]) == 200 for web in webs for _ in range(8)), SOON_S)
    ctl(webs[1], "key", "revoke", made["id"])
    eventually(lambda: all(status(web, made["key"]) == 401 for web in webs for _ in range(8)), SOON_S)
    assert {row["id"] for row in ctl(webs[0], "key", "list")["keys"]} == {"k_acme"}


def test_f38_slot_of_the_keys_moved_refuses_nobody_and_is_obeyed_afterwards(by_keys, cluster, redis_keys, known):
    """Half of the records is not enough: who is known goes on, and who is not gets a 503, never a 401."""
    other, late = redis_keys.add("globex"), new_secret()
    web = by_keys()
    assert [status(web, known), status(web, other), status(web, late)] == [200, 200, 401]
    move = Move(cluster, PREFIX)
    for step in (move.begin, move.keys):
        step()
        failed = web.log.mark()
        eventually(lambda mark=failed: status(web, known) == 200 and web.log.matching(redis_server.FAILED, mark), SOON_S)
        assert [status(web, known), status(web, other)] == [200, 200]
        checks.assert_problem(web.get(ITEM, key=new_secret()), 503, code="keys-unavailable")
        assert "moving" in ctl(web, "key", "list", code=1)
    move.end()
    redis_keys.redis.say("HSET", f"{PREFIX}key:{sha256_of(late)}", "id", "k_late", "tenant", "acme")
    eventually(lambda: all(status(web, late) == 200 for _ in range(8)), SOON_S)
    assert_obeyed(redis_keys.redis, [web], known)


def test_f38_killed_master_of_the_keys_is_replaced_and_its_heir_obeyed(by_keys, cluster, redis_keys, known):
    web = by_keys()
    assert status(web, known) == 200
    dying = cluster.owner(PREFIX)
    cluster.replicated(dying)
    heir = cluster.kill(dying)

    def is_promoted():
        assert status(web, known) == 200
        return heir.info("replication")["role"] == "master" and cluster.owner(PREFIX) is heir
    eventually(is_promoted, FOLLOWED_S, what="a new master")
    assert_obeyed(redis_keys.redis, [web], known)
