# SPDX-License-Identifier: Apache-2.0
"""apiquota-metrics: what scrapers read, and that it is true."""

import concurrent.futures
import re
import time

import pytest

from harness import batches, checks, confs, exposition
from harness.exposition import promtool, scrape
from harness.httpd import KEYS_REFUSED
from harness.waiting import eventually

PLANS = (confs.plan("basic", "year 3/366d headers=primary") +
         confs.plan("roomy", "minute 1000000/minute", "day 1000000/day per=tenant"))
CONF = PLANS + confs.location("/v1") + exposition.LOCATION
REQUESTS = "apiquota_requests_total"


def decided(web, **labels):
    return scrape(web).of(REQUESTS, **labels)


@pytest.mark.mpm_all
def test_each_decision_is_counted_by_plan(server, keys):
    basic, roomy = keys.add("acme"), keys.tenant("globex", plan="roomy").add("globex")
    conf = (CONF + confs.location("/v1/listing", "APIQuotaExempt expr=true")
            + confs.location("/v1/withindex", "APIQuota DryRun", "APIQuotaLimit tiny 1/366d"))
    web = server(conf, keys=keys)
    for _ in range(4):
        web.get("/v1/item.json", key=basic)
    for _ in range(5):
        web.get("/v1/item.json", key=roomy)
    web.get("/v1/item.json", key=roomy, headers={"If-None-Match": "*"})
    web.get("/v1/listing/a.txt", key=roomy)
    for _ in range(3):
        web.get("/v1/withindex/", key=roomy)
    samples = scrape(web)
    assert samples.of(REQUESTS, plan="basic", decision="allowed") == 3
    assert samples.of(REQUESTS, plan="basic", decision="limited") == 1
    assert samples.of(REQUESTS, plan="roomy", decision="allowed") == 6
    assert samples.of(REQUESTS, plan="roomy", decision="free") == 1
    assert samples.of(REQUESTS, plan="roomy", decision="dryrun-limited") == 2
    assert samples.of(REQUESTS, decision="exempt") == 1
    assert samples.of(REQUESTS, decision="store-error") == 0
    assert samples.of(REQUESTS) == 14
    assert samples.of("apiquota_limited_total", plan="basic", limit="year") == 1
    assert samples.of("apiquota_limited_total", plan="roomy", limit="tiny") == 2
    assert samples.of("apiquota_limited_total") == 3


def test_callers_without_a_good_key_are_counted_by_reason(server, keys):
    key = keys.add("acme")
    web = server(CONF, keys=keys)
    web.get("/v1/item.json")
    for _ in range(2):
        web.get("/v1/item.json", key="aq_unknown")
    web.get("/v1/item.json", headers={"Authorization": f"Bearer {key}", "X-API-Key": str(key)})
    samples = scrape(web)
    counted = {reason: samples.of("apiquota_refused_total", reason=reason)
               for reason in ("key-missing", "key-unknown", "key-ambiguous", "key-expired")}
    assert counted == {"key-missing": 1, "key-unknown": 2, "key-ambiguous": 1, "key-expired": 0}
    assert samples.of(REQUESTS) == 0


def test_early_limits_and_limits_of_a_location_are_counted(server, keys):
    key = keys.add("acme")
    web = server(PLANS + confs.location("/v1", "APIQuotaLimit guard 4/366d per=ip phase=early",
                                        "APIQuotaLimit search 2/366d headers=none") + exposition.LOCATION, keys=keys)
    for _ in range(6):
        web.get("/v1/item.json", key=key)
    samples = scrape(web)
    assert samples.of("apiquota_limited_total", plan="basic", limit="search") == 2
    assert samples.of("apiquota_limited_total", plan="(none)", limit="guard") == 2
    assert samples.of(REQUESTS, plan="(none)", decision="limited") == 2


def test_a_limit_that_only_the_keys_file_names_has_no_label_of_its_own(server, keys):
    keys.tenant("acme", limits={"invented": "1/366d"})
    key = keys.add("acme")
    web = server(CONF, keys=keys)
    for _ in range(2):
        web.get("/v1/item.json", key=key)
    assert scrape(web).of("apiquota_limited_total", plan="basic", limit="(other)") == 1


def test_nothing_is_lost_when_many_children_count(server, keys):
    key = keys.tenant("acme", plan="roomy").add("acme")
    web = server(CONF, keys=keys, mpm="prefork")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: web.get("/v1/item.json", key=key), range(400)))
    assert decided(web, plan="roomy", decision="allowed") == 400


def test_counts_survive_restarts_and_killed_children(server, keys):
    key = keys.tenant("acme", plan="roomy").add("acme")
    web = server(CONF, keys=keys)
    for act in (web.graceful, web.kill_child, web.restart, lambda: (web.stop(), web.start())):
        for _ in range(3):
            web.get("/v1/item.json", key=key)
        act()
    assert decided(web, plan="roomy", decision="allowed") == 12


