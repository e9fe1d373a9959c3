# SPDX-License-Identifier: Apache-2.0
"""Who asks: keys in headers, the challenge of a 401, what the backend sees of a key, and Require."""

import pytest

from harness import checks, confs, quota

CHALLENGE = 'Bearer realm="API"'
INVALID = CHALLENGE + ', error="invalid_token"'
SECRET = "aq_" + "k" * 43


@pytest.fixture
def key(keys):
    return keys.add("acme", scopes=["invoices:read", "invoices:write"])


@pytest.fixture
def web(server, keys, key):  # pylint: disable=unused-argument
    return server(quota.ROOMY + confs.location("/v1"), keys=keys)


def assert_challenged(answer, challenge, code):
    problem = checks.assert_problem(answer, 401, code=code)
    assert answer.headers["WWW-Authenticate"] == challenge
    checks.assert_no_trio(answer)
    return problem


# ---- 401 and 400 -----------------------------------------------------------------------------------

@pytest.mark.mpm_all
def test_missing_and_unknown_keys_are_challenged_as_rfc_6750_says(web, key):
    assert_challenged(web.get("/v1/item.json"), CHALLENGE, "key-missing")
    assert_challenged(web.get("/v1/item.json", key="aq_nobody"), INVALID, "key-unknown")
    assert_challenged(web.get("/v1/item.json", headers={"X-API-Key": "aq_nobody"}), INVALID, "key-unknown")
    assert_challenged(web.get("/v1/no-such-file"), CHALLENGE, "key-missing")
    assert web.head("/v1/item.json").headers["WWW-Authenticate"] == CHALLENGE
    assert web.get("/v1/item.json", key=key).status == 200


def test_disabled_and_expired_keys_are_refused_and_say_why(server, keys):
    disabled = keys.add("acme", disabled=True)
    expired = keys.add("acme", expires_at="2020-01-01T00:00:00Z")
    valid = keys.add("acme", expires_at="2100-01-01T00:00:00Z", disabled=False)
    web = server(quota.ROOMY + confs.location("/v1"), keys=keys)
    assert_challenged(web.get("/v1/item.json", key=disabled), INVALID, "key-disabled")
    assert_challenged(web.get("/v1/item.json", key=expired), INVALID, "key-expired")
    assert web.get("/v1/item.json", key=valid).status == 200


def test_key_expires_on_the_second(server, keys):
    at = 1893456000  # 2030-01-01T00:00:00Z
    key = keys.add("acme", expires_at="2030-01-01T00:00:00Z")
    web = server(quota.ROOMY + confs.location("/v1"), keys=keys, faketime="+0")
    web.clock.freeze(at - 1)
    assert web.get("/v1/item.json", key=key).status == 200
    web.clock.freeze(at)
    assert_challenged(web.get("/v1/item.json", key=key), INVALID, "key-expired")


@pytest.mark.parametrize("fields", [
    [("Authorization", "Bearer {key}"), ("X-API-Key", "{key}")],
    [("Authorization", "Bearer {key}"), ("X-API-Key", "aq_other")],
    [("X-API-Key", "{key}"), ("X-API-Key", "{key}")],
    [("Authorization", "Bearer {key}"), ("Authorization", "Bearer {key}")],
    [("X-API-Key", "{key},{key}")],
    [("X-API-Key", "{key}, aq_other")],
    [("Authorization", "Bearer {key}, Bearer aq_other")],
    [("Authorization", "bearer {key},aq_other")],
])
def test_f56_more_than_one_key_is_a_400(web, key, fields):
    with quota.costs(web, key, 0):
        answer = web.get("/v1/item.json", headers=[(n, v.format(key=key)) for n, v in fields])
    checks.assert_problem(answer, 400, code="key-ambiguous")
    checks.assert_no_trio(answer)
    assert answer.headers["WWW-Authenticate"] == CHALLENGE + ', error="invalid_request"'


