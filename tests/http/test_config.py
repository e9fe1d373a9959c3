# SPDX-License-Identifier: Apache-2.0
"""The configuration: what is refused and how it is said, what is allowed where, and what an unconfigured module does."""

import stat

import pytest

from harness import checks, confs, quota

PLAN = "<APIQuotaPlan p>\n    APIQuotaLimit {}\n</APIQuotaPlan>\n"
LOCATION = "<Location /v1>\n    {}\n</Location>\n"

# (configuration, the directive, the value, words of what is allowed), each of which the error must name.
BAD = [
    (PLAN.format("a 300x"), "APIQuotaLimit", "300x", "COUNT/PERIOD"),
    (PLAN.format("a 0/minute"), "APIQuotaLimit", "0/minute", "COUNT/PERIOD"),
    (PLAN.format("a -1/day"), "APIQuotaLimit", "-1/day", "COUNT/PERIOD"),
    (PLAN.format("a 99999999999999999999/day"), "APIQuotaLimit", "99999999999999999999/day", "4000000000"),
    (PLAN.format("a 4000000001/day"), "APIQuotaLimit", "4000000001/day", "4000000000"),
    (PLAN.format("a 5/fortnight"), "APIQuotaLimit", "5/fortnight", "month"),
    (PLAN.format("a 5/"), "APIQuotaLimit", "5/", "PERIOD"),
    (PLAN.format("a /day"), "APIQuotaLimit", "/day", "COUNT"),
    (PLAN.format("a 1.5/day"), "APIQuotaLimit", "1.5/day", "COUNT"),
    (PLAN.format("a +5/day"), "APIQuotaLimit", "+5/day", "COUNT"),
    (PLAN.format("a 5/0s"), "APIQuotaLimit", "5/0s", "PERIOD"),
    (PLAN.format("a 5/367d"), "APIQuotaLimit", "5/367d", "366d"),
    (PLAN.format("a 5/DAY"), "APIQuotaLimit", "5/DAY", "day"),
    (PLAN.format("a"), "APIQuotaLimit", "a name and a rate", "300/minute"),
    (PLAN.format(""), "APIQuotaLimit", "a name and a rate", "300/minute"),
    (PLAN.format("A 5/day"), "APIQuotaLimit", "A", "lower"),
    (PLAN.format("a.b 5/day"), "APIQuotaLimit", "a.b", "letters"),
    (PLAN.format("x" * 33 + " 5/day"), "APIQuotaLimit", "x" * 33, "32"),
    (PLAN.format("a 5/day per=nobody"), "APIQuotaLimit", "nobody", "tenant"),
    (PLAN.format("a 5/day algorithm=magic"), "APIQuotaLimit", "magic", "sliding"),
    (PLAN.format("a 5/month algorithm=sliding"), "APIQuotaLimit", "algorithm=", "fixed"),
    (PLAN.format("a 5/day headers=loud"), "APIQuotaLimit", "loud", "suffix:"),
    (PLAN.format("a 5/day headers=suffix:"), "APIQuotaLimit", "suffix:", "suffix"),
    (PLAN.format("a 5/day headers=suffix:a b"), "APIQuotaLimit", "b", "option"),
    (PLAN.format("a 5/day colour=red"), "APIQuotaLimit", "colour=red", "per="),
    (PLAN.format('a 5/day message="open'), "APIQuotaLimit", "message", "quotation mark"),
    (PLAN.format("a 5/day\n    APIQuotaLimit a 6/day"), "APIQuotaLimit", '"a"', "already"),
    (PLAN.format("a 5/day headers=primary\n    APIQuotaLimit b 6/day headers=primary"), "APIQuotaLimit", "b", "primary"),
    (PLAN.format("a 5/day\n    " + "\n    ".join(f"APIQuotaLimit l{n} 1/day" for n in range(16))), "APIQuotaLimit",
     "l15", "16"),
    (LOCATION.format("APIQuotaLimit a 5/day\n    APIQuotaLimit a 6/day"), "APIQuotaLimit", '"a"', "already"),
    (LOCATION.format("APIQuotaLimit a 5/day headers=suffix:D\n    APIQuotaLimit b 6/day headers=suffix:d"),
     "APIQuotaLimit", '"d"', "has it"),
    (LOCATION.format("APIQuotaLimit a 5/day headers=primary\n    APIQuotaLimit b 6/day headers=primary"),
     "APIQuotaLimit", '"b"', "primary"),
    ("<APIQuotaPlan>\n</APIQuotaPlan>\n", "APIQuotaPlan", "APIQuotaPlan", "one name"),
    ("<APIQuotaPlan a b>\n</APIQuotaPlan>\n", "APIQuotaPlan", "APIQuotaPlan", "one name"),
    ("<APIQuotaPlan a/b>\n</APIQuotaPlan>\n", "APIQuotaPlan", "a/b", "letters"),
    ("<APIQuotaPlan p>\n    Redirect /a /b\n</APIQuotaPlan>\n", "APIQuotaPlan p", "Redirect", "APIQuotaLimit"),
    (PLAN.format("a 5/day") * 2, "APIQuotaPlan", "p", "already"),
    ("APIQuotaStore mysql\n", "APIQuotaStore", "mysql", "shm"),
    ("APIQuotaStore shm size=1k\n", "APIQuotaStore", "size=1k", "64k"),
    ("APIQuotaStore shm size=-1\n", "APIQuotaStore", "size=-1", "64k"),
    ("APIQuotaStore shm size=99999999999999999999\n", "APIQuotaStore", "size=99999999999999999999", "64k"),
    ("APIQuotaStore shm colour=1\n", "APIQuotaStore", "colour=1", "size="),
    ("APIQuotaStore shm:\n", "APIQuotaStore", '""', "path"),
    ("APIQuotaStoreFailure maybe\n", "APIQuotaStoreFailure", "maybe", "deny"),
    ('APIQuotaStateDir ""\n', "APIQuotaStateDir", "one argument", "folder"),
    ('APIQuotaKeyFile ""\n', "APIQuotaKeyFile", "one argument", "file"),
    (LOCATION.format("APIQuota Maybe"), "APIQuota", "Maybe", "Off"),
    (LOCATION.format("APIQuotaForwardKey 1"), "APIQuotaForwardKey", "1", "Off"),
    (LOCATION.format("APIQuotaKeyFrom cookie"), "APIQuotaKeyFrom", "cookie", "bearer"),
    (LOCATION.format("APIQuotaKeyFrom header:"), "APIQuotaKeyFrom", "header:", "NAME"),
    (LOCATION.format('APIQuotaKeyFrom "header:X Y"'), "APIQuotaKeyFrom", "header:X Y", "NAME"),
    (LOCATION.format("APIQuotaFree 99"), "APIQuotaFree", "99", "200 to 599"),
    (LOCATION.format("APIQuotaFree 600"), "APIQuotaFree", "600", "200 to 599"),
    (LOCATION.format("APIQuotaFree none 304"), "APIQuotaFree", "304", "none alone"),
    (LOCATION.format("APIQuotaFree 304 none"), "APIQuotaFree", "none", "none alone"),
    (LOCATION.format("APIQuotaFree 30x"), "APIQuotaFree", "30x", "200 to 599"),
    (LOCATION.format("APIQuotaFree " + " ".join(str(n) for n in range(300, 309))), "APIQuotaFree", "308", "eight"),
    (LOCATION.format("Require api-plan"), "Require api-plan", "api-plan", "one name"),
    (LOCATION.format("Require api-scope"), "Require", "api-scope", "one name"),
    (LOCATION.format("Require api-tenant"), "Require", "api-tenant", "one name"),
]

