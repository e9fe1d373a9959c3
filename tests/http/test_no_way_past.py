# SPDX-License-Identifier: Apache-2.0
"""No way past the quota: whatever else the configuration and the request say, a caller is recognised and charged."""

import pytest

from harness import checks, confs, quota
from harness.client import statuses

NO_REQUIRE = confs.location("/v1").replace("    Require valid-user\n", "")
ANY_LOCAL = ("<Location /v1>\n    AuthType APIKey\n    AuthName API\n    APIQuota On\n"
             "    <RequireAny>\n        Require local\n        Require valid-user\n    </RequireAny>\n</Location>\n")
NO_AUTH_TYPE = "<Location /v1>\n    APIQuota On\n</Location>\n"
SATISFY_ANY = confs.location("/v1", "Order deny,allow", "Allow from all", "Satisfy Any")
GRANTED = confs.location("/v1", require="all granted")
ONLY_POST = ("<Location /v1>\n    AuthType APIKey\n    AuthName API\n    APIQuota On\n"
             "    <Limit POST>\n        Require valid-user\n    </Limit>\n</Location>\n")
DIRECTORY = confs.location("/v1").replace("<Location /v1>", '<Directory "${DOCROOT}/v1">').replace(
    "</Location>", "</Directory>")
IF = confs.location("/v1").replace("<Location /v1>", "<If \"%{REQUEST_URI} =~ m#^/v1#\">").replace(
    "</Location>", "</If>")
FILES = confs.location("/v1").replace("<Location /v1>", '<FilesMatch "\\.(json|txt|html)$">').replace(
    "</Location>", "</FilesMatch>")
