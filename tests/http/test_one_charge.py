# SPDX-License-Identifier: Apache-2.0
"""One request of a client is one charge, however many requests httpd makes of it."""

import pytest

from harness import checks, confs, quota
from harness.waiting import eventually

REWRITE_HERE = """\
<Directory "${DOCROOT}/v1">
    RewriteEngine On
    RewriteRule ^rewritten\\.json$ item.json
    RewriteRule ^twice\\.json$ rewritten.json
</Directory>
"""
# More threads than connections: else event ends kept-alive connections under their clients' hands.
THREADS = "StartServers 2\nServerLimit 2\nThreadsPerChild 64\nMaxRequestWorkers 128\n"
ACTION = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nby an action\\n'\n"
REDIRECTING = "#!/bin/sh\nprintf 'Location: /v1/item.json\\n\\n'\n"


@pytest.fixture
def key(keys):
    return keys.add("acme", scopes=["some"])


@pytest.fixture
def web(server, keys, key, backend):  # pylint: disable=unused-argument
    conf = (quota.ROOMY + confs.location("/v1", "DirectoryIndexRedirect Off") + REWRITE_HERE
            + "ErrorDocument 404 /v1/part1.txt\nErrorDocument 410 /outside.txt\n"
            + "RewriteEngine On\nRewriteRule ^/v1/pass-through$ /v1/item.json [PT]\n"
            + "Action apiquota-test /cgi-bin/action virtual\n"
            + "<Location /v1/acted>\n    SetHandler apiquota-test\n</Location>\n"
            + confs.location("/cgi-bin")
            + "<Directory ${DOCROOT}/v1/fallback>\n    FallbackResource /v1/item.json\n</Directory>\n"
            + f"<Proxy balancer://two>\n    BalancerMember {backend.url}/reset retry=0\n"
            + f"    BalancerMember {backend.url}/echo retry=0\n</Proxy>\n"
            + "ProxyPass /v1/balanced balancer://two maxattempts=3\n")
    made = server(conf, keys=keys, modules=("autoindex", "include", "rewrite", "actions", "cgi", "proxy_http",
                                            "proxy_balancer", "lbmethod_byrequests", "slotmem_shm"))
    made.root.add_cgi("action", ACTION)
    made.root.add_cgi("redirecting", REDIRECTING)
    made.root.add_file("outside.txt", b"outside\n")
    made.root.add_file("v1/fallback/there.txt", b"there\n")
    return made


def assert_one(web, key, path, status, text, **how):
    """One charge, and one set of headers that shows it."""
    before = quota.left(web, key)
    answer = web.get(path, key=key, **how)
    assert answer.status == status and text in answer.text, answer
    assert checks.trio(answer).remaining == before - 1
    assert quota.left(web, key) == before - 2


@pytest.mark.mpm_all
def test_f12_f13_f14_f15_one_charge_for_all_that_httpd_makes_of_a_request(web, key):
    web.expect_log("AH01110|AH01114|AH01102|AH00898")
    for path, status, text in [
            ("/v1/withindex/", 200, "index"),          # f12: DirectoryIndex
            ("/v1/listing/", 200, "c.txt"),            # f13: three subrequests of autoindex
            ("/v1/page.shtml", 200, "part 2"),         # f14: two includes
            ("/v1/none", 404, "part 1"),               # f15: ErrorDocument in the same location
            ("/v1/rewritten.json", 200, "item"),       # f15: per-directory rewrite
            ("/v1/twice.json", 200, "item"),
            ("/v1/pass-through", 200, "item"),
            ("/v1/acted/item.json", 200, "by an action"),
            ("/v1/fallback/gone", 200, "item"),
            ("/cgi-bin/redirecting", 200, "item"),     # Location: of a CGI
    ]:
        assert_one(web, key, path, status, text)


def test_f15_proxy_retry_is_one_charge(web, key, backend):
    web.expect_log("AH01102|AH01114|AH00898|AH01110")
    before = quota.left(web, key)
    answers = [web.get("/v1/balanced/x", key=key) for _ in range(6)]
    assert {a.status for a in answers} <= {200, 502}, answers
    assert backend.seen("/reset/x") and backend.seen("/echo/x")
    assert quota.left(web, key) == before - 6 - 1


def test_f12_directory_index_of_a_missing_slash_is_a_redirect_and_then_one_charge(web, key):
    with quota.costs(web, key, 2):
        moved = web.get("/v1/withindex", key=key)
        assert moved.status == 301
        web.get("/v1/withindex/", key=key)


