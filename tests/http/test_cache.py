# SPDX-License-Identifier: Apache-2.0
"""mod_cache: never before the quota (its quick handler), and behind it without another client's headers."""

import pytest

from harness import checks, confs, quota

MODULES = ("cache_disk", "proxy_http")
ETAG = '"v1"'
CACHED = {"Cache-Control": "public, max-age=3600", "ETag": ETAG, "Content-Type": "text/plain"}
STORE = "CacheRoot ${ROOT}/cache\n"
QUICK_OFF = "CacheQuickHandler off\n"
ENABLE = "CacheEnable disk /\n"


def host(*lines):
    return "<VirtualHost *:${PORT}>\n" + "".join(lines) + "</VirtualHost>\n"


def quota_at(path, value="On"):
    return f"<Location {path}>\n    APIQuota {value}\n</Location>\n"


REFUSED = {
    "on by default": ENABLE + quota_at("/v1"),
    "said so": "CacheQuickHandler on\n" + ENABLE + quota_at("/v1"),
    "below the location": "CacheEnable disk /v1/items\n" + quota_at("/v1"),
    "above it": "CacheEnable disk /v1\n" + quota_at("/v1/items"),
    "the same": "cacheenable disk /v1\n" + quota_at("/v1"),
    "by its whole URL": "CacheEnable disk http://localhost/v1\n" + quota_at("/v1"),
    "dry run": ENABLE + quota_at("/v1", "DryRun"),
    "the server's own level": ENABLE + "APIQuota On\n",
    "a pattern": "CacheEnable disk /v1\n<LocationMatch ^/v[0-9]+/>\n    APIQuota On\n</LocationMatch>\n",
    "a folder": "CacheEnable disk /v1\n<Directory ${DOCROOT}/v1>\n    APIQuota On\n</Directory>\n",
    "a condition": "CacheEnable disk /v1\n<Location /v1>\n<If \"true\">\n    APIQuota On\n</If>\n</Location>\n",
    "behind IfModule": "<IfModule cache_module>\n" + ENABLE + "</IfModule>\n" + quota_at("/v1"),
    "inherited by a host": ENABLE + host(quota_at("/v1")),
    "a host alone": host(ENABLE, quota_at("/v1")),
    "a host that caches, a location of all": host(ENABLE) + quota_at("/v1"),
    "a host that switches it on": QUICK_OFF + host("CacheQuickHandler on\n", ENABLE, quota_at("/v1")),
    "a host that does not inherit": host(QUICK_OFF, quota_at("/v1")) + host("ServerName b\n", ENABLE, quota_at("/v1")),
    "one of two locations disabled": ENABLE + "CacheDisable /v1\n" + quota_at("/v1") + quota_at("/v2"),
}
ACCEPTED = {
    "off": QUICK_OFF + ENABLE + quota_at("/v1"),
    "off, in a host": host(QUICK_OFF, ENABLE, quota_at("/v1")),
    "off, inherited": QUICK_OFF + host(ENABLE, quota_at("/v1")),
    "elsewhere": "CacheEnable disk /static\n" + quota_at("/v1"),
    "elsewhere, of a like name": "CacheEnable disk /v10\n" + quota_at("/v1"),
    "without quota there": "CacheEnable disk /static\nAPIQuota On\n" + quota_at("/static", "Off"),
    "disabled there": ENABLE + "CacheDisable /v1\n" + quota_at("/v1"),
    "within a section, where the quick handler has none": "<Location /v1>\nCacheEnable disk\nAPIQuota On\n</Location>\n",
    "another host": host(ENABLE) + host("ServerName b\n", quota_at("/v1")),
    "ruled out": "<IfModule !cache_module>\n" + ENABLE + "</IfModule>\n" + quota_at("/v1"),
    "nothing cached": quota_at("/v1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_f21_quick_handler_above_a_quota_is_a_start_up_error(server, keys, case):
    web = server(STORE + REFUSED[case], keys=keys, modules=MODULES, start=False)
    output = web.start_fails()
    assert "AQ01600" in output and "CacheEnable" in output and 'set "CacheQuickHandler off"' in output
    assert web.configtest()[0] != 0


def test_f21_quick_handler_is_found_behind_include(server, keys):
    web = server(STORE + "Include ${ROOT}/cache.conf\n" + quota_at("/v1"), keys=keys, modules=MODULES, start=False)
    (web.root.path / "cache.conf").write_text("\n" + ENABLE)
    output = web.start_fails()
    assert "AQ01600" in output and "cache.conf:2)" in output


@pytest.mark.parametrize("case", ACCEPTED)
def test_f21_caches_that_are_not_before_the_quota_are_accepted(server, keys, case):
    status, output = server(STORE + ACCEPTED[case], keys=keys, modules=MODULES, start=False).configtest()
    assert (status, "AQ01600" in output) == (0, False), output


def test_f21_cache_of_a_section_answers_nothing_before_the_quota(server, keys, backend):
    """Why CacheEnable within a section is accepted with the quick handler on."""
    backend.script("/item", headers=CACHED)
    key = keys.add("acme")
    web = caching(server, keys, backend, "<Location /v1>\n    CacheEnable disk\n</Location>\n")
    for _ in range(3):
        assert web.get("/v1/item", headers={"X-API-Key": key}).status == 200
        assert web.get("/v1/item").status == 401


# ---- behind the quota ----------------------------------------------------------------------------------------------

def caching(server, keys, backend, *lines):
    web = server(quota.ROOMY + confs.location("/probe") + confs.proxy("/v1", backend) + STORE + "".join(lines), keys=keys,
                 modules=MODULES, start=False)
    folder = web.root.path / "cache"
    folder.mkdir()
    folder.chmod(0o777)
    web.root.add_file("probe/item.json", b"{}")
    return web.start()


@pytest.fixture
def pair(keys):
    """Keys of two tenants."""
    return keys.add("acme"), keys.add("other")


@pytest.fixture
def cached(server, keys, pair, backend):  # pylint: disable=unused-argument
    return caching(server, keys, backend, QUICK_OFF, ENABLE)


def costs(web, key, expected):
    return quota.costs(web, key, expected, path="/probe/item.json")


def by_header(key):
    return {"X-API-Key": key}


@pytest.mark.mpm_all
def test_f21_cached_200_is_charged_and_has_the_callers_own_headers(cached, pair, backend):
    backend.script("/item", headers=CACHED)
    first, second = pair
    cached.get("/v1/item", headers=by_header(first))
    for _ in range(5):
        with costs(cached, second, 1):
            answer = cached.get("/v1/item", headers=by_header(second))
        assert answer.status == 200 and answer.body == b"scripted\n"
    assert len(backend.seen("/item")) == 1, "nothing was cached"
    assert checks.trio(cached.get("/v1/item", headers=by_header(second))).remaining == 1000000 - 5 - 10 - 1
    assert checks.trio(cached.get("/v1/item", headers=by_header(first))).remaining == 1000000 - 2


@pytest.mark.mpm_all
def test_f21_cached_304_is_free(cached, pair, backend):
    backend.script("/item", headers=CACHED)
    first, second = pair
    cached.get("/v1/item", headers=by_header(first))
    with costs(cached, second, 0):
        answer = cached.get("/v1/item", headers={"If-None-Match": ETAG, **by_header(second)})
    assert answer.status == 304 and checks.trio(answer).limit == 1000000
    assert len(backend.seen("/item")) == 1, "nothing was cached"


def test_f21_revalidation_is_a_304_of_the_backend_and_a_charged_200_of_the_client(cached, pair, backend):
    stale = dict(CACHED, **{"Cache-Control": "max-age=0, must-revalidate"})
    backend.script("/item", headers=stale, times=1)
    backend.script("/item", status=304, headers=stale, body=b"")
    first, second = pair
    cached.get("/v1/item", headers=by_header(first))
    with costs(cached, second, 1):
        answer = cached.get("/v1/item", headers=by_header(second))
    assert (answer.status, answer.body) == (200, b"scripted\n") and checks.trio(answer).limit == 1000000
    assert len(backend.seen("/item")) == 2


def test_f21_nothing_of_a_caller_is_stored(cached, pair, backend):
    backend.script("/item", headers=CACHED)
    first, second = pair
    one = cached.get("/v1/item", headers={"Origin": "https://a.example", **by_header(first)})
    two = cached.get("/v1/item", headers=by_header(second))
    assert one.headers["X-Request-Id"] != two.headers["X-Request-Id"]
    assert "Access-Control-Expose-Headers" in one.headers and "Access-Control-Expose-Headers" not in two.headers
    stored = b"".join(file.read_bytes().lower() for file in (cached.root.path / "cache").rglob("*.header"))
    assert b"etag" in stored, "nothing was cached"
    for name in (b"ratelimit", b"x-request-id", b"expose-headers", b"retry-after", first.lower().encode()):
        assert name not in stored, name


def test_f21_no_cached_answer_without_a_key_or_with_nothing_left(server, keys, backend):
    backend.script("/item", headers=CACHED)
    keys.tenant("poor", plan="two")
    key = keys.add("poor")
    web = caching(server, keys, backend, confs.plan("two", "day 2/day"), QUICK_OFF, ENABLE)
    statuses = [web.get("/v1/item", headers=by_header(key)).status for _ in range(3)]
    assert statuses == [200, 200, 429] and len(backend.seen("/item")) == 1
    assert web.get("/v1/item").status == 401


@pytest.mark.parametrize("header, prefix", [("Authorization", "Bearer "), ("X-API-Key", "")])
@pytest.mark.parametrize("forward", ["On", "Off"])
def test_f21_answers_to_a_key_are_shared_only_where_the_backend_says_so(server, keys, pair, backend, header, prefix,
                                                                         forward):
    """RFC 9111, 3.5: in whichever header the key was, and also where it was taken off the request."""
    web = caching(server, keys, backend, f"APIQuotaForwardKey {forward}\n", QUICK_OFF, ENABLE)
    backend.script("/private", headers=dict(CACHED, **{"Cache-Control": "max-age=3600"}))
    backend.script("/public", headers=CACHED)
    backend.script("/shared", headers=dict(CACHED, **{"Cache-Control": "s-maxage=3600"}))
    for path, fetched in (("private", 2), ("public", 1), ("shared", 1)):
        for key in pair:
            assert web.get(f"/v1/{path}", headers={header: prefix + key}).status == 200
        assert len(backend.seen(f"/{path}")) == fetched, path
