# SPDX-License-Identifier: Apache-2.0
"""What conf/monitoring and docs/operations.md say of metrics is true of what we answer."""

import json
import pathlib
import re
import shutil

import pytest

from harness import batches, confs, exposition, guides, paths
from harness.exposition import promtool
from harness.waiting import eventually

FOLDER = paths.REPOSITORY / "conf" / "monitoring"
RULES, DASHBOARD = FOLDER / "apiquota.rules.yml", FOLDER / "grafana-dashboard.json"
OPERATIONS = paths.REPOSITORY / "docs" / "operations.md"
METRIC = re.compile(r"\bapiquota_[a-z_]+")


def panels():
    return json.loads(DASHBOARD.read_text())["panels"]


def expressions():
    return [target["expr"] for panel in panels() for target in panel["targets"]]


@pytest.fixture
def answered(server, keys, backend):
    """The samples of a server that has everything."""
    key = keys.add("acme")
    web = server(batches.conf(f"{backend.url}/import") + exposition.LOCATION, keys=keys, worker=True,
                 modules=("proxy_http",))
    batches.wait_over(web, key, batches.submit(web, key))
    eventually(lambda: exposition.scrape(web).of("apiquota_worker_up") == 1)
    return exposition.scrape(web)


def test_promtool_takes_the_alert_rules():
    assert "SUCCESS" in promtool("check", "rules", str(RULES))


def test_promtool_takes_what_the_guide_tells_to_write_beside_the_rules(tmp_path):
    (block,) = [block.text for block in guides.blocks(OPERATIONS) if block.language == "yaml"]
    (tmp_path / "prometheus.yml").write_text(block)
    shutil.copy(RULES, tmp_path)
    said = promtool("check", "config", str(tmp_path / "prometheus.yml"))
    assert "1 rule files found" in said and "is valid prometheus config file" in said
    assert 'up{job="apiquota"}' in RULES.read_text() and "job_name: apiquota\n" in block


def test_each_metric_of_alerts_dashboard_and_docs_exists_and_each_that_exists_is_documented(answered):
    names = answered.names()
    families = {re.sub(r"_(bucket|sum|count)$", "", name) if re.sub(r"_(bucket|sum|count)$", "_bucket", name) in names
                else name for name in names}
    rules = re.sub(r"#.*", "", RULES.read_text())
    for source, text in (("rules", rules), ("dashboard", "\n".join(expressions()))):
        used = set(METRIC.findall(text))
        assert used and used <= names | families, f"{source}: {used - names - families}"
    documented = set(METRIC.findall(OPERATIONS.read_text()))
    assert documented - {"apiquota_json", "apiquota_module"} == families | of_leased_counters()


def of_leased_counters():
    """Metrics that only a server with mode=leased has: test_redis_leased.py sees them."""
    rows = [row for row in OPERATIONS.read_text().splitlines() if row.startswith("|") and "with `mode=leased`" in row]
    names = set(METRIC.findall("\n".join(rows)))
    seen = pathlib.Path(__file__).with_name("test_redis_leased.py").read_text()
    assert names and all(name in seen for name in names)
    return names


def test_labels_that_alerts_and_dashboard_ask_for_exist(answered):
    for expression in expressions() + [RULES.read_text()]:
        for name, selector in re.findall(r"(apiquota_[a-z_]+)\{([^}]*)\}", expression):
            for label, value in re.findall(r'(\w+)="([^"]*)"', selector):
                assert value in answered.values(name, label), f"{name}{{{label}={value!r}}}"
        for labels in re.findall(r"by \(([^)]*)\)", expression):
            known = {label for key in answered for label, _ in key[1:]} | {"instance", "le"}
            assert {label.strip() for label in labels.split(",")} <= known, labels


def test_each_alert_is_explained_in_its_order():
    alerts = re.findall(r"^ +- alert: (\w+)$", RULES.read_text(), re.M)
    sections = re.findall(r"^### (Apiquota\w+)\n(.*?)(?=^##)", OPERATIONS.read_text(), re.M | re.S)
    assert alerts and alerts == [name for name, _ in sections]
    assert all(len(text.split()) > 20 for _, text in sections)


def test_alerts_fire_when_they_should_and_not_else(tmp_path):
    (tmp_path / "rules.yml").write_text(RULES.read_text())
    (tmp_path / "tests.yml").write_text(ALERT_TESTS)
    assert "SUCCESS" in promtool("test", "rules", str(tmp_path / "tests.yml"))