@pytest.mark.parametrize("fields", [
    [("Authorization", "Bearer {key}")], [("authorization", "bEaReR {key}")], [("AUTHORIZATION", "BEARER  {key}")],
    [("Authorization", " Bearer {key} ")], [("X-API-Key", "{key}")], [("x-api-key", "  {key}  ")],
    [("X-API-Key", "{key}"), ("Authorization", "Basic dTpw")],
    [("X-API-Key", "{key}"), ("Authorization", 'Digest username="u", realm="r"')],
])
def test_f56_every_spelling_of_one_key_is_one_principal(web, key, fields):
    with quota.costs(web, key, 1):
        answer = web.get("/v1/item.json", headers=[(n, v.format(key=key)) for n, v in fields])
        assert answer.status == 200, answer


def test_place_of_keys_that_is_named_twice_is_one(server, keys, key):
    web = server(quota.ROOMY + confs.location("/v1", key_from="header:X-Key header:x-key"), keys=keys)
    assert web.get("/v1/item.json", headers={"X-Key": str(key)}).status == 200


@pytest.mark.parametrize("header, vary", [("Authorization: Bearer", None), ("X-API-Key:", "X-API-Key")])
def test_caches_in_front_are_told_of_a_header_that_they_do_not_know(web, key, header, vary):
    name, _, scheme = header.partition(":")
    fields = {name: f"{scheme} {key}".strip()}
    for more in ({}, {"If-None-Match": "*"}, {"Range": "bytes=9999-"}):
        answer = web.get("/v1/item.json", headers={**fields, **more})
        assert answer.status in (200, 304, 416) and answer.headers.get("Vary") == vary, answer
    disabled = web.get("/v1/item.json", headers={name: f"{scheme} nobody".strip()})
    assert disabled.status == 401 and "Vary" not in disabled.headers


@pytest.mark.parametrize("fields", [
    [("Authorization", "Bearer")], [("Authorization", "Bearer ")], [("Authorization", "")], [("X-API-Key", "")],
    [("Authorization", "Basic {key}")], [("Authorization", "Bearer{key}")], [("Authorization", "{key}")],
    [("X-Api", "{key}")],
])
def test_f57_what_is_no_key_is_a_missing_key(web, key, fields):
    answer = web.get("/v1/item.json", headers=[(n, v.format(key=key)) for n, v in fields])
    assert_challenged(answer, CHALLENGE, "key-missing")


@pytest.mark.parametrize("value", ["{key}x", "x{key}", "{key} x", "aq_" + "x" * 5000, "é"])
def test_f57_what_is_not_quite_the_key_is_refused(web, key, value):
    answer = web.get("/v1/item.json", headers={"X-API-Key": value.format(key=key).encode()})
    assert answer.status == 401, answer
    assert answer.headers["WWW-Authenticate"] in (CHALLENGE, INVALID)


NO_KEYS = {
    "64 kB": (b"X-API-Key: " + b"k" * 65536, b"401"), "64 kB, bearer": (b"Authorization: Bearer " + b"k" * 65536, b"401"),
    "NUL": (b"X-API-Key: a\x00b", b"400"), "CR": (b"X-API-Key: a\rb", b"400"),
    "continued": (b"X-API-Key: a\r\n b", b"400 401"), "control": (b"X-API-Key: \x7f\x01", b"400 401"),
    "no UTF-8": (b"X-API-Key: \xff\xfe", b"401"), "encoded": (b"X-API-Key: {}:{}%0d%0aX-Evil:%201", b"401"),
}