# What stands in the wrong place.
SERVER_ONLY = ["APIQuotaStateDir /tmp", "APIQuotaStore shm", "APIQuotaStoreFailure allow", "APIQuotaKeyFile keys.json",
               "APIQuotaIPv6Prefix 64", "APIQuotaDailyUse On", "<APIQuotaPlan q>\n</APIQuotaPlan>"]


@pytest.fixture(scope="module")
def trying(shared_server):
    return shared_server(start=False)


@pytest.mark.parametrize("conf, directive, value, allowed", BAD, ids=[f"{b[1]}-{b[2]}" for b in BAD])
def test_f29_bad_value_is_an_error_that_names_directive_value_and_what_is_allowed(trying, conf, directive, value,
                                                                                  allowed):
    code, said = trying.configtest(conf)
    assert code != 0, f"taken: {conf}"
    assert "test.conf" in said and " line " in said
    for word in (directive, value, allowed):
        assert word in said, f"{word!r} is not said: {said}"


@pytest.mark.parametrize("directive", SERVER_ONLY)
@pytest.mark.parametrize("section", ["VirtualHost *", "Location /v1", "Directory /tmp"])
def test_f28_server_directive_in_a_section_is_an_error(trying, directive, section):
    code, said = trying.configtest(f"<{section}>\n{directive}\n</{section.split()[0]}>\n")
    assert code != 0
    assert directive.split()[0].strip("<") in said and ("cannot occur" in said or "not allowed" in said), said


