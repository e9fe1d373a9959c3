# SPDX-License-Identifier: Apache-2.0
"""The configurations of docs/moving.md, as they stand, do what the page says of them (concurrent limits: test_concurrent.py)."""

import contextlib
import http.client

from harness import checks, guides

NOW = 1_795_312_800
GUIDE = guides.DOCS / "moving.md"


def example(module):
    """The configuration that follows the heading of a module."""
    text = GUIDE.read_text()
    line = text[:text.index(f"## From {module}")].count("\n") + 1
    return next(block.text for block in guides.blocks(GUIDE) if block.line > line)


def get(web, path="/v1/item.json", source="127.0.0.1"):
    """(status, headers) as asked from another address of this machine."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", web.port, 30, source_address=(source, 0))) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers


def statuses(web, count, *where, **how):
    return [get(web, *where, **how)[0] for _ in range(count)]


def frozen(server, conf, keys=None, **fields):
    web = server(guides.at_home(conf), faketime="+0", **({"keys": keys} if keys else {}), **fields)
    web.clock.freeze(NOW)
    return web


def test_mod_qos(server):
    web = frozen(server, example("mod_qos"))
    assert statuses(web, 60) == [200] * 60
    assert statuses(web, 41, source="127.0.0.2") == [200] * 40 + [429]
    for second in range(2, 12, 2):
        web.clock.freeze(NOW + second)
        assert statuses(web, 100) == [200] * 100
    web.clock.freeze(NOW + 14)
    assert statuses(web, 41) == [200] * 40 + [429]
    assert statuses(web, 1, source="127.0.0.2") == [200]


def test_mod_evasive(server):
    web = frozen(server, example("mod_evasive").replace("192.0.2.0/24", "127.0.0.9/32"))
    pages = [f"/v1/{number}.txt" for number in range(24)]
    assert [get(web, page)[0] for page in pages for _ in range(2)] == [404] * 48
    assert [get(web, pages[0])[0] for _ in range(2)] == [429] * 2   # three and four of one page
    assert get(web, "/v1/item.json")[0] == 429                      # 51 of the site
    assert statuses(web, 3, source="127.0.0.2") == [200, 200, 429]
    assert statuses(web, 60, source="127.0.0.9") == [200] * 60
    status, headers = get(web)
    assert status == 429
    web.clock.advance(int(headers["Retry-After"]))
    assert get(web)[0] == 200


def test_nginx(server):
    web = frozen(server, example("nginx"))
    assert statuses(web, 22) == [200] * 21 + [429]
    assert statuses(web, 1, source="127.0.0.2") == [200]
    web.clock.advance(1)
    assert statuses(web, 11) == [200] * 10 + [429]
    web.clock.advance(1)
    checks.assert_problem(web.post("/v1/item.json", bytes(1024 * 1024 + 1)), 413)


def test_kong(server, keys):
    one, two = keys.tenant("acme", "silver").add("acme"), keys.add("acme")
    web = frozen(server, example("Kong"), keys)
    answers = [web.get("/v1/item.json", headers={"apikey": key}) for key in (one, two) for _ in range(31)]
    assert [answer.status for answer in answers] == [200] * 60 + [429] * 2
    shown = answers[59].headers
    assert [shown[f"X-RateLimit-{what}-{period}"] for period in ("Minute", "Day") for what in ("Limit", "Remaining")] == [
        "60", "0", "1000", "940"]
    web.clock.advance(60)
    assert web.get("/v1/item.json", headers={"apikey": one}).status == 200
    checks.assert_problem(web.get("/v1/item.json", key=one), 401)
