# SPDX-License-Identifier: Apache-2.0
"""rediss+cluster:// and rediss+sentinel://: every node, sentinel and master is asked over TLS, also those that are told of
later; counters, keys, and the queue of httpd and its worker."""

import json
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from harness import batches, confs, paths, redis as redis_server
from harness.cluster import Cluster
from harness.counted import SAID, calls, conf, remaining
from harness.sentinel import PASSWORD, SENTINEL_PASSWORD, Sentinels
from harness.tls import Authority, needs_tls
from harness.waiting import eventually

pytestmark = needs_tls
LIMIT = 100000
FOLLOWED_S = 180


@pytest.fixture(name="folder", scope="module")
def folder_fixture():
    """One that the worker can read in, which opens certificates itself."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="apiquota-tls-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(name="authority", scope="module")
def authority_fixture(folder):
    return Authority(folder)


@pytest.fixture(name="shown", scope="module")
def shown_fixture(authority):
    return (*authority.certificate("server", "IP:127.0.0.1"), authority.file)


@pytest.fixture(name="mine", scope="module")
def mine_fixture(authority):
    """The words of a client that shows a certificate."""
    certificate, private = authority.certificate("client", "DNS:client.test")
    return f"ca={authority.file} cert={certificate} key={private}"


@pytest.fixture(name="six", scope="module")
def six_fixture(shown):
    """In place of the plain one, for `cluster`."""
    running = Cluster(tls=shown)
    yield running
    running.close()


@pytest.fixture
def sentinels(shown):
    running = Sentinels(tls=shown)
    yield running
    running.close()


@pytest.fixture
def passwords(folder):
    """The words that name the files with both."""
    (folder / "master").write_text(PASSWORD + "\n")
    (folder / "sentinel").write_text(SENTINEL_PASSWORD + "\n")
    return f"password-file={folder}/master sentinel-password-file={folder}/sentinel"


@pytest.fixture
def key(keys):
    return keys.add("acme")


def machine(server, keys, words, **how):
    return server(conf(words, budget="5s"), keys=keys, allow=SAID + (r"AQ00450",), **how)


def is_over_tls(*servers):
    """The servers have no client but this one that came without TLS."""
    for one in servers:
        lines = one.say("CLIENT", "LIST").splitlines()
        plain = [line for line in lines if f"laddr=127.0.0.1:{one.port} " in line and "cmd=client" not in line]
        assert not plain, plain


def test_tenants_of_a_cluster_are_counted_over_tls_each_at_its_node(cluster, server, keys, mine):
    secrets = [keys.add(f"tenant{number}") for number in range(12)]
    web = machine(server, keys, f"{cluster.url} {mine}")
    assert [remaining(web, secret) for secret in secrets for _ in range(2)] == [LIMIT - 1, LIMIT - 2] * 12
    assert sum(bool(node.say("KEYS", "aq:{t*")) for node in cluster.masters()) >= 2
    is_over_tls(*cluster.masters())


def test_node_that_takes_over_is_asked_over_tls(cluster, server, keys, key, mine):
    web = machine(server, keys, f"{cluster.url} {mine}")
    assert [remaining(web, key) for _ in range(2)] == [LIMIT - 1, LIMIT - 2]
    home = cluster.homes("t")[0]
    before = cluster.owner(home)
    cluster.replicated(before)
    heir = cluster.replica_of(before)
    heir.say("CLUSTER", "FAILOVER")
    eventually(lambda: cluster.owner(home) is heir and heir.info("replication")["role"] == "master", FOLLOWED_S,
               what="a new master")
    assert remaining(web, key) == LIMIT - 3
    assert calls(heir) > 0
    is_over_tls(heir)


def test_cluster_of_another_authority_is_not_counted_on(cluster, server, keys, key, tmp_path):  # pylint: disable=unused-argument
    output = machine(server, keys, f"{cluster.url} ca={Authority(tmp_path, 'other').file}", start=False).start_fails()
    assert "does not answer" in output


def test_keys_and_queue_of_a_cluster_over_tls(cluster, server, keys, key, backend, mine):  # pylint: disable=unused-argument
    """The worker is a client of its own, which reads the certificates itself."""
    allow = (redis_server.NOT_PERSISTED, r"AQ00441")
    web = server(f"APIQuotaKeyStore {cluster.url} budget=5s {mine}\n"
                 f"APIQuotaQueue {cluster.url} budget=10s durability=none {mine}\n" + batches.conf(backend.url + "/import"),
                 allow=allow, mpm_conf=confs.ONE_CHILD)

    def ctl(*words):
        ran = subprocess.run([paths.CTL, "--state-dir", web.root.state, "--json", *words], capture_output=True, text=True,
                             check=True)
        return json.loads(ran.stdout)
    ctl("tenant", "set", "globex", "--plan", "basic")
    made = ctl("key", "create", "--tenant", "globex")["key"]
    eventually(lambda: web.get(batches.STATUS_PATH, key=made).status == 200, FOLLOWED_S, what="the key to be known")
    batch = batches.wait_over(web, made, batches.submit(web, made), timeout_s=30)
    assert batch["status"] == "succeeded"
    assert [row["id"] for row in ctl("batch", "list")["batches"]] == [batch["id"]]
    is_over_tls(*cluster.masters())


def test_sentinels_and_their_master_are_asked_over_tls_also_after_a_failover(sentinels, passwords, server, keys, key, mine):
    web = machine(server, keys, f"{sentinels.url} {passwords} {mine}")
    assert [remaining(web, key) for _ in range(2)] == [LIMIT - 1, LIMIT - 2]
    heir = sentinels.replica()
    wanted = int(sentinels.master.info("replication")["master_repl_offset"])
    eventually(lambda: int(heir.info("replication")["slave_repl_offset"]) >= wanted, FOLLOWED_S, what="replication")
    sentinels.fail_over()

    def counts():
        web.get("/v1/item.json", key=key)
        return heir.info("replication")["role"] == "master" and calls(heir) > 0
    eventually(counts, FOLLOWED_S, what="counting on the new master")
    is_over_tls(heir, *sentinels.sentinels)


def test_sentinels_of_another_authority_are_not_believed(sentinels, passwords, server, keys, key, tmp_path):  # pylint: disable=unused-argument
    other = Authority(tmp_path, "other")
    output = machine(server, keys, f"{sentinels.url} {passwords} ca={other.file}", start=False).start_fails()
    assert "AQ00450" in output and "no sentinel names a master" in output
