# SPDX-License-Identifier: Apache-2.0
"""apiquotactl key and tenant where keys live in Redis: the same commands, and all machines obey."""

import json
import subprocess

import pytest

from harness import checks, confs, paths, quota, redis as redis_server
from harness.cluster import Cluster
from harness.keys import sha256_of
from harness.redis_keys import PREFIX, RedisKeys
from harness.waiting import eventually

ITEM = "/v1/item.json"
CONF = quota.ROOMY + confs.plan("rich", "year 2000000/366d headers=primary") + confs.location("/v1")
SOON_S = 30


@pytest.fixture(name="redis_keys")
def fixture_redis_keys(redis):
    return RedisKeys(redis)


@pytest.fixture(name="web")
def fixture_web(redis_started, server, redis_keys):  # pylint: disable=unused-argument
    redis_keys.tenant("acme", max_keys=3)
    return server(CONF, keys=redis_keys)


def run(web, *words, env=None):
    return subprocess.run([str(paths.CTL), "--state-dir", str(web.root.state), *words], capture_output=True, text=True,
                          timeout=30, check=False, env=env)


def ctl(web, *words, code=0):
    """What apiquotactl prints with --json; on failure what it says on standard error."""
    done = run(web, "--json", *words)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr if code else json.loads(done.stdout)


def status(web, key):
    return web.get(ITEM, key=key).status


def test_key_is_made_listed_rotated_and_revoked(web, redis):
    made = ctl(web, "key", "create", "--tenant", "acme", "--scope", "a", "--scope", "b:c", "--id", "k_one")
    assert redis.say("HGET", f"{PREFIX}key:{sha256_of(made['key'])}", "scopes") == "a b:c"
    assert status(web, made["key"]) == 200
    assert [(row["id"], row["plan"], row["scopes"], row["state"]) for row in ctl(web, "key", "list")["keys"]] == \
        [("k_one", "basic", ["a", "b:c"], "active")]
    fresh = ctl(web, "key", "rotate", "k_one", "--overlap", "1h")
    assert (status(web, fresh["key"]), status(web, made["key"])) == (200, 200)
    left = checks.trio(web.get(ITEM, key=made["key"])).remaining
    assert checks.trio(web.get(ITEM, key=fresh["key"])).remaining == left - 1
    ctl(web, "key", "revoke", "k_one")
    eventually(lambda: all(status(web, made["key"]) == 401 for _ in range(8)), SOON_S)
    assert status(web, fresh["key"]) == 200


def test_tenants_are_set_shown_and_obeyed(web, redis):
    key = ctl(web, "key", "create", "--tenant", "acme")["key"]
    assert checks.trio(web.get(ITEM, key=key)).limit == 1000000
    ctl(web, "tenant", "set", "acme", "--plan", "rich", "--limit", "year=7/366d")
    assert redis.say("HGETALL", PREFIX + "tenant:acme") == ["plan", "rich", "max_keys", "3", "limit:year", "7/366d"]
    eventually(lambda: checks.trio(web.get(ITEM, key=key)).limit == 7, SOON_S)
    ctl(web, "tenant", "set", "acme", "--limit", "year=")
    eventually(lambda: checks.trio(web.get(ITEM, key=key)).limit == 2000000, SOON_S)
    assert ctl(web, "tenant", "show", "acme")["tenants"][0]["plan"] == "rich"
    assert "unknown to the server" in ctl(web, "tenant", "set", "acme", "--plan", "gold", code=1)
    assert {row["limit"] for row in ctl(web, "usage", "show")["usage"]} == {"year"}


def test_rules_hold_as_in_a_file(web):
    for _ in range(3):
        ctl(web, "key", "create", "--tenant", "acme")
    assert "has 3 keys already" in ctl(web, "key", "create", "--tenant", "acme", code=1)
    assert "is unknown" in ctl(web, "key", "create", "--tenant", "nobody", code=1)
    assert "there is no key" in ctl(web, "key", "revoke", "k_none", code=1)


def test_keys_file_is_imported_and_exported(web, redis, keys, tmp_path):
    one, two = keys.add("globex", scopes=["s"]), keys.add("initech", limits={"year": "9/366d"})
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(keys.document))
    assert ctl(web, "key", "import", str(file)) == {"tenants": 2, "keys": 2}
    assert (status(web, one), status(web, two)) == (200, 200)
    assert checks.trio(web.get(ITEM, key=two)).limit == 9
    exported = json.loads(run(web, "key", "export").stdout)
    assert set(exported["tenants"]) == {"acme", "globex", "initech"}
    assert sorted(exported["keys"], key=lambda entry: entry["id"]) == \
        sorted(keys.document["keys"], key=lambda entry: entry["id"])
    before = redis.say("DBSIZE")
    keys.tenant("bad", plan="no-such-plan")
    file.write_text(json.dumps(keys.document))
    assert "no-such-plan" in ctl(web, "key", "import", str(file), code=1)
    assert redis.say("DBSIZE") == before


def test_config_check_names_records_that_are_refused(web, redis):
    redis.say("HSET", PREFIX + "tenant:odd", "plan", "no-such-plan")
    redis.say("SET", PREFIX + "tenant:text", "text")
    found = run(web, "config", "check", "--json")
    places = {row["place"]: row["finding"] for row in json.loads(found.stdout)["findings"]}
    assert found.returncode == 1
    assert "no-such-plan" in places["tenants.odd"]
    assert "it is a string and no hash" in places[PREFIX + "tenant:text"]


def test_redis_that_is_away_is_told_and_nothing_is_promised(web, redis):
    redis.kill()
    for words in (("key", "create", "--tenant", "acme"), ("key", "list"), ("tenant", "show")):
        assert "does not answer" in ctl(web, *words, code=1)


def test_password_comes_from_where_the_servers_comes(redis_started, server, tmp_path):
    secret = tmp_path / "redis.password"
    secret.write_text("open sesame\n")
    private = redis_started("--requirepass", "open sesame")
    private.password = "open sesame"
    keys = RedisKeys(private, f"{private.url} budget=5s password-file={secret}")
    keys.tenant("acme")
    web = server(CONF, keys=keys, allow=(redis_server.NOT_PERSISTED,))
    assert status(web, ctl(web, "key", "create", "--tenant", "acme")["key"]) == 200
    assert "sesame" not in (web.root.state / "runtime.json").read_text() + web.log.text()


@pytest.fixture(name="cluster")
def fixture_cluster():
    running = Cluster()
    yield running
    running.close()


def test_keys_in_a_cluster_are_edited_and_obeyed(cluster, server):
    """All records are in one slot: a key and its tenant are read by one script, and a walk finds them all."""
    keys = RedisKeys(cluster.owner(PREFIX), f"{cluster.url} budget=5s")
    keys.tenant("acme")
    web = server(CONF, keys=keys)
    made = [ctl(web, "key", "create", "--tenant", "acme") for _ in range(3)]
    assert [status(web, one["key"]) for one in made] == [200] * 3
    assert {row["id"] for row in ctl(web, "key", "list")["keys"]} == {one["id"] for one in made}
    ctl(web, "tenant", "set", "acme", "--plan", "rich")
    eventually(lambda: checks.trio(web.get(ITEM, key=made[0]["key"])).limit == 2000000, SOON_S)
    assert status(web, "aq_nobody") == 401