@pytest.mark.mpm_all
def test_f16_429_with_a_local_error_document_is_a_429_with_the_document(server, keys):
    key = keys.add("small")
    keys.tenant("small", plan="small")
    web = server(confs.plan("small", "day 2/366d headers=primary") + confs.location("/v1")
                 + "ErrorDocument 429 /v1/part1.txt\n", keys=keys)
    for _ in range(2):
        assert web.get("/v1/item.json", key=key).status == 200
    for _ in range(3):
        answer = web.get("/v1/item.json", key=key)
        assert answer.status == 429 and answer.text == "part 1\n"
        assert checks.trio(answer).remaining == 0 and checks.retry_after(answer) > 0


@pytest.mark.parametrize("document", ["/errors/429.json", '"slow down"'])
def test_f16_error_document_429_outside_or_as_text_keeps_status_and_headers(server, keys, document):
    keys.tenant("small", plan="small")
    key = keys.add("small")
    web = server(confs.plan("small", "day 1/366d headers=primary") + confs.location("/v1")
                 + confs.error_document(429, document), keys=keys)
    web.root.add_file("errors/429.json", b'"slow down"')
    web.get("/v1/item.json", key=key)
    answer = web.get("/v1/item.json", key=key)
    assert answer.status == 429 and answer.text.strip('"') == "slow down"
    assert checks.trio(answer).limit == 1 and checks.retry_after(answer) > 0
    assert answer.headers["Content-Type"] != "application/problem+json"


def test_f16_error_document_429_that_is_missing_does_not_recurse(server, keys):
    keys.tenant("small", plan="small")
    key = keys.add("small")
    web = server(confs.plan("small", "day 1/366d headers=primary") + confs.location("/v1")
                 + "ErrorDocument 429 /v1/no-such-document\n", keys=keys)
    web.get("/v1/item.json", key=key)
    answer = web.get("/v1/item.json", key=key)
    assert answer.status == 429 and checks.retry_after(answer) > 0


@pytest.mark.mpm_all
def test_f20_head_and_ranges_cost_what_get_costs(web, key):
    for method, headers, status in (("HEAD", {}, 200), ("GET", {"Range": "bytes=0-1"}, 206),
                                    ("GET", {"Range": "bytes=0-1,5-9"}, 206),
                                    ("GET", {"Range": "bytes=9999-"}, 416), ("HEAD", {"Range": "bytes=0-1"}, 206)):
        with quota.costs(web, key, 1):
            answer = web.request(method, "/v1/item.json", key=key, headers=headers)
        assert answer.status == status, answer
        checks.trio(answer)


def test_kept_alive_and_pipelined_requests_are_charged_each(web, key):
    with quota.costs(web, key, 5):
        with web.session() as session:
            for _ in range(5):
                assert session.get("/v1/item.json", key=key).status == 200
        assert session.connects == 1
    one = f"GET /v1/part1.txt HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n"
    with quota.costs(web, key, 3):
        web.raw_exchange(((one + "\r\n") * 2 + one + "Connection: close\r\n\r\n").encode())


def test_f25_client_gone_mid_response_is_one_charge(web, key):
    web.root.add_file("v1/large.bin", 30 << 20)
    with quota.costs(web, key, 3):
        for _ in range(3):
            assert web.abort_response("/v1/large.bin", key=key)
        eventually(lambda: sum("/v1/large.bin" in line for line in web.access_log()) == 3)


def test_a_subrequest_that_charges_leaves_its_settings_for_the_response(server, keys, key):
    # The second look-up makes its own settings and paths where those of the first one were.
    conf = (quota.ROOMY + confs.location("/v1", "APIQuotaHeaders both reset=delta")
            + "<Location /v1/withindex>\n    APIQuotaMaxBody 1k\n</Location>\nRewriteEngine On\n"
            + "RewriteCond /v1/withindex/index.html -U\nRewriteRule ^/outside - [E=FIRST:1]\n"
            + "RewriteCond /other/%{QUERY_STRING} -U\nRewriteRule ^/outside - [E=SECOND:1]\n")
    web = server(conf, keys=keys, modules=("rewrite",))
    web.root.add_file("outside.txt", b"outside\n")
    answer = web.get("/outside.txt?" + "x" * 3000, key=key)
    assert answer.status == 200 and "RateLimit" in answer.headers
    assert int(answer.headers["X-RateLimit-Reset"]) <= 366 * 86400


@pytest.mark.mpm_all
def test_f61_one_thousand_parallel_requests_with_one_left_pass_exactly_one(server, keys, mpm):
    keys.tenant("many", plan="many")
    key = keys.add("many")
    web = server(confs.plan("many", "year 11/366d headers=primary", "tenant 1000000/366d per=tenant")
                 + confs.location("/v1"), keys=keys, mpm_conf=THREADS if mpm != "prefork" else "")
    for _ in range(10):
        assert web.get("/v1/item.json", key=key).status == 200
    answers = web.burst(1000, "/v1/item.json", concurrency=50, key=key)
    assert sum(a.status == 200 for a in answers) == 1
    assert sum(a.status == 429 for a in answers) == 999