def test_dashboard_is_complete_and_promql_takes_its_expressions(tmp_path):
    rules = [{"record": f"panel:{i}", "expr": re.sub(r"\$__rate_interval", "5m", expression)}
             for i, expression in enumerate(expressions())]
    (tmp_path / "panels.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    assert "SUCCESS" in promtool("check", "rules", str(tmp_path / "panels.yml"))
    assert len({panel["id"] for panel in panels()}) == len(panels()) >= 12
    for panel in panels():
        assert panel["title"] and panel["targets"], panel


def test_json_access_log_of_the_docs_is_json(server, keys):
    example, = [block for block in re.findall(r"^```apache\n(.*?)^```$", OPERATIONS.read_text(), re.M | re.S)
                if "LogFormat" in block]
    shipped = re.search(r'^#(LogFormat "\{.*)$', (paths.REPOSITORY / "conf" / "apiquota.conf").read_text(), re.M)
    assert shipped[1] in example
    key = keys.add("acme", id="k_1")
    conf = example.replace("/var/log/apache2", "${ROOT}/logs") + confs.plan("basic", "year 1/366d headers=primary") + \
        confs.location("/v1", "APIQuotaEnv On")
    web = server(conf, keys=keys)
    web.get("/v1/item.json", key=key, headers={"User-Agent": 'a "quoted" \\ agent', "X-Request-Id": "r-1"})
    web.get('/v1/a%22b%5Cc?q=%22"', key=key)
    web.get("/nothing")
    log = web.root.path / "logs" / "api.json"
    eventually(lambda: log.exists() and len(log.read_text().splitlines()) == 3)
    # Two processes may write their lines in another order than they answered in.
    told = {entry["status"]: entry for entry in (json.loads(line) for line in log.read_text().splitlines())}
    first, second, third = told[200], told[429], told[404]
    assert first.items() >= {"id": "r-1", "client": "127.0.0.1", "method": "GET", "url": "/v1/item.json", "status": 200,
                             "key": "k_1", "tenant": "acme", "plan": "basic", "decision": "allowed", "limit": "1",
                             "remaining": "0"}.items()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4}", first["time"])
    assert first["bytes"] > 0 and isinstance(first["ms"], int)
    assert second["url"] == '/v1/a"b\\c' and second["decision"] == "limited" and second["status"] == 429
    assert third.items() >= {"status": 404, "tenant": "-", "decision": "-"}.items()


ALERT_TESTS = """\
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'apiquota_store_up{instance="a"}', values: '1x30'}
      - {series: 'apiquota_keyfile_up{instance="a"}', values: '1x10 0x20'}
      - {series: 'apiquota_worker_up{instance="a"}', values: '1x30'}
      - {series: 'apiquota_queue_age_seconds{instance="a"}', values: '0x10 1000x20'}
      - {series: 'apiquota_spool_bytes{instance="a"}', values: '90x30'}
      - {series: 'apiquota_spool_max_bytes{instance="a"}', values: '100x30'}
      - {series: 'apiquota_store_errors_total{instance="a",reason="full"}', values: '0x10 0+60x20'}
      - {series: 'apiquota_requests_total{instance="a",plan="p",decision="allowed"}', values: '0+600x30'}
      - {series: 'apiquota_requests_total{instance="a",plan="p",decision="store-error"}', values: '0x10 0+60x20'}
      - {series: 'apiquota_counters{instance="a",state="live"}', values: '90x30'}
      - {series: 'apiquota_counters{instance="a",state="dead"}', values: '5x30'}
      - {series: 'apiquota_counters{instance="a",state="free"}', values: '5x30'}
    alert_rule_test:
      - {eval_time: 9m, alertname: ApiquotaStoreFailing}
      - {eval_time: 9m, alertname: ApiquotaKeyFileBad}
      - {eval_time: 9m, alertname: ApiquotaQueueOld}
      - {eval_time: 29m, alertname: ApiquotaWorkerDown}
      - eval_time: 25m
        alertname: ApiquotaStoreFailing
        exp_alerts:
          - exp_labels: {severity: critical, instance: a}
            exp_annotations: {summary: 'a: requests cannot be counted'}
      - eval_time: 25m
        alertname: ApiquotaUncounted
        exp_alerts:
          - exp_labels: {severity: critical, instance: a}
            exp_annotations: {summary: 'a: more than 1 % of the requests pass uncounted, or are refused with 503'}
      - eval_time: 25m
        alertname: ApiquotaKeyFileBad
        exp_alerts:
          - exp_labels: {severity: critical, instance: a}
            exp_annotations: {summary: 'a: the keys file cannot be read; earlier keys stay in force'}
      - eval_time: 25m
        alertname: ApiquotaQueueOld
        exp_alerts:
          - exp_labels: {severity: warning, instance: a}
            exp_annotations: {summary: 'a: a batch has waited for 16m 40s'}
      - eval_time: 25m
        alertname: ApiquotaSpoolFull
        exp_alerts:
          - exp_labels: {severity: warning, instance: a}
            exp_annotations: {summary: 'a: the spool is filling up; when it is full uploads get 507'}
      - eval_time: 25m
        alertname: ApiquotaCountersFull
        exp_alerts:
          - exp_labels: {severity: warning, instance: a}
            exp_annotations: {summary: 'a: the counter table is filling up'}
"""
