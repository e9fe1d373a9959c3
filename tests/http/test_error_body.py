# SPDX-License-Identifier: Apache-2.0
"""APIQuotaErrorBody: refusals in the shape that an API's own errors have."""

import datetime
import json

import pytest

from harness import checks, confs

PLAN = confs.plan("basic", "minute 2/minute",
                  'day 100/day per=tenant message="The daily cap of {{limit}} is reached \\"again\\". '
                  'Wait {{retry_after}} s, {{who}}."')
# The pages of two public APIs, see the profiles onestack and waqti.
NESTED = {"error": "Rate limit exceeded", "code": "RATE_LIMIT_EXCEEDED",
          "details": {"limit": "{{limit}}", "window": "{{window}}", "retryAfter": "{{retry_after}}"}}
WITH_META = {"error": {"code": "RATE_LIMIT_EXCEEDED",
                       "message": "Too many requests. Please retry after {{retry_after}} seconds."},
             "meta": {"timestamp": "{{timestamp}}", "request_id": "{{request_id}}"}}
ALL = {name: "{{%s}}" % name for name in
       ("limit", "window", "retry_after", "reset", "limit_name", "message", "timestamp", "request_id")}


@pytest.fixture
def make(server, keys):
    """A server with a template and lines for its location; and its key."""
    def made(template, *lines, conf="", plan=PLAN, where="/v1", **fields):
        key = keys.add("acme")
        web = server(plan + confs.location(where, *lines) + conf, keys=keys, start=False, **fields)
        (web.root.path / "body.json").write_text(template if isinstance(template, str) else json.dumps(template))
        return web, key
    return made


def over_quota(web, key, path="/v1/item.json", method="GET", **how):
    """The 429 of a caller that has two requests a minute."""
    for _ in range(2):
        assert web.get("/v1/item.json", key=key).status != 429
    answer = web.request(method, path, key=key, **how)
    assert answer.status == 429, answer
    return answer


def test_refusal_has_the_shape_of_the_apis_own_errors(make):
    web, key = make(NESTED, "APIQuotaErrorBody ${ROOT}/body.json")
    answer = over_quota(web.start(), key)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {"error": "Rate limit exceeded", "code": "RATE_LIMIT_EXCEEDED",
                             "details": {"limit": 2, "window": "1m", "retryAfter": checks.retry_after(answer)}}
    assert list(answer.json()) == ["error", "code", "details"]


def test_time_and_id_of_the_request_stand_in_it(make):
    web, key = make(WITH_META, "APIQuotaErrorBody ${ROOT}/body.json")
    answer = over_quota(web.start(), key, headers={"X-Request-Id": "req_rl_9f3a2b1c"})
    body = answer.json()
    assert body["error"]["message"] == f"Too many requests. Please retry after {checks.retry_after(answer)} seconds."
    assert body["meta"]["request_id"] == "req_rl_9f3a2b1c" == answer.headers["X-Request-Id"]
    told = datetime.datetime.strptime(body["meta"]["timestamp"], "%Y-%m-%dT%H:%M:%S%z")
    assert abs((datetime.datetime.now(datetime.timezone.utc) - told).total_seconds()) < 60


def test_every_placeholder_has_its_value_and_agrees_with_the_headers(make):
    web, key = make(ALL, "APIQuotaErrorBody ${ROOT}/body.json")
    answer = over_quota(web.start(), key)
    body = answer.json()
    assert (body["limit"], body["window"], body["limit_name"]) == (2, "1m", "minute")
    assert body["retry_after"] == checks.retry_after(answer)
    assert body["reset"] == checks.trio(answer).reset
    assert body["request_id"] == answer.headers["X-Request-Id"]
    assert "minute" in body["message"]


def test_message_of_a_limit_may_hold_placeholders_and_anything_else(make):
    web, key = make(ALL, "APIQuotaErrorBody ${ROOT}/body.json")
    web.keys.tenant("acme", limits={"day": "2/day"})
    web.save_keys()
    answer = over_quota(web.start(), key)
    said = f'The daily cap of 2 is reached "again". Wait {checks.retry_after(answer)} s, {{{{who}}}}.'
    assert answer.json()["message"] == said
    assert answer.json()["limit_name"] == "day"


def test_message_is_filled_in_the_problem_document_too(make):
    web, key = make(NESTED, conf="")
    web.keys.tenant("acme", limits={"day": "2/day"})
    web.save_keys()
    problem = checks.assert_problem(over_quota(web.start(), key), 429)
    assert problem["detail"].startswith('The daily cap of 2 is reached "again". Wait ')


def test_other_statuses_keep_the_problem_document_unless_they_are_named(make):
    web, key = make(ALL, "APIQuotaErrorBody 401 ${ROOT}/body.json", "APIQuotaErrorBody 404 ${ROOT}/body.json")
    web.start()
    answer = web.get("/v1/item.json")
    assert answer.status == 401 and answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert body["limit"] is body["window"] is body["retry_after"] is body["reset"] is body["limit_name"] is None
    assert "key" in body["message"]
    assert web.get("/v1/nothing", key=key).json()["message"] == "Not Found"
    assert web.get("/v1/item.json", key=key).status == 200
    checks.assert_problem(web.get("/v1/item.json", key=key), 429)


def test_inner_section_overrides_status_by_status(make):
    inner = "<Location /v1/withindex>\n    APIQuotaErrorBody 404 problem\n</Location>\n"
    web, key = make(ALL, "APIQuotaErrorBody 404 ${ROOT}/body.json", "APIQuotaErrorBody ${ROOT}/body.json", conf=inner)
    web.start()
    checks.assert_problem(web.get("/v1/withindex/nothing", key=key), 404)
    assert web.get("/v1/nothing", key=key).json()["message"] == "Not Found"
    assert web.get("/v1/withindex/nothing", key=key).json()["limit"] == 2


def test_error_document_of_the_operator_wins(make):
    web, key = make(ALL, "APIQuotaErrorBody ${ROOT}/body.json", 'ErrorDocument 429 "slow down"')
    assert over_quota(web.start(), key).body == b"slow down"


def test_head_has_the_headers_and_no_body(make):
    web, key = make(NESTED, "APIQuotaErrorBody ${ROOT}/body.json")
    answer = over_quota(web.start(), key, method="HEAD")
    assert answer.headers["Content-Type"] == "application/json" and answer.body == b""


@pytest.mark.parametrize("template, said", [
    ('{"error": {"wait": "{{retry_afer}}"}}', r"body.json: error.wait: {{retry_afer}} is no placeholder"),
    ('{"error":\n "open}', "body.json: line 2"),
    ('["{{limit}}"]', "body.json: is no JSON object"),
    ('{"error": {{limit}}}', "body.json: line 1"),
])
def test_what_is_no_template_is_a_configuration_error(make, template, said):
    web, _ = make(template, "APIQuotaErrorBody ${ROOT}/body.json")
    output = web.start_fails()
    assert "APIQuotaErrorBody: " in output and said in output


@pytest.mark.parametrize("arguments", ["200 problem", "999 problem", "42x problem", "${ROOT}/missing.json", "429 problem x"])
def test_what_is_no_such_directive_is_a_configuration_error(make, arguments):
    web, _ = make("{}", f"APIQuotaErrorBody {arguments}")
    assert "APIQuotaErrorBody" in web.start_fails()