def test_plans_keep_their_rows_when_others_come_and_go(server, keys):
    key = keys.tenant("acme", plan="roomy").add("acme")
    web = server(CONF, keys=keys)
    web.get("/v1/item.json", key=key)
    web.write_conf(confs.plan("newcomer", "minute 5/minute") + CONF)
    web.graceful()
    web.get("/v1/item.json", key=key)
    samples = scrape(web)
    assert samples.of(REQUESTS, plan="roomy", decision="allowed") == 2
    assert samples.of(REQUESTS, plan="newcomer") == 0


@pytest.mark.parametrize("damage", [b"", b"x" * 5000, None], ids=["empty", "foreign", "a folder"])
def test_a_file_that_is_none_of_ours_is_replaced(server, keys, damage):
    key = keys.tenant("acme", plan="roomy").add("acme")
    web = server(CONF, keys=keys, start=False)
    file = web.root.state / "metrics"
    if damage is None:
        file.mkdir()
        web.expect_log("AQ01650", must=True)
    else:
        file.write_bytes(damage)
    web.start()
    web.get("/v1/item.json", key=key)
    assert decided(web, plan="roomy", decision="allowed") == 1
    web.graceful()


def test_store_errors_are_counted_by_reason(server, keys):
    key = keys.tenant("acme", plan="roomy").add("acme")
    filler = [keys.tenant(f"t{i}", plan="roomy", max_keys=3000).add(f"t{i}") for i in range(1)]
    filler += [keys.add("t0") for _ in range(1400)]
    web = server("APIQuotaStore shm size=64k\n" + CONF, keys=keys, allow=("AQ00304", "AQ01001"))
    with web.session() as session:
        for one in filler:
            session.request("GET", "/v1/item.json", key=one)
    answer = web.get("/v1/item.json", key=key)
    assert answer.status == 200
    samples = scrape(web)
    full = samples.of("apiquota_store_errors_total", reason="full")
    assert full > 0 and samples.of(REQUESTS, decision="store-error") == full
    assert samples.of("apiquota_store_errors_total") == full
    assert samples.of("apiquota_table_overflows_total") > 0


def test_charges_are_timed(server, keys):
    key = keys.tenant("acme", plan="roomy").add("acme")
    web = server(CONF, keys=keys, mpm_conf=confs.ONE_CHILD)
    with web.session() as session:
        began = time.monotonic()
        for _ in range(640):
            session.request("GET", "/v1/item.json", key=key)
        took_s = time.monotonic() - began
    samples = scrape(web)
    assert samples.of("apiquota_store_seconds_count") == 10
    assert 0 < samples.of("apiquota_store_seconds_sum") < took_s
    assert samples.of("apiquota_store_seconds_bucket", le="+Inf") == 10


def test_state_of_counters_and_keys(server, keys):
    key = keys.tenant("acme", plan="roomy").add("acme")
    web = server(CONF, keys=keys)
    web.get("/v1/item.json", key=key)
    samples = scrape(web)
    # One of the key, which lives a minute, and one of the tenant.
    assert samples.of("apiquota_counters", state="live") == 2
    assert samples.of("apiquota_counters") == (64 << 20) // 64 - 64
    assert (samples.of("apiquota_keys"), samples.of("apiquota_tenants")) == (1, 1)
    assert abs(samples.of("apiquota_keyfile_loaded_timestamp_seconds") - time.time()) < 60
    assert (samples.of("apiquota_keyfile_up"), samples.of("apiquota_keyfile_refused_entries")) == (1, 0)
    assert samples.of("apiquota_store_up") == 1
    assert samples.values("apiquota_build_info", "store") == {"shm"}


def test_a_bad_keys_file_shows(server, keys):
    keys.add("acme")
    keys.add("acme", secret="aq_x", id="k_refused", scopes=["no scope"])
    web = server(CONF, keys=keys, allow=("AQ00200", "AQ00202", "AQ01015", "AQ01016"))
    assert scrape(web).of("apiquota_keyfile_refused_entries") == 1
    web.load_keys("{", KEYS_REFUSED)
    assert scrape(web).of("apiquota_keyfile_up") == 0
    web.graceful()
    assert scrape(web).of("apiquota_keyfile_up") == 0
    web.load_keys()
    assert scrape(web).of("apiquota_keyfile_up") == 1


def test_batches_spool_and_worker(server, keys, backend):
    key = keys.add("acme")
    web = server(batches.conf(f"{backend.url}/import") + exposition.LOCATION, keys=keys, worker=True,
                 modules=("proxy_http",))
    eventually(lambda: scrape(web).of("apiquota_worker_up") == 1)
    samples = scrape(web)
    assert samples.of("apiquota_batches") == 0 and samples.of("apiquota_queue_age_seconds") == 0
    assert batches.wait_over(web, key, batches.submit(web, key, b"x" * 1000))["status"] == "succeeded"
    # The worker counts an end when it is written down, which clients may see before.
    eventually(lambda: scrape(web).of("apiquota_batches_ended_total") > 0)
    samples = scrape(web)
    assert samples.of("apiquota_batches", state="succeeded") == 1
    assert samples.of("apiquota_spool_bytes") >= 1000
    assert samples.of("apiquota_spool_max_bytes") == 10 << 30
    assert samples.of("apiquota_batch_seconds_count") == 1
    assert samples.of("apiquota_batches_ended_total", status="succeeded") == 1
    assert samples.of("apiquota_batches_ended_total") == 1


