# SPDX-License-Identifier: Apache-2.0
"""phase=early: limits by address that count before anybody is asked who he is, and count everything."""

import collections
import concurrent.futures
import json
import re
import subprocess

import pytest

from harness import checks, confs, keys as keys_of, paths, quota

REMOTE_IP = "RemoteIPHeader X-Client\nRemoteIPInternalProxy 127.0.0.1\n"


def guard(count, period="366d"):
    return f"APIQuotaLimit guard {count}/{period} per=ip phase=early"


def guarded(count, *lines, path="/v1"):
    return quota.ROOMY + confs.location(path, guard(count), *lines)


def assert_guarded(answer):
    problem = checks.assert_problem(answer, 429, code="quota-exceeded")
    assert problem["violated-policies"] == ["guard"]
    assert checks.retry_after(answer) == problem["retry_after"] > 0
    checks.assert_no_trio(answer)


@pytest.mark.mpm_all
def test_f27_who_is_not_let_in_is_counted_by_address_and_not_as_a_principal(server, keys):
    key = keys.add("acme", scopes=["some"])
    web = server(guarded(6), keys=keys)
    assert checks.trio(web.get("/v1/item.json", key=key)).remaining == 999999
    for wrong in ({}, {"Authorization": "Bearer aq_nobody"}, {"X-API-Key": f"{key},{key}"}):
        assert web.get("/v1/item.json", headers=wrong).status in (400, 401)
    assert web.get("/v1/nothing", key=key).status == 404
    last = web.get("/v1/item.json", key=key)
    assert last.status == 200 and checks.trio(last).remaining == 999997
    for how in ({"key": key}, {}, {"key": "aq_nobody"}):
        assert_guarded(web.get("/v1/item.json", **how))


def test_other_addresses_go_on(server, keys):
    key = keys.add("acme")
    web = server(REMOTE_IP + guarded(1), keys=keys, modules=("remoteip",))
    assert web.get("/v1/item.json", key=key, headers={"X-Client": "192.0.2.1"}).status == 200
    assert_guarded(web.get("/v1/item.json", key=key, headers={"X-Client": "192.0.2.1"}))
    assert web.get("/v1/item.json", key=key, headers={"X-Client": "192.0.2.2"}).status == 200


def test_f62_free_answers_are_counted_by_the_early_limit_and_not_given_back(server, keys):
    key = keys.add("acme")
    web = server(guarded(50), keys=keys)
    first = web.get("/v1/item.json", key=key)
    tag = {"If-None-Match": first.headers["ETag"]}
    answers = [web.get("/v1/item.json", key=key, headers=tag) for _ in range(60)]
    assert [a.status for a in answers] == [304] * 49 + [429] * 11
    assert {checks.trio(a).remaining for a in answers[:49]} == {checks.trio(first).remaining}
    assert_guarded(answers[-1])


def live_counters(web):
    shown = subprocess.run([str(paths.CTL), "--state-dir", str(web.root.state), "--json", "store", "info"],
                           capture_output=True, text=True, timeout=30, check=True)
    return json.loads(shown.stdout)["live"]


def test_f58_guessed_keys_are_bounded_by_address_and_leave_no_counters(server, keys):
    keys.add("acme")
    web = server(guarded(200), keys=keys)

    assert web.get("/v1/item.json", key=keys_of.new_secret()).status == 401
    before = live_counters(web)
    with web.session() as session:
        statuses = [session.get("/v1/item.json", key=keys_of.new_secret()).status for _ in range(300)]
    assert statuses == [401] * 199 + [429] * 101
    assert live_counters(web) == before


@pytest.mark.long
def test_f58_a_million_guessed_keys_leave_no_counters(server, keys):
    """As above, a million times over kept connections: minutes."""
    keys.add("acme")
    web = server(guarded(1000), keys=keys)
    assert web.get("/v1/item.json", key=keys_of.new_secret()).status == 401
    before = live_counters(web)
    seen = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for part in pool.map(lambda _: guess(web, 125000), range(8)):
            seen += part
    assert seen == {401: 999, 429: 1000000 - 999}
    assert live_counters(web) == before


