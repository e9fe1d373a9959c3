# SPDX-License-Identifier: Apache-2.0
"""The profile onestack: a test for each row of its page, docs/profiles/onestack.md."""

import json
import urllib.parse

import pytest

from harness import checks, profiles

FILE = "/api/item.json"
CATALOG = "/api/service-catalog"
ETAG = '"etag-abc123"'
MINUTE = 1_772_971_200  # 2026-03-08 12:00:00 UTC


@pytest.fixture
def api(server, backend):
    """The profile, twenty-three seconds before a minute ends."""
    web = profiles.serve(server, "onestack", backend, own_file=FILE, faketime="+0")
    web.root.add_file("api/item.json", b"{}\n")
    web.clock.freeze(MINUTE + 37)
    return web


def spend(web, key, count):
    """Sends `count` requests, all of which have to be allowed."""
    load = web.h2load(FILE, count, connections=min(count, 8), key=key, http1=True)
    assert (load.ok, load.total) == (count, count), load


def test_row_S1_two_keys_of_a_tenant_share_one_budget(api):
    spend(api, api.keys["acme-1"], 60)
    spend(api, api.keys["acme-2"], 39)
    assert checks.trio(api.get(FILE, key=api.keys["acme-1"])) == (100, 0, MINUTE + 60)
    assert [api.get(FILE, key=api.keys[key]).status for key in ("acme-1", "acme-2")] == [429, 429]
    assert checks.trio(api.get(FILE, key=api.keys["globex-1"])).remaining == 99


def log_in(web, name):
    """The headers of a client that has logged in with a user of the page."""
    form = urllib.parse.urlencode({"httpd_username": name, "httpd_password": f"onestack-{name}-example"})
    answer = web.post("/login", form, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert (answer.status, answer.headers["Location"]) == (302, "/"), answer
    return {"Cookie": answer.headers["Set-Cookie"].split(";")[0]}


def test_row_S1_keys_and_sessions_of_a_tenant_share_one_budget(api, backend):
    sessions = {name: log_in(api, name) for name in ("alice", "bob", "gina")}
    asked = [{"key": api.keys["acme-1"]}, {"headers": sessions["alice"]}, {"key": api.keys["acme-2"]},
             {"headers": sessions["bob"]}, {"headers": log_in(api, "alice")}]
    assert [checks.trio(api.get("/api/echo", **how)).remaining for how in asked] == [99, 98, 97, 96, 95]
    assert not [seen for seen in backend.seen() if "Cookie" in seen.headers or "Authorization" in seen.headers]
    spend(api, api.keys["acme-1"], 95)
    assert [api.get("/api/echo", **how).status for how in asked] == [429] * 5
    others = [{"headers": sessions["gina"]}, {"key": api.keys["globex-1"]}]
    assert [checks.trio(api.get("/api/echo", **how)).remaining for how in others] == [99, 98]


def test_row_S1_who_has_neither_key_nor_session_is_refused(api):
    real = log_in(api, "alice")["Cookie"]
    api.expect_log("AH01842|AH01817")
    for headers in ({}, {"Cookie": "session=forged"}, {"Cookie": real[:-9] + "AAAAAAAAA"},
                    {"Cookie": real, "Authorization": "Bearer wrong"}):
        assert api.get("/api/echo", headers=headers).status == 401, headers


def test_row_S1_minute_is_fixed(api):
    key = api.keys["acme-1"]
    spend(api, key, 100)
    api.clock.freeze(MINUTE + 59)
    assert checks.retry_after(api.get(FILE, key=key)) == 1
    # A sliding minute would be nearly full still.
    api.clock.freeze(MINUTE + 60)
    assert checks.trio(api.get(FILE, key=key)) == (100, 99, MINUTE + 120)


def test_row_S2_refusal_is_as_on_the_page(api):
    head, body = (profiles.examples("onestack", language)[0] for language in ("http", "json"))
    spend(api, api.keys["acme-1"], 100)
    answer = api.get(FILE, key=api.keys["acme-1"])
    assert answer.status == 429
    for name, value in (line.split(": ") for line in head.splitlines()[1:]):
        assert answer.headers[name] == value
    assert answer.json() == json.loads(body)
    assert json.dumps(answer.json()) == json.dumps(json.loads(body)), "and in the same order"
    assert checks.trio(answer) == (100, 0, MINUTE + 60)


def test_row_S2_headers_stand_on_every_response(api, backend):
    key = api.keys["acme-1"]
    backend.script("/service-catalog", status=304, headers={"ETag": ETAG})
    answers = [api.get(FILE, key=key), api.get("/api/status/500", key=key), api.get("/api/status/404", key=key),
               api.post("/api/echo", b"{}", key=key), api.head(FILE, key=key), api.get(CATALOG, key=key)]
    assert [answer.status for answer in answers] == [200, 500, 404, 200, 200, 304]
    assert [checks.trio(answer) for answer in answers] == [(100, left, MINUTE + 60) for left in (99, 98, 97, 96, 95, 95)]


def test_row_S3_batch_request_with_many_ids_counts_once(api, backend):
    key = api.keys["acme-1"]
    backend.script("/tickets/batch", body=b"[]")
    sent = {"ids": [f"t{number}" for number in range(1, 501)]}
    answer = api.post("/api/tickets/batch", json.dumps(sent), key=key, headers={"Content-Type": "application/json"})
    assert (answer.status, checks.trio(answer).remaining) == (200, 99)
    assert json.loads(backend.seen("/tickets/batch")[0].body) == sent
    assert checks.trio(api.get(FILE, key=key)).remaining == 98


def test_row_S4_304_has_no_body_and_is_not_counted(api, backend):
    key = api.keys["acme-1"]
    backend.script("/service-catalog", headers={"ETag": ETAG}, body=b"[]", times=1)
    backend.script("/service-catalog", status=304, headers={"ETag": ETAG})
    first = api.get(CATALOG, key=key)
    assert (first.status, first.body, checks.trio(first).remaining) == (200, b"[]", 99)
    for _ in range(200):
        answer = api.get(CATALOG, key=key, headers={"If-None-Match": first.headers["ETag"]})
        assert (answer.status, answer.body, checks.trio(answer).remaining) == (304, b"", 99)
    assert backend.seen("/service-catalog")[-1].headers["If-None-Match"] == ETAG
    assert checks.trio(api.get(FILE, key=key)).remaining == 98


def test_row_S4_etags_pass_mod_deflate_as_they_are(server, backend):
    web = profiles.serve(server, "onestack", backend, modules=("deflate",))
    backend.script("/service-catalog", headers={"ETag": ETAG, "Content-Type": "application/json"}, body=b"[" + b" " * 5000 + b"]")
    web.write_conf(web.spec.conf + "<Location /api>\n    SetOutputFilter DEFLATE\n</Location>\n")
    web.restart()
    answer = web.get(CATALOG, key=web.keys["acme-1"], headers={"Accept-Encoding": "gzip"})
    assert (answer.headers["Content-Encoding"], answer.headers["ETag"]) == ("gzip", ETAG)