def test_a_worker_that_is_gone_shows_and_so_does_the_age_of_the_queue(server, keys, backend):
    key = keys.add("acme")
    web = server(batches.conf(f"{backend.url}/import") + exposition.LOCATION, keys=keys, worker=False)
    batches.submit(web, key)
    samples = scrape(web)
    assert samples.of("apiquota_worker_up") == 0 and samples.of("apiquota_batches", state="queued") == 1
    eventually(lambda: scrape(web).of("apiquota_queue_age_seconds") > 0)


@pytest.mark.parametrize("accept, content_type", [
    (None, "text/plain; version=0.0.4; charset=utf-8"),
    ("application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.4",
     "application/openmetrics-text; version=1.0.0; charset=utf-8")])
def test_promtool_finds_nothing_to_say(server, keys, backend, accept, content_type):
    key = keys.tenant("acme", plan="roomy").add("acme")
    web = server(CONF + confs.batch("/v1/imports", f"{backend.url}/import"), keys=keys, worker=True,
                 modules=("proxy_http",))
    web.get("/v1/item.json", key=key)
    batches.wait_over(web, key, batches.submit(web, key))
    answer = web.get("/metrics", headers={"Accept": accept} if accept else {})
    assert answer.headers["Content-Type"] == content_type
    assert answer.headers["Cache-Control"] == "no-store" and answer.headers["Vary"] == "Accept"
    if accept:
        assert answer.text.endswith("\n# EOF\n") and "# TYPE apiquota_requests counter\n" in answer.text
    else:
        promtool("check", "metrics", text=answer.text)
    exposition.parse(answer.text)


def test_labels_are_bounded_by_the_configuration(server, keys):
    secrets = [keys.add(f"tenant{i}", id=f"k_number{i}") for i in range(20)]
    web = server(CONF, keys=keys)
    before = set(scrape(web))
    for key in secrets:
        web.get("/v1/item.json", key=key)
    web.get("/v1/item.json", key="aq_nobody")
    assert set(scrape(web)) == before
    text = web.get("/metrics").text
    assert not re.search(r"tenant\d|k_number|127\.0\.0\.1", text)


@pytest.mark.parametrize("page", ["apiquota-metrics", "apiquota-status"])
def test_f70_a_page_that_nobody_guards_is_no_configuration(server, keys, page):
    web = server("", keys=keys, start=False)
    naked = f"<Location /page>\n    SetHandler {page}\n</Location>\n"
    status, said = web.configtest(PLANS + naked)
    assert status != 0 and "AQ01652" in said and page in said and "test.conf:" in said
    nested = naked.replace("</", "    <RequireAny>\n        Require local\n    </RequireAny>\n</")
    assert web.configtest(PLANS + nested)[0] == 0
    assert web.configtest(PLANS + naked.replace("</", "    <LimitExcept GET>\n        Require local\n    </LimitExcept>\n</"))[0]
    assert web.configtest(PLANS + f"AddHandler {page} .status\n")[0] != 0
    assert web.configtest(PLANS + f"<VirtualHost *:1>\n{naked}</VirtualHost>\n")[0] != 0


def test_f70_metrics_are_for_those_whom_require_lets_in(server, keys):
    web = server(CONF.replace("Require local", "Require ip 192.0.2.1"), keys=keys)
    web.expect_log("AH01630", must=True)
    answer = web.get("/metrics")
    assert answer.status == 403 and "apiquota_" not in answer.text


def test_other_methods_and_head(server, keys):
    web = server(CONF, keys=keys)
    head = web.head("/metrics")
    assert head.status == 200 and head.body == b""
    checks.assert_no_trio(head)
    answer = web.post("/metrics")
    assert answer.status == 405 and "GET" in answer.headers["Allow"]


def test_module_that_is_not_configured_has_none(server):
    web = server(exposition.LOCATION, preset=False)
    assert web.get("/metrics").status == 503


def test_mod_status_shows_a_section(server, keys):
    key = keys.tenant("acme", plan="roomy").add("acme")
    web = server("<Location /server-status>\n    SetHandler server-status\n    Require local\n</Location>\n" + CONF,
                 keys=keys, modules=("status",))
    web.get("/v1/item.json", key=key)
    assert "API quota (mod_apiquota)" in web.get("/server-status").text
    assert "Requests allowed: 1<" in web.get("/server-status").text
    auto = dict(line.split(": ", 1) for line in web.get("/server-status?auto").text.splitlines() if ": " in line)
    assert auto["APIQuotaAllowed"] == "1" and auto["APIQuotaLimited"] == "0" and auto["APIQuotaKeyFileUp"] == "1"
    assert "APIQuotaWorkerUp" not in auto