def guess(web, times):
    """Random keys, pipelined by the hundred; how often each status came."""
    seen = collections.Counter()
    for _ in range(times // 100):
        with web.raw() as connection:
            for number in range(100):
                last = "Connection: close\r\n" if number == 99 else ""
                connection.send(f"HEAD /v1/item.json HTTP/1.1\r\nHost: a\r\nX-API-Key: {keys_of.new_secret()}\r\n"
                                f"{last}\r\n".encode())
            seen.update(int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", connection.read_all()))
    return seen


def test_redirects_inside_and_parts_of_a_page_count_once(server, keys):
    key = keys.add("acme")
    web = server("RewriteEngine On\nRewriteRule ^/v1/there$ /v1/page.shtml [PT]\n" + guarded(7)
                 + "<Directory ${DOCROOT}/v1>\n    RewriteEngine On\n    RewriteRule ^here$ item.json\n</Directory>\n"
                 "ErrorDocument 404 /v1/part1.txt\n",
                 keys=keys, modules=("rewrite", "include", "autoindex"))
    for path, status in (("/v1/there", 200), ("/v1/here", 200), ("/v1/page.shtml", 200), ("/v1/withindex/", 200),
                         ("/v1/listing/", 200), ("/v1/nothing", 404), ("/v1/item.json", 200)):
        assert web.get(path, key=key).status == status, path
    assert_guarded(web.get("/v1/item.json", key=key))


@pytest.mark.parametrize("lines", [("Satisfy Any",), ("<RequireAny>", "Require local", "Require valid-user", "</RequireAny>")])
def test_early_limit_holds_however_authentication_is_asked_for(server, keys, lines):
    key = keys.add("acme")
    web = server(guarded(2, *lines), keys=keys, modules=("access_compat",))
    assert [web.get("/v1/item.json", key=key).status for _ in range(3)] == [200, 200, 429]


def test_upload_over_the_early_limit_is_answered_before_it_is_read(server, keys):
    web = server(guarded(1), keys=keys)
    assert web.get("/v1/item.json").status == 401
    tried = web.expect_continue("/v1/item.json", b"x" * 100000)
    assert not tried.got_100 and tried.response.status == 429


def test_early_limits_hold_without_any_key(server, keys):
    web = server(quota.ROOMY + f"<Location /v1>\n    APIQuota On\n    APIQuotaPrincipal ip\n"
                 f"    APIQuotaDefaultPlan basic\n    {guard(2)}\n</Location>\n", keys=keys)
    assert [web.get("/v1/item.json").status for _ in range(3)] == [200, 200, 429]


def test_early_limits_of_a_location_with_quota_off_rest(server, keys):
    web = server(quota.ROOMY + f"<Location /v1>\n    {guard(1)}\n</Location>\n", keys=keys)
    assert [web.get("/v1/item.json").status for _ in range(3)] == [200] * 3


def test_problem_body_may_be_a_template(server, keys):
    web = server(guarded(1, "APIQuotaErrorBody ${ROOT}/429.json"), keys=keys, start=False)
    (web.root.path / "429.json").write_text('{"limit": "{{limit}}", "name": "{{limit_name}}", "in": "{{retry_after}}"}')
    web.start()
    assert web.get("/v1/item.json").status == 401
    answer = web.get("/v1/item.json")
    assert answer.status == 429
    assert answer.json() == {"limit": 1, "name": "guard", "in": checks.retry_after(answer)}


@pytest.mark.parametrize("conf", [
    confs.plan("basic", "guard 1/minute per=ip phase=early"),
    "<Location /v1>\n    APIQuotaLimit guard 1/minute per=key phase=early\n</Location>\n",
    "<Location /v1>\n    APIQuotaLimit guard 1/minute per=ip phase=late\n</Location>\n",
])
def test_early_limits_where_they_cannot_be_are_configuration_errors(server, keys, conf):
    status, text = server(start=False, keys=keys).configtest(conf)
    assert status != 0 and "APIQuotaLimit" in text, text
