# SPDX-License-Identifier: Apache-2.0
"""The quota's headers: on every response to a principal, one set, right already where a 304 is free."""

import pytest

from harness import checks, confs, quota

CONF = (quota.ROOMY + confs.location("/v1")
        + "Redirect 302 /v1/moved /v1/item.json\n"
        + "Redirect 410 /v1/gone\n"
        + "<Location /v1/only-get>\n    AllowMethods GET\n</Location>\n"
        + "<Location /v1/scoped>\n    Require api-scope never\n</Location>\n"
        + "<Location /plain>\n    Require all granted\n</Location>\n")
MODULES = ("allowmethods", "cgi", "asis")
CGI_304 = ("#!/bin/sh\n"
           'if [ "$HTTP_IF_NONE_MATCH" = \'"v1"\' ]; then printf \'Status: 304 Not Modified\\nETag: "v1"\\n\\n\'; exit; fi\n'
           "printf 'ETag: \"v1\"\\nContent-Type: text/plain\\n\\ntagged\\n'\n")


@pytest.fixture
def key(keys):
    return keys.add("acme", scopes=["some"])


@pytest.fixture
def web(server, keys, key):  # pylint: disable=unused-argument
    made = server(CONF, keys=keys, modules=MODULES)
    made.root.add_file("plain/item.txt", b"plain\n")
    return made


ORDINARY = [
    ("GET", "/v1/item.json", {}, 200),
    ("HEAD", "/v1/item.json", {}, 200),
    ("GET", "/v1/item.json", {"Range": "bytes=0-9"}, 206),
    ("GET", "/v1/withindex", {}, 301),
    ("OPTIONS", "/v1/item.json", {}, 200),
    ("GET", "/v1/item.json", {"If-Match": '"no"'}, 412),  # of the handler, without a body
]
ERRORS = [
    ("GET", "/v1/scoped/x", {}, 403),
    ("HEAD", "/v1/scoped/x", {}, 403),
    ("GET", "/v1/nothing-here", {}, 404),
    ("HEAD", "/v1/nothing-here", {}, 404),
    ("DELETE", "/v1/item.json", {}, 405),
    ("GET", "/v1/item.json", {"Range": "bytes=5000-"}, 416),
]
# mod_alias and mod_allowmethods answer before authentication: nobody is recognised yet, nothing was done for him.
BEFORE_AUTHENTICATION = [("GET", "/v1/moved", 302), ("GET", "/v1/gone", 410), ("POST", "/v1/only-get", 405)]


@pytest.mark.mpm_all
def test_ordinary_responses_carry_one_set_and_cost_one(web, key):
    for method, path, headers, status in ORDINARY:
        with quota.costs(web, key, 1):
            answer = web.request(method, path, key=key, headers=headers)
        assert answer.status == status, (method, path, answer)
        assert checks.trio(answer).limit == 1000000
        assert method != "HEAD" or answer.body == b""


@pytest.mark.mpm_all
def test_f17_errors_of_httpd_carry_headers_a_problem_and_cost_one(web, key):
    web.expect_log("AH01631", must=True)
    for method, path, headers, status in ERRORS:
        with quota.costs(web, key, 1):
            answer = web.request(method, path, key=key, headers=headers)
        assert answer.status == status, (method, path, answer)
        assert checks.trio(answer).limit == 1000000
        if method == "HEAD":
            assert answer.body == b"" and answer.headers["Content-Type"] == "application/problem+json"
        else:
            checks.assert_problem(answer, status)


def test_f17_answers_before_authentication_have_no_principal_and_no_headers(web, key):
    web.expect_log("AH01623")
    for method, path, status in BEFORE_AUTHENTICATION:
        with quota.costs(web, key, 0):
            answer = web.request(method, path, key=key)
        assert answer.status == status
        checks.assert_no_trio(answer)
        if status >= 400:
            checks.assert_problem(answer, status)


