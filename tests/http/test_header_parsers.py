# SPDX-License-Identifier: Apache-2.0
"""Our headers as libraries of others read them: ratelimit-header-parser and structured-headers, from npm.

ratelimit-header-parser 0.1.0 (there is no newer one) looks at RateLimit first, which it takes for a draft long gone
(`limit=10, remaining=9`): so X-RateLimit-*, which it reads in full, are the default, and the IETF's fields a switch.
"""

import datetime
import json

import pytest

from harness import checks, confs, npm

NOW = 1_767_225_630  # 2026-01-01 00:00:30 UTC
PLAN = confs.plan("basic", "minute 3/minute", "day 1000/day headers=suffix:Daily", "sum 90/total headers=suffix:Sum",
                  "bucket 100/second burst=200 headers=suffix:Burst", "running 5/concurrent headers=suffix:Running")
PARSE = """
const {parseRateLimit} = require('ratelimit-header-parser');
const answers = JSON.parse(require('fs').readFileSync(0, 'utf8'));
console.log(JSON.stringify(answers.map(pairs => parseRateLimit(new Headers(pairs)) ?? null)));
"""
LISTS = """
const {parseList, serializeList} = require('structured-headers');
const lists = JSON.parse(require('fs').readFileSync(0, 'utf8'));
console.log(JSON.stringify(lists.map(text => {
    const list = parseList(text);
    return {same: serializeList(list) === text,
            members: list.map(([item, parameters]) => [item, Object.fromEntries(parameters)])};
})));
"""


@pytest.fixture(scope="module")
def packages():
    return npm.install("ratelimit-header-parser@0.1.0", "structured-headers@2.1.0")


def node(packages, script, value):
    """What a script says without a complaint."""
    ran = packages.node(script, text=json.dumps(value))
    assert (ran.returncode, ran.stderr) == (0, ""), ran
    return json.loads(ran.stdout)


def answers_of(server, keys, headers):
    """A 200, a 304, a 404 and a 429 of a server at NOW, with those APIQuotaHeaders."""
    key = keys.add("acme")
    web = server(PLAN + confs.location("/v1", f"APIQuotaHeaders {headers}"), keys=keys, faketime="+0")
    web.clock.freeze(NOW)
    first = web.get("/v1/item.json", key=key)
    answers = [first, web.get("/v1/item.json", key=key, headers={"If-None-Match": first.headers["ETag"]}),
               web.get("/v1/none", key=key), web.get("/v1/item.json", key=key), web.get("/v1/item.json", key=key)]
    assert [answer.status for answer in answers] == [200, 304, 404, 200, 429]
    return answers


def test_ratelimit_header_parser_reads_the_primary_limit(server, keys, packages):
    answers = answers_of(server, keys, "x-ratelimit")
    read = node(packages, PARSE, [answer.headers.pairs for answer in answers])
    trios = [checks.trio(answer) for answer in answers]
    assert [(seen["limit"], seen["remaining"], seen["used"]) for seen in read] == [
        (trio.limit, trio.remaining, trio.limit - trio.remaining) for trio in trios] == [
        (3, 2, 1), (3, 2, 1), (3, 1, 2), (3, 0, 3), (3, 0, 3)]
    resets = [datetime.datetime.fromtimestamp(trio.reset, datetime.timezone.utc) for trio in trios]
    assert [seen["reset"] for seen in read] == [reset.strftime("%Y-%m-%dT%H:%M:%S.000Z") for reset in resets]


def test_ratelimit_header_parser_finds_nothing_where_no_limit_shows(server, keys, packages):
    answers = answers_of(server, keys, "none")
    assert node(packages, PARSE, [answer.headers.pairs for answer in answers]) == [None] * len(answers)


@pytest.mark.parametrize("headers", ["ietf", "both"])
def test_structured_headers_reads_every_member_and_writes_the_same(server, keys, packages, headers):
    answers = answers_of(server, keys, headers)
    texts = [answer.headers[name] for answer in answers for name in ("RateLimit-Policy", "RateLimit")]
    read = node(packages, LISTS, texts)
    assert all(one["same"] for one in read), texts
    policy, state = (dict(one["members"]) for one in read[:2])
    assert policy == {"minute": {"q": 3, "w": 60}, "day": {"q": 1000, "w": 86400}, "sum": {"q": 90},
                      "bucket": {"q": 200, "w": 2}, "running": {"q": 5, "qu": "concurrent-requests"}}
    assert {name: one["r"] for name, one in state.items()} == {"minute": 2, "day": 999, "sum": 89, "bucket": 199,
                                                                "running": 4}
    assert state["day"]["t"] == 86400 - 30 and "t" not in state["sum"]
    refused = dict(read[-1]["members"])
    assert refused["minute"] == {"r": 0, "t": checks.retry_after(answers[-1])}
