# SPDX-License-Identifier: Apache-2.0
"""apiquotactl beside a real httpd: keys that it makes are taken, what it shows is what was charged."""

import json
import os
import re
import shutil
import subprocess

import pytest

from harness import checks, confs, keys as keys_of, paths

WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(name="web")
def fixture_web(server, keys):
    """A server with a plan `basic` and a plan `tiny`, and a tenant acme of one key, k_acme."""
    keys.add("acme", id="k_acme")
    return server(confs.BASIC + confs.plan("tiny", "minute 3/minute"), keys=keys)


def ctl(web, *words, code=0, use_json=False):
    """Runs apiquotactl for the server: its standard output, or with use_json the object that it printed."""
    command = [paths.CTL, "--state-dir", web.root.state, *(["--json"] if use_json else []), *words]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    if code:
        assert done.stderr, "a failure that says nothing"
    return json.loads(done.stdout) if use_json else done.stdout


def refused(web, *words, code=1):
    """What apiquotactl says on standard error when it refuses."""
    done = subprocess.run([str(paths.CTL), "--state-dir", str(web.root.state), *words], capture_output=True,
                          text=True, timeout=30, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == ""
    return done.stderr


def status(web, key):
    return web.get("/v1/item.json", key=key).status


# ---- keys ----------------------------------------------------------------------------------------

def test_created_key_is_taken_and_revoked_again(web):
    with web.keys_loaded():
        key = ctl(web, "key", "create", "--tenant", "acme", "--scope", "a", "--scope", "b:c").strip()
    assert re.fullmatch(r"aq_[A-Za-z0-9_-]{43}", key)
    assert status(web, key) == 200
    row, = [row for row in ctl(web, "key", "list", use_json=True)["keys"] if row["id"] != "k_acme"]
    assert row["tenant"] == "acme" and row["plan"] == "basic" and row["scopes"] == ["a", "b:c"]
    assert row["state"] == "active"
    with web.keys_loaded():
        assert ctl(web, "key", "revoke", row["id"]) == f"Revoked {row['id']}.\n"
    assert status(web, key) == 401
    assert "there is no key" in refused(web, "key", "revoke", row["id"])


def test_key_is_printed_once_and_stored_nowhere(web):
    made = ctl(web, "key", "create", "--tenant", "acme", "--expires", "90d", "--id", "k_new", use_json=True)
    assert made["id"] == "k_new" and made["tenant"] == "acme" and made["expires_at"].endswith("Z")
    assert made["key"] not in web.root.keys_file.read_text()
    assert keys_of.sha256_of(made["key"]) in web.root.keys_file.read_text()
    for words in (("key", "list"), ("tenant", "show"), ("usage", "show")):
        shown = ctl(web, *words)
        assert made["key"] not in shown and keys_of.sha256_of(made["key"]) not in shown


def test_keys_file_keeps_owner_mode_and_what_we_do_not_know(web):
    document = json.loads(web.root.keys_file.read_text())
    document["tenants"]["acme"]["webhook"] = {"url": "https://example.com", "secret": WEBHOOK_SECRET}
    keys_of.write_atomically(web.root.keys_file, json.dumps(document))
    before = os.stat(web.root.keys_file)
    ctl(web, "key", "create", "--tenant", "acme")
    after = os.stat(web.root.keys_file)
    assert (before.st_mode, before.st_uid, before.st_gid) == (after.st_mode, after.st_uid, after.st_gid)
    assert json.loads(web.root.keys_file.read_text())["tenants"]["acme"]["webhook"]["secret"] == WEBHOOK_SECRET
    assert "whsec" not in ctl(web, "tenant", "show")


@pytest.mark.parametrize("words,said", [
    (("key", "create", "--tenant", "nobody"), 'the tenant "nobody" is unknown'),
    (("key", "create", "--tenant", "acme", "--id", "k_acme"), 'a key of id "k_acme" exists'),
    (("key", "create", "--tenant", "acme", "--expires", "2020-01-01T00:00:00Z"), "is over already"),
    (("key", "create", "--tenant", "acme", "--scope", "a b"), "is not visible ASCII"),
    (("key", "list", "--tenant", "nobody"), 'the tenant "nobody" is unknown'),
    (("tenant", "show", "nobody"), 'the tenant "nobody" is unknown'),
    (("tenant", "set", "acme", "--plan", "gold"), 'the plan "gold" is unknown to the server; it knows: basic, tiny'),
    (("tenant", "set", "acme", "--limit", "day=300x"), 'limit "day": '),
    (("tenant", "set", "new", "--limit", "day=300/day"), "needs a plan"),
    (("usage", "show", "--key", "k_none"), "no key in force"),
])
def test_refusals_say_why_and_change_nothing(web, words, said):
    before = web.root.keys_file.read_bytes()
    assert said in refused(web, *words)
    assert web.root.keys_file.read_bytes() == before


@pytest.mark.parametrize("words,said", [
    (("key", "list", "--plan", "basic"), "key list takes no --plan; usage: apiquotactl key list [--tenant NAME]\n"),
    (("config", "check", "all"), "usage: apiquotactl config check\n"),
    (("--json", "-xf", "key", "list"), "there is no option -x\n"),
    (("--json=1", "key", "list"), "--json takes no value\n"),
    (("key", "list", "--tenant", ""), "--tenant needs a value: the one given is empty\n"),
    (("batch", "purge", "--tenant="), "--tenant needs a value: the one given is empty\n"),
    (("batch", "purge", "--status", "queued"), "--status must be succeeded, failed or canceled: only such batches are over\n"),
])
def test_wrong_option_is_named(web, words, said):
    assert refused(web, *words, code=2) == f"apiquotactl: {said}"


@pytest.mark.parametrize("words", [
    (), ("key",), ("key", "make"), ("key", "create"), ("key", "revoke"), ("key", "revoke", "a", "b"),
    ("key", "list", "--plan", "basic"), ("key", "list", "--nonsense"), ("tenant", "set", "acme"),
    ("tenant", "set", "acme", "--limit", "day"), ("key", "create", "--tenant", "acme", "--expires", "soon"),
])
def test_wrong_usage_is_two(web, words):
    assert refused(web, *words, code=2)


def test_version_is_the_one_that_the_packages_have():
    packaged = (paths.REPOSITORY / "debian" / "changelog").read_text().partition("(")[2].partition(")")[0]
    for program in (paths.CTL, paths.WORKER):
        done = subprocess.run([str(program), "--version"], capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{program.name} (mod_apiquota) {packaged}\n"


def test_help_goes_to_standard_output():
    done = subprocess.run([str(paths.CTL), "--help"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0 and done.stderr == ""
    for command in ("key create", "key list", "key revoke", "tenant set", "tenant show", "usage show", "config check",
                    "store info"):
        assert command in done.stdout


def test_help_behind_a_command_is_of_that_command_alone():
    def helped(*words):
        done = subprocess.run([str(paths.CTL), *words, "--help"], capture_output=True, text=True, timeout=30, check=True)
        return re.findall(r"^  (\S+ \S+)", done.stdout, re.MULTILINE)
    assert helped("key", "revoke") == ["key revoke"]
    assert helped("store") == ["store info", "store verify"]
    assert helped("nonsense") == helped()


def test_standard_output_that_is_full_is_a_failure(web):
    for words in (("key", "list"), ("key", "export"), ("--help",), ("--version",)):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([str(paths.CTL), "--state-dir", str(web.root.state), *words], stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=30, check=False)
        assert (done.returncode, done.stderr) == (1, "apiquotactl: standard output: No space left on device\n"), words


def test_export_of_one_place_is_imported_into_another_through_a_pipe(web, tmp_path):
    other = tmp_path / "other.json"
    command = [str(paths.CTL), "--state-dir", str(web.root.state), "--key-file", str(other), "key", "import", "-"]
    done = subprocess.run(command, input=ctl(web, "key", "export"), capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "Imported 1 tenants and 1 keys.\n"), done.stderr
    assert json.loads(other.read_text())["keys"] == json.loads(ctl(web, "key", "export"))["keys"]
    before = other.read_bytes()
    for text, said in (("", "line 1, column 0"), ("[]", "a keys file is an object"), ('{"keys": [5]}', "keys[0]: a key needs")):
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 1 and done.stderr.startswith(f"apiquotactl: standard input: {said}"), done.stderr
        assert other.read_bytes() == before


# ---- tenants and usage ---------------------------------------------------------------------------

def test_tenant_that_was_set_is_what_the_server_charges_by(web):
    ctl(web, "tenant", "set", "new", "--plan", "tiny", "--limit", "minute=2/minute")
    with web.keys_loaded():
        key = ctl(web, "key", "create", "--tenant", "new").strip()
    assert status(web, key) == 200
    assert checks.trio(web.get("/v1/item.json", key=key)).limit == 2
    assert ctl(web, "tenant", "show", "new", use_json=True)["tenants"] == [
        {"tenant": "new", "plan": "tiny", "keys": 1, "max_keys": 50, "limits": ["minute=2/minute"]}]
    with web.keys_loaded():
        ctl(web, "tenant", "set", "new", "--limit", "minute=")
    assert checks.trio(web.get("/v1/item.json", key=key)).limit == 3


def test_usage_is_what_was_charged(server, keys):
    one, two = keys.add("acme", id="k_1"), keys.add("acme", id="k_2")
    web = server(confs.plan("basic", "month 60/month headers=primary", "all 1000/month per=tenant",
                            "ever unlimited/total") + confs.location("/v1"), keys=keys)
    for key in (one, one, one, two):
        assert status(web, key) == 200
    rows = ctl(web, "usage", "show", use_json=True)["usage"]
    used = {(row["key"], row["limit"]): row["used"] for row in rows}
    assert used == {("k_1", "month"): 3, ("k_2", "month"): 1, (None, "all"): 4, ("k_1", "ever"): 3, ("k_2", "ever"): 1}
    assert [row for row in rows if row["limit"] == "ever" and row["remaining"] is None and row["reset"] is None]
    only = ctl(web, "usage", "show", "--key", "k_2", use_json=True)["usage"]
    assert {row["limit"] for row in only} == {"month", "all", "ever"}
    table = ctl(web, "usage", "show", "--tenant", "acme").splitlines()
    assert table[0].split() == ["TENANT", "KEY", "LIMIT", "RATE", "USED", "REMAINING", "RESET"]
    assert len(table) == 6
    assert ctl(web, "usage", "show", use_json=True)["usage"] == rows, "looking changed the counts"


def test_store_info_counts_what_lives(web):
    before = ctl(web, "store", "info", use_json=True)
    with web.keys_loaded():
        key = ctl(web, "key", "create", "--tenant", "acme").strip()
    assert status(web, key) == 200
    after = ctl(web, "store", "info", use_json=True)
    assert after["kind"] == "shm" and after["path"].startswith(str(web.root.state))
    assert after["live"] == before["live"] + 2
    assert f"{after['live']} live" in ctl(web, "store", "info")


# ---- the command line ------------------------------------------------------------------------------

def test_control_characters_of_a_file_reach_no_terminal(web, keys):
    web.expect_log(r"AQ00200")
    keys.tenant("e\x1b[31mvil", plan="gold\x07")
    keys.add("e\x1b[31mvil", id="k_evil")
    web.save_keys()
    for words in (("key", "list"), ("tenant", "show")):
        assert not set(ctl(web, *words)) & {"\x1b", "\x07"}
    assert "\x1b" not in refused(web, "tenant", "show", "\x1b[31m")


# One that begins an order as ESC [ does, a delete, one that turns the direction of writing, and a line end.
ORDERS = "\x9b\x7f\u202e\u2066\u2028"


def test_no_text_works_on_the_terminal_and_json_says_it_all_the_same(web, keys):
    web.expect_log(r"AQ00200")
    name = f"é{ORDERS}31m"
    keys.tenant(name, plan="basic")
    web.save_keys()
    for words in (("tenant", "show"), ("--json", "tenant", "show"), ("key", "export")):
        shown = ctl(web, *words)
        assert "é" in shown and not set(shown) & set(ORDERS), words
    assert "é?????31m" in ctl(web, "tenant", "show")
    assert name in [row["tenant"] for row in ctl(web, "tenant", "show", use_json=True)["tenants"]]
    assert name in json.loads(ctl(web, "key", "export"))["tenants"]
    assert not set(refused(web, "tenant", "show", ORDERS)) & set(ORDERS)


# ---- what is no keys file, and entries that are none --------------------------------------------------

@pytest.mark.parametrize("document", ["[]", '{"keys": {}}', '{"tenants": []}'])
def test_what_is_no_keys_file_is_not_shown_as_one_without_keys(tmp_path, document):
    file = tmp_path / "other.json"
    file.write_text(document)
    for words in (("key", "list"), ("tenant", "show"), ("key", "export")):
        done = subprocess.run([str(paths.CTL), "--key-file", str(file), *words], capture_output=True, text=True,
                              timeout=30, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert f'{file}: a keys file is an object with an object "tenants" and an array "keys"' in done.stderr


def test_key_that_is_not_in_force_is_listed_as_refused(web, keys):
    web.expect_log(r"AQ00200")
    keys.tenant("gone", plan="gold")
    keys.add("gone", id="k_gone")
    keys.add("acme", id="k_old", expires_at="2020-01-01T00:00:00Z")
    keys.add("acme", id="k_many", scopes=[f"scope{i}" for i in range(11)])
    web.save_keys()
    states = {row["id"]: row["state"] for row in ctl(web, "key", "list", use_json=True)["keys"]}
    assert states == {"k_acme": "active", "k_gone": "refused", "k_old": "expired", "k_many": "refused"}
    web.root.state.joinpath("runtime.json").rename(web.root.state / "away.json")
    alone = subprocess.run([str(paths.CTL), "--state-dir", str(web.root.state), "--key-file", str(web.root.keys_file),
                            "key", "list"], capture_output=True, text=True, timeout=30, check=True)
    web.root.state.joinpath("away.json").rename(web.root.state / "runtime.json")
    assert "refused" not in alone.stdout, "without httpd's word nobody knows its plans"


def test_odd_values_of_a_tenant_are_shown_as_they_are(tmp_path):
    file = tmp_path / "keys.json"
    file.write_text('{"tenants": {"t": {"plan": "basic", "limits": {"day": 5}, "max_keys": "many"}}}')
    done = subprocess.run([str(paths.CTL), "--key-file", str(file), "tenant", "show"], capture_output=True, text=True,
                          timeout=30, check=True)
    assert done.stdout.splitlines()[1].split() == ["t", "basic", "0", "many", "day=?", "-"]


def test_without_a_server_it_says_what_is_missing(tmp_path):
    done = subprocess.run([str(paths.CTL), "--state-dir", str(tmp_path), "usage", "show"], capture_output=True,
                          text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "runtime.json" in done.stderr and "httpd writes it when it starts" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_who_may_not_read_the_servers_state_is_told_who_may(web):
    program = shutil.copy(paths.CTL, web.root.path / "apiquotactl")  # the build may lie in a private home
    done = subprocess.run(["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", program,
                           "--state-dir", str(web.root.state), "usage", "show"], capture_output=True, text=True,
                          timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("runtime.json: Permission denied (root may read it, and httpd's group)\n")


def test_httpd_conf_tells_state_folder_and_keys_file(web, tmp_path):
    conf = tmp_path / "httpd.conf"
    conf.write_text(f'ServerRoot "{web.root.path}"\n  apiquotastatedir state # ours\nAPIQuotaKeyFile "keys.json"\n')
    done = subprocess.run([str(paths.CTL), "-f", str(conf), "key", "list"], capture_output=True, text=True,
                          timeout=30, check=False)
    assert done.returncode == 0 and "k_acme" in done.stdout, done.stderr
    conf.write_text("APIQuotaStateDir ${STATE}\n")
    done = subprocess.run([str(paths.CTL), "-f", str(conf), "key", "list"], capture_output=True, text=True,
                          timeout=30, check=False)
    assert done.returncode == 1 and "holds a variable" in done.stderr