@pytest.mark.parametrize("directive", ["APIQuota Off", "APIQuotaLimit a 5000/day", "APIQuotaFree 200",
                                       "APIQuotaKeyFrom bearer", "APIQuotaForwardKey On", "APIQuotaStateDir /tmp"])
def test_f29_nothing_of_ours_is_allowed_in_htaccess(server, keys, directive):
    key = keys.add("acme")
    web = server(quota.ROOMY + confs.location("/v1") + '<Directory "${DOCROOT}/v1/own">\n    AllowOverride All\n'
                 "</Directory>\n", keys=keys)
    web.root.add_file("v1/own/item.json", b"{}")
    assert web.get("/v1/own/item.json", key=key).status == 200
    web.root.add_file("v1/own/.htaccess", directive + "\n")
    web.expect_log("not allowed here", must=True)
    answers = web.burst(60, "/v1/own/item.json", concurrency=6, key=key)
    assert {a.status for a in answers} == {500}
    assert web.get("/v1/item.json", key=key).status == 200


# ---- what is configured, and what is not -----------------------------------------------------------

@pytest.mark.mpm_all
def test_f28_module_that_is_loaded_and_not_configured_serves_and_creates_nothing(server):
    web = server(preset=False)
    answer = web.get("/v1/item.json", key="aq_any")
    assert answer.status == 200
    checks.assert_no_trio(answer)
    assert web.get("/none").headers["Content-Type"].startswith("text/html")
    web.graceful()
    assert web.get("/v1/item.json").status == 200
    assert list(web.root.state.iterdir()) == []
    assert not web.log.matching("apiquota:")


def test_f28_configured_twice_the_later_value_holds(server, keys):
    key = keys.add("acme")
    web = server(quota.ROOMY + confs.location("/v1") + confs.location("/v1", "APIQuotaFree 404")
                 + 'APIQuotaStoreFailure allow\nAPIQuotaStoreFailure deny\nAPIQuotaKeyFile "${ROOT}/keys.json"\n',
                 keys=keys)
    with quota.costs(web, key, 0):
        assert web.get("/v1/none", key=key).status == 404


def test_f29_quota_without_keys_or_with_what_cannot_be_opened_is_refused_at_the_start(server):
    for conf, said in [("APIQuota On\n", "APIQuotaKeyFile"),
                       ('APIQuotaStateDir "${ROOT}/none/state"\nAPIQuotaKeyFile "${ROOT}/keys.json"\n',
                        "APIQuotaStateDir"),
                       ('APIQuotaStateDir "${ROOT}/keys.json"\nAPIQuotaKeyFile "${ROOT}/keys.json"\n',
                        "APIQuotaStateDir"),
                       ('APIQuotaStateDir "${ROOT}/state"\nAPIQuotaKeyFile "${ROOT}/missing.json"\n',
                        "missing.json"),
                       ('APIQuotaStateDir "${ROOT}/state"\nAPIQuotaStore "shm:${ROOT}/none/counters"\n'
                        'APIQuotaKeyFile "${ROOT}/keys.json"\n', "APIQuotaStore")]:
        web = server(conf, preset=False, start=False)
        assert said in web.start_fails(), conf


@pytest.mark.mpm_all
def test_f71_files_made_are_not_readable_for_others_and_symbolic_links_are_refused(server, keys):
    key = keys.add("acme")
    web = server(quota.ROOMY + confs.location("/v1"), keys=keys)
    assert web.get("/v1/item.json", key=key).status == 200
    made = {file.name: file.lstat() for file in web.root.state.iterdir()}
    assert stat.S_IMODE(made["counters"].st_mode) == 0o600
    assert stat.S_IMODE(made["keys.last-good.json"].st_mode) == 0o600
    assert stat.S_IMODE(made["runtime.json"].st_mode) == 0o640
    assert not [name for name, info in made.items() if info.st_mode & 0o007 and not stat.S_ISDIR(info.st_mode)]
    web.stop()
    counters = web.root.state / "counters"
    counters.rename(web.root.path / "elsewhere")
    counters.symlink_to(web.root.path / "elsewhere")
    assert "counters" in web.start_fails()
