# SPDX-License-Identifier: Apache-2.0
"""apiquotactl config check: what `apachectl configtest` cannot see, each with its place and what to do; and nothing where
nothing is wrong."""

import json
import os
import shutil
import subprocess

import pytest

from harness import batches, confs, paths


@pytest.fixture(name="web")
def fixture_web(server, keys):
    """A server with a plan `basic`, and a tenant acme of one key, k_acme."""
    keys.add("acme", id="k_acme")
    return server(confs.BASIC, keys=keys)


def check(web, *words):
    return subprocess.run([str(paths.CTL), "--state-dir", str(web.root.state), *words, "config", "check"],
                          capture_output=True, text=True, timeout=30, check=False)


def findings(web, code=1):
    done = check(web, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    rows = [(row["place"], row["finding"]) for row in json.loads(done.stdout)["findings"]]
    assert len(set(rows)) == len(rows), "said twice"
    return set(rows)


def test_nothing_is_found_where_nothing_is_wrong(web):
    assert findings(web, code=0) == set()
    done = check(web)
    assert (done.returncode, done.stdout) == (0, "Nothing found.\n")


def test_refused_entries_and_misspelt_members_are_found(web, keys):
    web.expect_log(r"AQ00200", must=True)
    keys.tenant("lost", plan="gold")
    keys.add("lost", id="k_lost")
    keys.add("acme", id="k_odd", expire_at="2030-01-01T00:00:00Z")
    web.save_keys()
    found = findings(web)
    places = {place for place, _ in found}
    assert places == {"tenants.lost", "keys[1] (k_lost)", "keys[2]"}
    assert ("tenants.lost",
            'refused: the plan "gold" is unknown; the tenant\'s keys are refused with it') in found
    assert "expire_at" in dict(found)["keys[2]"]
    table = check(web)
    assert table.returncode == 1 and len(table.stdout.splitlines()) == 4
    web.log.wait_for("AQ00200")


def test_limit_out_of_reach_is_found(server, keys):
    keys.add("acme")
    web = server(confs.plan("basic", "minute 10/minute", "day 100/day", "hour 200/hour") + confs.location("/v1"),
                 keys=keys)
    found = findings(web)
    assert found == {("plan basic", 'the limit "hour" (200/1h) can never be reached beside "day" (100/1d)')}


def test_override_out_of_reach_is_found_once_for_a_tenant(web, keys):
    keys.tenant("acme", limits={"hour": "5000/hour"})
    keys.add("acme", id="k_other")
    web.save_keys()
    assert findings(web) == {("tenants.acme (key k_acme)",
                              'the limit "hour" (5000/1h) can never be reached beside "day" (1000/1d)')}


@pytest.mark.skipif(not paths.AS_ROOT, reason="files that httpd's user cannot use take root to make")
def test_files_that_httpds_user_cannot_use_are_found(web):
    web.expect_log("AQ00202")  # if httpd looks at the file meanwhile
    os.chmod(web.root.keys_file, 0o600)
    found = findings(web)
    os.chmod(web.root.keys_file, 0o640)
    assert found == {(str(web.root.keys_file), "httpd's user cannot read it: Permission denied")}


@pytest.mark.skipif(not paths.AS_ROOT, reason="folders that httpd's user cannot use take root to make")
def test_spool_and_queue_that_httpds_user_cannot_write_are_found(server, keys, dead_backend):
    keys.add("acme")
    web = server(batches.conf(dead_backend.url), keys=keys, worker=False)
    assert findings(web, code=0) == set()
    spool = batches.folder(web) / "spool"
    shutil.chown(spool, "root", "root")
    assert findings(web) == {(str(spool), "httpd's user cannot write to it: Permission denied")}
    shutil.chown(batches.folder(web), "root", "root")
    assert (str(batches.folder(web)), "httpd's user cannot write to it: Permission denied") in findings(web)


@pytest.mark.skipif(not paths.AS_ROOT, reason="to ask for another user takes root")
def test_program_for_batches_that_httpds_user_cannot_run_is_found(server, keys):
    keys.add("acme")
    web = server(confs.BASIC_PLAN + confs.batch("/v1/imports", "exec:/nonexistent/import"), keys=keys, worker=False)
    assert findings(web) == {("/nonexistent/import", "httpd's user cannot run it: No such file or directory")}


# ---- locations -----------------------------------------------------------------------------------

def found_at(server, keys, conf, code=1):
    keys.add("acme")
    return findings(server(conf, keys=keys), code)


def section(path, *lines, kind="Location"):
    return f"<{kind} {path}>\n" + "".join(f"    {line}\n" for line in lines) + f"</{kind}>\n"


def test_limits_where_quota_is_not_on_are_found_unless_something_within_turns_it_on(server, keys):
    conf = (confs.BASIC_PLAN + confs.location("/v1")
            + section("/v2", "APIQuotaLimit lost 5/minute", "APIQuotaLimit guard 50/minute per=ip phase=early")
            + section("/v3", "APIQuotaLimit kept 5/minute") + confs.location("/v3/api")
            + section("/v1/search", "APIQuotaLimit search 5/minute") + section("/v1/off", "APIQuota Off"))
    assert found_at(server, keys, conf) == {
        ("location /v2", 'the limit "lost" is not counted: APIQuota is not On here'),
        ("location /v2", 'the limit "guard" is not counted: APIQuota is not On here')}


def test_limits_that_a_pattern_may_count_are_not_said_to_be_lost(server, keys):
    conf = (confs.BASIC_PLAN + confs.location("/v1") + section("/v2", "APIQuotaLimit kept 5/minute")
            + section("^/v", "APIQuota On", kind="LocationMatch"))
    assert found_at(server, keys, conf, code=0) == set()


def test_callers_whom_nothing_can_identify_or_who_have_no_plan_are_found(server, keys):
    conf = (confs.BASIC_PLAN + confs.location("/v1")
            + section("/users", "APIQuota On", "APIQuotaPrincipal key user", "APIQuotaDefaultPlan basic")
            + section("/addresses", "APIQuota On", "APIQuotaPrincipal ip")
            + section("/counted", "APIQuota On", "APIQuotaPrincipal ip", "APIQuotaLimit all 5/minute")
            + section("/open", "APIQuota On", "APIQuotaPrincipal ip", "APIQuotaAnonymousPlan basic",
                      "APIQuotaLimit shared 5/hour per=tenant", "APIQuotaLimit user 5/minute per=user"))
    assert found_at(server, keys, conf) == {
        ("location /users", "APIQuotaPrincipal user knows nobody: there is no AuthType that would tell users"),
        ("location /addresses", "callers without a key are refused: they have no plan (APIQuotaDefaultPlan, "
                                "APIQuotaPlanFrom), and there is no limit here"),
        ("location /open", 'the limit "shared" counts per=tenant, but nobody here has a tenant: each caller is one of his '
                           'own'),
        ("location /open", 'the limit "user" counts per=user, but there is no AuthType that would tell users: it counts '
                           'keys, or addresses')}


def test_what_is_found_of_callers_is_what_httpd_does(server, keys):
    conf = (confs.BASIC_PLAN + confs.location("/v1")
            + section("/withindex", "APIQuota On", "APIQuotaPrincipal ip"))
    web = server(conf, keys=keys)
    assert [place for place, _ in findings(web) if place.startswith("location")] == ["location /withindex"]
    answer = web.get("/withindex/index.html")
    assert answer.status == 403 and answer.json()["code"] == "plan-missing"


def test_users_of_an_auth_type_are_believed_to_be_known(server, keys):
    conf = (confs.BASIC_PLAN + confs.location("/v1")
            + section("/users", "AuthType Basic", 'AuthName "us"', 'AuthUserFile "${ROOT}/users"', "Require valid-user",
                      "AuthBasicProvider file", "APIQuota On", "APIQuotaPrincipal user", "APIQuotaDefaultPlan basic",
                      "APIQuotaLimit mine 5/minute per=user"))
    keys.add("acme")
    assert findings(server(conf, keys=keys, modules=("auth_basic",)), code=0) == set()


def test_keys_file_without_a_key_is_found_where_keys_alone_are_taken(server, keys):
    web = server(confs.BASIC, keys=keys)
    assert findings(web) == {(str(web.root.keys_file), "no key is in force: whatever comes to locations that know callers "
                                                       "by keys alone is refused")}
    open_to_all = server(confs.BASIC_PLAN + confs.location("/v1", "APIQuotaAnonymousPlan basic"), keys=keys)
    assert findings(open_to_all, code=0) == set()


# ---- limits of locations and plans ---------------------------------------------------------------

SMALL_AND_LARGE = confs.plan("small", "minute 10/minute") + confs.plan("large", "minute 1000/minute")


def test_limit_of_a_location_out_of_reach_in_each_plan_is_found(server, keys):
    keys.tenant("acme", plan="small")
    conf = (SMALL_AND_LARGE + confs.location("/v1")
            + section("/v1/a", "APIQuotaLimit burst 1000/second") + section("/v1/b", "APIQuotaLimit burst 500/second")
            + section("/v1/c", "APIQuotaLimit minute 5000/minute"))
    (place, finding), = found_at(server, keys, conf)
    assert place == "location /v1/a" and finding.startswith(
        'the limit "burst" (1000/1s) can never be reached beside "minute" (')
    assert finding.endswith(" of the plan, whichever it is")


def test_limit_of_a_plan_that_each_location_hides_is_found(server, keys):
    conf = (confs.plan("basic", "minute 500/minute") + confs.location("/v1", "APIQuotaLimit all 100/minute")
            + section("/v1/x", "APIQuotaLimit x 50/minute") + section("/v1/y", "APIQuotaLimit all 70/minute"))
    assert found_at(server, keys, conf) == {
        ("plan basic", 'the limit "minute" (500/1m) can never be reached beside "all" (100/1m) of the locations')}


def test_limit_of_a_plan_that_one_location_lets_be_is_not_found(server, keys):
    conf = (confs.plan("basic", "minute 500/minute") + confs.location("/v1", "APIQuotaLimit all 100/minute")
            + confs.location("/v2"))
    assert found_at(server, keys, conf, code=0) == set()


def test_two_limits_of_a_location_that_hide_each_other_are_told_once(server, keys):
    conf = (confs.plan("basic", "minute 5/minute")
            + confs.location("/v1", "APIQuotaLimit a 20/hour", "APIQuotaLimit b 20/hour"))
    assert found_at(server, keys, conf) == {
        ("location /v1", 'the limit "b" (20/1h) can never be reached beside "a" (20/1h)')}


def test_sections_of_a_virtual_host_are_told_with_its_name(server, keys):
    conf = (confs.BASIC_PLAN + confs.location("/v1") + "<VirtualHost 127.0.0.2>\n    ServerName api.example\n"
            + section("/v9", "APIQuotaLimit lost 5/minute") + "</VirtualHost>\n")
    assert found_at(server, keys, conf) == {
        ("location /v9 of api.example", 'the limit "lost" is not counted: APIQuota is not On here')}