def test_f17_no_headers_of_ours_without_a_principal_or_a_quota(web, key):
    checks.assert_no_trio(web.get("/v1/item.json"))
    checks.assert_no_trio(web.get("/v1/item.json", key="aq_wrong"))
    for path, status in (("/plain/item.txt", 200), ("/plain/none", 404)):
        answer = web.get(path, key=key)
        assert answer.status == status and "problem" not in answer.headers["Content-Type"]
        checks.assert_no_trio(answer)


def test_f17_error_document_of_the_operator_stands_and_headers_too(server, keys, key):
    web = server(CONF + 'ErrorDocument 404 "not there"\nErrorDocument 405 /errors/405.html\n',
                 keys=keys, modules=MODULES)
    web.root.add_file("errors/405.html", b"<p>our own 405</p>\n")
    missing = web.get("/v1/nothing-here", key=key)
    assert missing.status == 404 and missing.text == "not there"
    with quota.costs(web, key, 1):
        wrong = web.request("DELETE", "/v1/item.json", key=key)
    assert wrong.status == 405 and wrong.text == "<p>our own 405</p>\n"
    assert checks.trio(missing).limit == checks.trio(wrong).limit == 1000000
    checks.assert_problem(web.get("/v1/item.json", key=key, headers={"Range": "bytes=5000-"}), 416)