@pytest.mark.parametrize("case", NO_KEYS)
def test_f57_bytes_that_are_no_key_are_refused_and_written_nowhere(server, keys, case):
    field, statuses = NO_KEYS[case]
    web = server("LimitRequestFieldSize 100000\n" + quota.ROOMY + confs.location("/v1"), keys=keys)
    web.expect_log("AH02430|AH02429|AH02427|AH00561|AH00566")
    answer = web.raw_exchange(b"GET /v1/item.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + field + b"\r\n\r\n")
    assert answer.split()[1] in statuses.split(), answer[:200]
    assert b"X-Evil: " not in answer and b"kkkkkkkk" not in answer
    assert not web.log.matching("kkkkkkkk") and not web.log.matching("X-Evil: ")


def test_f56_key_in_query_and_header_is_the_header_s(web, key):
    with quota.costs(web, key, 1):
        assert web.get(f"/v1/item.json?key={key}&api_key=aq_other", key=key).status == 200


def test_key_in_the_query_string_is_not_taken(web, key):
    assert_challenged(web.get(f"/v1/item.json?key={key}&access_token={key}"), CHALLENGE, "key-missing")


def test_realm_is_auth_name_and_is_quoted(server, keys, key):
    web = server(quota.ROOMY + confs.location("/v1", r'AuthName "The \"best\" API"'), keys=keys)
    assert web.get("/v1/item.json").headers["WWW-Authenticate"] == r'Bearer realm="The \"best\" API"'
    assert web.get("/v1/item.json", key=key).status == 200


def test_key_from_names_the_only_places(server, keys, key):
    web = server(quota.ROOMY + confs.location("/v1", key_from="header:Api-Token")
                 + confs.location("/v1/bearer", key_from="bearer"), keys=keys)
    web.root.add_file("v1/bearer/item.json", b"{}")
    assert web.get("/v1/item.json", headers={"api-token": key}).status == 200
    assert web.get("/v1/item.json", key=key).status == 401
    assert web.get("/v1/bearer/item.json", key=key).status == 200
    assert web.get("/v1/bearer/item.json", headers={"Api-Token": key}).status == 401
    # What is no place for a key there is no second key either.
    assert web.get("/v1/item.json", headers={"Api-Token": key, "X-API-Key": "x"}).status == 200


def test_no_key_is_in_any_log(server, keys):
    key = keys.add("acme", secret=SECRET)
    web = server(quota.ROOMY + confs.location("/v1"), keys=keys)
    web.get("/v1/item.json", key=key)
    web.get("/v1/item.json", key=key + "x")
    web.get("/v1/item.json", headers={"X-API-Key": key, "Authorization": f"Bearer {key}"})
    assert SECRET not in web.log.text() and SECRET not in "".join(web.access_log())


# ---- what the backend sees -------------------------------------------------------------------------

def forwarded(web, backend, headers):
    """The headers of the request as the backend saw it."""
    assert web.get("/v1/echo/x", headers=headers).status == 200
    return backend.seen("/echo/x")[-1].headers


@pytest.mark.mpm_all
def test_key_is_taken_off_before_the_backend_sees_it(server, keys, key, backend):
    web = server(quota.ROOMY + confs.proxy("/v1", backend), keys=keys, modules=("proxy_http",))
    assert "Authorization" not in forwarded(web, backend, {"Authorization": f"Bearer {key}"})
    seen = forwarded(web, backend, {"X-API-Key": key, "Authorization": "Basic dTpw", "X-Other": "stays"})
    assert "X-API-Key" not in seen
    assert seen["Authorization"] == "Basic dTpw" and seen["X-Other"] == "stays"
    assert key not in repr(backend.seen())


def test_key_is_forwarded_where_that_is_asked_for(server, keys, key, backend):
    web = server(quota.ROOMY + confs.proxy("/v1", backend, "APIQuotaForwardKey On"), keys=keys,
                 modules=("proxy_http",))
    assert forwarded(web, backend, {"Authorization": f"Bearer {key}"})["Authorization"] == f"Bearer {key}"
    assert forwarded(web, backend, {"X-API-Key": key})["X-API-Key"] == key


def test_f64_headers_in_our_name_from_a_client_reach_no_backend(server, keys, key, backend):
    web = server(quota.ROOMY + confs.proxy("/v1", backend), keys=keys, modules=("proxy_http",))
    seen = forwarded(web, backend, {"X-API-Key": key, "APIQuota-Tenant": "umbrella", "apiquota-cost": "0",
                                    "X-Stays": "1"})
    assert not [name for name in seen.names() if name.startswith("apiquota-")]
    assert seen["X-Stays"] == "1"


def test_key_is_no_environment_of_a_cgi(server, keys, key):
    web = server(quota.ROOMY + confs.location("/cgi-bin", "CGIPassAuth On"), keys=keys, modules=("cgi",))
    web.root.add_cgi("env", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nenv\n")
    shown = web.get("/cgi-bin/env", key=key)
    assert shown.status == 200 and key not in shown.text
    assert f"REMOTE_USER={key.id}" in shown.text


# ---- Require ---------------------------------------------------------------------------------------

REQUIRES = [("api-plan basic", None), ("api-plan other basic", None),
            ("api-plan other", ("plan-refused", "The plan of this key does not allow this.")),
            ("api-scope invoices:write", None), ("api-scope none invoices:read", None),
            ("api-scope invoices none", ("scope-missing", "The key has no scope that this needs: invoices none.")),
            ("api-tenant acme", None), ("api-tenant umbrella acme", None),
            ("api-tenant acm", ("tenant-refused", "The tenant of this key may not do this.")),
            ("valid-user", None), ("user somebody", (None, None))]


def test_require_lets_in_whom_it_names_and_a_403_is_charged(server, keys, key):
    conf = quota.ROOMY + confs.location("/v1")
    conf += "".join(confs.location(f"/v1/r{n}", require=line) for n, (line, _) in enumerate(REQUIRES))
    web = server(conf, keys=keys)
    web.expect_log("AH01631")
    for number, (line, refusal) in enumerate(REQUIRES):
        web.root.add_file(f"v1/r{number}/item.json", b"{}")
        with quota.costs(web, key, 1):
            answer = web.get(f"/v1/r{number}/item.json", key=key)
        assert answer.status == (403 if refusal else 200), (line, answer)
        if refusal:
            checks.assert_problem(answer, 403, code=refusal[0], detail=refusal[1])
        checks.trio(answer)
        assert web.get(f"/v1/r{number}/item.json").status == 401, line


def test_later_403_does_not_speak_of_a_require_that_another_one_made_good(server, keys, key):
    lines = ("<RequireAny>", "Require api-scope never", "Require valid-user", "</RequireAny>")
    web = server(quota.ROOMY + confs.location("/v1", *lines).replace("    Require valid-user\n", "", 1), keys=keys)
    web.expect_log("AH00132|AH01630|AH00035|AH01276|AH02811")
    assert web.get("/v1/item.json", key=key).status == 200
    (web.root.docroot / "v1" / "item.json").chmod(0o000)
    problem = checks.assert_problem(web.get("/v1/item.json", key=key), 403)
    assert "code" not in problem and "detail" not in problem


def test_require_all_asks_for_all(server, keys, key):
    less = keys.add("acme", scopes=["invoices:read"])
    lines = ("<RequireAll>", "Require api-scope invoices:read", "Require api-scope invoices:write",
             "Require api-plan basic", "</RequireAll>")
    web = server(quota.ROOMY + confs.location("/v1", *lines).replace("    Require valid-user\n", ""), keys=keys)
    web.expect_log("AH01631")
    assert web.get("/v1/item.json", key=key).status == 200
    assert web.get("/v1/item.json", key=less).status == 403


def test_refused_require_is_a_401_unless_told_otherwise(server, keys, key):
    conf = confs.location("/v1", require="api-scope never").replace("AuthzSendForbiddenOnFailure On", "")
    web = server(quota.ROOMY + conf, keys=keys)
    web.expect_log("AH01631")
    answer = web.get("/v1/item.json", key=key)
    checks.assert_problem(answer, 401)
    assert answer.headers["WWW-Authenticate"] == CHALLENGE and checks.trio(answer).remaining == 999999