WAYS = {"no Require": NO_REQUIRE, "Require local in RequireAny": ANY_LOCAL, "no AuthType": NO_AUTH_TYPE,
        "Satisfy Any": SATISFY_ANY, "Require all granted": GRANTED, "Require for another method": ONLY_POST,
        "Directory": DIRECTORY, "If": IF, "Files": FILES}


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.mark.parametrize("way", WAYS)
def test_f26_whatever_lets_everybody_in_asks_for_a_key_and_charges(server, keys, key, way):
    web = server(quota.ROOMY + WAYS[way], keys=keys, modules=("access_compat",))
    answer = web.get("/v1/item.json")
    checks.assert_problem(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="')
    with quota.costs(web, key, 1):
        fine = web.get("/v1/withindex/index.html", key=key)
    assert fine.status == 200 and checks.trio(fine).limit == 1000000


@pytest.mark.mpm_all
def test_f26_limits_hold_on_every_way_to_a_resource(server, keys):
    keys.tenant("small", plan="small")
    key = keys.add("small")
    conf = (confs.plan("small", "year 5/366d headers=primary") + NO_REQUIRE
            + "RewriteEngine On\nRewriteRule ^/alias/(.*)$ /v1/$1 [PT]\nAlias /v1/aliased ${DOCROOT}/v1\n"
            + '<Directory "${DOCROOT}/v1">\n    RewriteEngine On\n    RewriteRule ^re\\.json$ item.json\n</Directory>\n'
            + '<Directory "${DOCROOT}/v1/fb">\n    FallbackResource /v1/item.json\n</Directory>\n'
            + "Action act /cgi-bin/act virtual\n<Location /v1/act>\n    SetHandler act\n</Location>\n")
    web = server(conf, keys=keys, modules=("rewrite", "actions", "cgi"))
    web.root.add_file("v1/fb/x.txt", b"x")
    web.root.add_cgi("act", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nact\\n'\n")
    paths = ["/alias/item.json", "/v1/aliased/item.json", "/v1/re.json", "/v1/fb/none", "/v1/act"]
    for path in paths:
        answer = web.get(path)
        assert answer.status == 401 and "WWW-Authenticate" in answer.headers, path
    assert [web.get(path, key=key).status for path in paths] == [200] * 5
    for path in paths + ["/v1/item.json"]:
        answer = web.get(path, key=key)
        assert answer.status == 429 and checks.retry_after(answer) > 0, path


@pytest.mark.parametrize("path", ["/v1//item.json", "/v1/./item.json", "/v1/x/../item.json", "/%76%31/item.json",
                                  "//v1/item.json", "/v1/item.json/", "/v1/%69tem.json?x=1", "/x/../v1/item.json"])
def test_f60_spellings_of_a_path_are_asked_for_a_key_all_the_same(server, keys, key, path):
    web = server(quota.ROOMY + confs.location("/v1"), keys=keys)
    assert web.get(path).status == 401
    with quota.costs(web, key, 1):
        checks.trio(web.get(path, key=key))


def test_f22_what_httpd_refuses_before_it_knows_the_location_reaches_no_handler(server, keys, key, backend):
    web = server(quota.ROOMY + confs.location("/v1") + confs.proxy("/v1/api", backend), keys=keys,
                 modules=("proxy_http",))
    web.expect_log("AH0")
    assert web.get("/v1%2fitem.json", key=key).status == 404
    assert web.get("/v1/item.json", key=key, headers={"X-Long": "x" * 9000}).status == 400
    for request in (b"GET /v1/item.json HTTP/1.1\r\n\r\n", b"GET  /v1/item.json HTTP/1.1\r\nHost: a\r\n\r\n",
                    b"nonsense\r\n\r\n", b"GET /v1/item.json HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n",
                    b"\x00\x01\x02\r\n\r\n"):
        assert web.raw_exchange(request, half_close=True).startswith(b"HTTP/1.1 400")
    assert backend.seen() == []
    assert quota.left(web, key) == 999999


@pytest.mark.parametrize("trace", ["On", "extended"])
def test_f23_options_of_the_server_and_trace_reach_no_handler(server, keys, key, backend, trace):
    web = server(f"TraceEnable {trace}\n" + quota.ROOMY + confs.location("/v1") + confs.proxy("/v1/api", backend),
                 keys=keys, modules=("proxy_http",))
    assert web.request("OPTIONS", "*", key=key).body == b""
    traced = web.request("TRACE", "/v1/item.json", key=key)
    assert traced.status == 200 and b"TRACE /v1/item.json" in traced.body
    proxied = web.request("TRACE", "/v1/api/echo", key=key)
    charged = 999999 - quota.left(web, key)
    assert charged >= len(backend.seen()), f"{proxied!r} reached the backend without a charge"
    assert web.request("TRACE", "/v1/api/echo").status in (200, 401)
    assert len(backend.seen()) <= charged


def test_f23_connect_is_refused(server, keys, backend):
    web = server(quota.ROOMY + confs.location("/"), keys=keys)
    web.expect_log("AH0")
    answer = web.raw_exchange(f"CONNECT 127.0.0.1:{backend.port} HTTP/1.1\r\nHost: a\r\n\r\n".encode(), half_close=True)
    assert not answer.startswith(b"HTTP/1.1 2")


# ---- merging ---------------------------------------------------------------------------------------

def limit_of(web, key, path):
    """X-RateLimit-Limit there."""
    answer = web.get(path, key=key)
    assert answer.status == 200, answer
    return checks.trio(answer).limit


def test_f26_nested_locations_inherit_and_replace_limit_by_limit(server, keys, key):
    conf = (confs.plan("basic", "year 100/366d headers=primary", "other 1000/366d")
            + confs.location("/v1", "APIQuotaLimit extra 50/366d headers=suffix:Extra")
            + "<Location /v1/withindex>\n    APIQuotaLimit year 10/366d\n</Location>\n"
            + "<Location /v1/listing>\n    APIQuotaLimit extra 7/366d headers=suffix:Extra\n</Location>\n"
            + "<Location /v1/listing/a.txt>\n    APIQuota Off\n</Location>\n")
    web = server(conf, keys=keys)
    plain = web.get("/v1/item.json", key=key)
    assert checks.trio(plain).limit == 100 and checks.trio(plain, "-Extra") [:2] == (50, 49)
    inner = web.get("/v1/withindex/index.html", key=key)
    # The same counter, since name and period are the same: 2 used of 10.
    assert checks.trio(inner)[:2] == (10, 8) and checks.trio(inner, "-Extra")[:2] == (50, 48)
    listed = web.get("/v1/listing/b.txt", key=key)
    assert checks.trio(listed)[:2] == (100, 97) and checks.trio(listed, "-Extra")[:2] == (7, 4)
    off = web.get("/v1/listing/a.txt", key=key)
    assert off.status == 200
    checks.assert_no_trio(off)


def test_f26_limit_of_a_location_refuses_there_and_nowhere_else(server, keys, key):
    web = server(quota.ROOMY + confs.location("/v1")
                 + "<Location /v1/listing>\n    APIQuotaLimit search 2/366d headers=none\n</Location>\n", keys=keys)
    got = [web.get("/v1/listing/a.txt", key=key) for _ in range(3)]
    assert [a.status for a in got] == [200, 200, 429]
    checks.assert_problem(got[2], 429, **{"violated-policies": ["search"], "limit": 2})
    assert quota.left(web, key) == 1000000 - 2 - 1, "a denied request was charged to another limit"


@pytest.mark.parametrize("place", ["server", "virtual host"])
def test_f26_virtual_hosts_share_counters_and_inherit_the_servers_own_level(server, keys, key, place):
    everywhere = "APIQuota On\nAPIQuotaLimit year 100/366d headers=primary\n"
    hosts = "".join(f"<VirtualHost *:${{PORT}}>\n    ServerName {name}\n    DocumentRoot ${{DOCROOT}}\n"
                    f"{everywhere if place == 'virtual host' else ''}</VirtualHost>\n" for name in ("one.test", "two.test"))
    web = server(confs.plan("basic", "tenant 1000000/366d per=tenant headers=none")
                 + (everywhere if place == "server" else "") + hosts, keys=keys)
    for count, host in enumerate(["one.test", "two.test", "one.test", "unknown.test"]):
        assert web.get("/item.json", headers={"Host": host}).status == 401, host
        answer = web.get("/item.json", key=key, headers={"Host": host})
        assert checks.trio(answer)[:2] == (100, 99 - count), host


def test_many_limits_that_add_up_to_more_than_sixteen_are_never_a_way_past(server, keys, key):
    nine = [f"p{n} 100/366d" for n in range(9)]
    own = [f"APIQuotaLimit l{n} 100/366d" for n in range(8)]
    conf = confs.plan("basic", *nine)
    refusing = server(conf + confs.location("/v1", *own), keys=keys, start=False).start_fails()
    assert "17 limits" in refusing and "AQ01021" in refusing
    halves = (confs.location("/v1", *own[:4]) + "<Location /v1/listing>\n    " + "\n    ".join(own[4:]) + "\n</Location>\n")
    web = server(conf + halves, keys=keys)
    assert web.get("/v1/item.json", key=key).status == 200
    web.expect_log("AQ01020", must=True)
    checks.assert_problem(web.get("/v1/listing/a.txt", key=key), 500, code="too-many-limits")


def test_no_quota_header_of_a_client_changes_anything(server, keys, key):
    web = server(quota.ROOMY + confs.location("/v1"), keys=keys)
    forged = {"APIQuota-Cost": "0", "APIQuota-Tenant": "other", "X-RateLimit-Remaining": "5", "X-Forwarded-For": "1.2.3.4"}
    with quota.costs(web, key, 1):
        assert checks.trio(web.get("/v1/item.json", key=key, headers=forged)).limit == 1000000


def test_no_limit_of_a_caller_touches_another_caller(server, keys):
    keys.tenant("small", plan="small").tenant("large", plan="small")
    first, second, other = keys.add("small"), keys.add("small"), keys.add("large")
    web = server(confs.plan("small", "own 2/366d headers=primary", "shared 3/366d per=tenant") + confs.location("/v1"),
                 keys=keys)
    def answers(key, count):
        return [web.get("/v1/item.json", key=key).status for _ in range(count)]
    assert answers(first, 3) == [200, 200, 429]
    assert answers(second, 2) == [200, 429]
    assert answers(other, 3) == [200, 200, 429]
    assert statuses([web.get("/v1/item.json", key=second)]) == {429: 1}