@pytest.mark.mpm_all
def test_f17_crashing_cgi_is_a_500_with_headers_and_one_charge(server, keys, key):
    web = server(quota.ROOMY + confs.location("/v1") + confs.location("/cgi-bin"), keys=keys, modules=("cgi",))
    web.root.add_cgi("broken", "#!/bin/sh\necho no header at all\n")
    web.root.add_cgi("fine", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nfine\\n'\n")
    web.expect_log("malformed header|End of script output|AH0", must=True)
    with quota.costs(web, key, 1):
        answer = web.get("/cgi-bin/broken", key=key)
    checks.assert_problem(answer, 500)
    assert checks.trio(answer).limit == 1000000
    fine = web.get("/cgi-bin/fine", key=key)
    assert fine.status == 200 and fine.text == "fine\n" and checks.trio(fine).limit == 1000000


def test_f17_dead_and_slow_backends_are_502_503_504_with_headers_and_one_charge(server, keys, key, backend,
                                                                                dead_backend):
    conf = (quota.ROOMY + confs.location("/v1") + confs.proxy("/v1/dead", dead_backend)
            + confs.location("/v1/slow") + f"ProxyPass /v1/slow {backend.url}/slow retry=0 timeout=1\n"
            + confs.location("/v1/reset") + f"ProxyPass /v1/reset {backend.url}/reset retry=0\n")
    web = server(conf, keys=keys, modules=("proxy_http",))
    web.expect_log("AH0")
    for path, statuses in (("/v1/dead/x", (502, 503)), ("/v1/slow/20", (504, 502)), ("/v1/reset/x", (502,))):
        with quota.costs(web, key, 1):
            answer = web.get(path, key=key)
        assert answer.status in statuses, answer
        checks.assert_problem(answer, answer.status)
        assert checks.trio(answer).limit == 1000000


# ---- proxied ---------------------------------------------------------------------------------------

@pytest.fixture
def proxying(server, keys, key, backend):  # pylint: disable=unused-argument
    conf = (quota.ROOMY + confs.location("/v1") + confs.proxy("/v1/api", backend)
            + "<Location /v1/api>\n    SetOutputFilter DEFLATE\n</Location>\nDeflateAlterETag NoChange\n")
    return server(conf, keys=keys, modules=("proxy_http", "deflate"))


@pytest.mark.mpm_all
def test_proxied_responses_of_every_kind_carry_one_set(proxying, key):
    for status in (200, 201, 204, 301, 400, 404, 409, 422, 500, 503):
        with quota.costs(proxying, key, 1):
            answer = proxying.get(f"/v1/api/status/{status}", key=key)
        assert answer.status == status and checks.trio(answer).limit == 1000000
        assert "problem" not in answer.headers.get("Content-Type", "")
    assert checks.trio(proxying.head("/v1/api/status/200", key=key)).limit == 1000000


def test_f19_headers_of_a_backend_are_replaced_by_ours(proxying, key):
    answer = proxying.get("/v1/api/ratelimited", key=key)
    assert answer.text == "mine\n"
    assert checks.trio(answer).limit == 1000000 and checks.trio(answer).remaining == 999999


def test_f19_no_reset_of_a_backend_stays_where_ours_has_none(server, keys, backend):
    keys.tenant("fixed", plan="pack")
    key = keys.add("fixed")
    web = server(confs.plan("pack", "all 50/total headers=primary") + confs.proxy("/v1", backend),
                 keys=keys, modules=("proxy_http",))
    answer = web.get("/v1/ratelimited", key=key)
    assert answer.headers["X-RateLimit-Limit"] == "50" and answer.headers["X-RateLimit-Remaining"] == "49"
    assert "X-RateLimit-Reset" not in answer.headers


# ---- 304 -------------------------------------------------------------------------------------------

def assert_free(web, key, path, etag, **fields):
    """A 304 for that ETag costs nothing, and shows it."""
    before = quota.left(web, key)
    answer = web.get(path, key=key, headers={"If-None-Match": etag, **fields})
    assert answer.status == 304 and answer.body == b"", answer
    assert checks.trio(answer).remaining == before, "the header of the free response shows a charge"
    assert quota.left(web, key) == before - 1, "the 304 was charged"


@pytest.mark.mpm_all
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_f18_304_of_a_file_a_backend_and_cgi_is_free_and_its_headers_show_it(server, keys, key, backend, encoding):
    conf = (quota.ROOMY + confs.location("/v1") + confs.proxy("/v1/api", backend) + confs.location("/cgi-bin")
            + "SetOutputFilter DEFLATE\nDeflateAlterETag NoChange\n")
    web = server(conf, keys=keys, modules=("proxy_http", "deflate", "cgi"))
    web.root.add_cgi("tagged", CGI_304)
    fields = {"Accept-Encoding": encoding}
    for path in ("/v1/item.json", "/v1/api/etag", "/cgi-bin/tagged"):
        full = web.get(path, key=key, headers=fields)
        assert full.status == 200
        # mod_deflate leaves the few bytes of the other two as they are; it is in their filter chain all the same.
        if path == "/v1/item.json":
            assert full.headers.get("Content-Encoding", "identity") == encoding
        assert_free(web, key, path, full.headers["ETag"], **fields)
    assert web.head("/v1/item.json", key=key, headers={"If-None-Match": "*"}).status == 304


def test_f18_if_modified_since_is_free_too(web, key):
    modified = web.get("/v1/item.json", key=key).headers["Last-Modified"]
    with quota.costs(web, key, 0):
        answer = web.get("/v1/item.json", key=key, headers={"If-Modified-Since": modified})
        assert answer.status == 304


@pytest.mark.parametrize("free, charged, not_charged", [("none", 304, None), ("404 200", 304, 404)])
def test_free_statuses_are_those_that_are_named(server, keys, key, free, charged, not_charged):
    other = confs.location("/probe")
    web = server(quota.ROOMY + confs.location("/v1", f"APIQuotaFree {free}") + other, keys=keys)
    web.root.add_file("probe/item.json", b"{}")
    etag = web.get("/v1/item.json", key=key).headers["ETag"]
    with quota.costs(web, key, 1, path="/probe/item.json"):
        assert web.get("/v1/item.json", key=key, headers={"If-None-Match": etag}).status == charged
    if not_charged:
        with quota.costs(web, key, 0, path="/probe/item.json"):
            assert web.get("/v1/none", key=key).status == not_charged
