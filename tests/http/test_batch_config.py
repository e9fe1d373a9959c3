# SPDX-License-Identifier: Apache-2.0
"""Wrong configuration of batches: an error that names directive, value and what is allowed, at `configtest` already."""

import json
import os

import pytest

from harness import batches, confs

TARGET = "http://127.0.0.1:9/import"
DAY_MS = 24 * 3600 * 1000

# (directive, value that is wrong, what the error must name beside both)
WRONG_IN_LOCATION = [
    ("APIQuotaBatch", "Maybe", "On, Off, Prefer"),
    ("APIQuotaBatchTarget", "ftp://127.0.0.1/x", "http://"),
    ("APIQuotaBatchTarget", "/import", "http://"),
    ("APIQuotaBatchTarget", "exec:bin/import", "absolute path"),
    ("APIQuotaBatchTarget", "exec:", "absolute path"),
    ("APIQuotaBatchTarget", "http://", "http://"),
    ("APIQuotaBatchTarget", "http://host:99999/", "http://"),
    ("APIQuotaBatchTarget", "http://host:0/", "http://"),
    ("APIQuotaBatchTarget", "http://host/#part", "without user"),
    ("APIQuotaBatchMaxBody", "50x", "as in 50m"),
    ("APIQuotaBatchMaxBody", "0", "as in 50m"),
    ("APIQuotaBatchMaxBody", "-1", "as in 50m"),
    ("APIQuotaBatchMaxBody", "99999999999999999999", "as in 50m"),
    ("APIQuotaBatchTimeout", "5x", "5min"),
    ("APIQuotaBatchTimeout", "0s", "5min"),
    ("APIQuotaBatchTimeout", "-5min", "5min"),
    ("APIQuotaBatchTimeout", "25h", "1ms to 24h"),
    ("APIQuotaBatchTimeout", "99999999999999999999d", "1ms to 24h"),
    ("APIQuotaBatchAttempts", "0", "from 1 to 100"),
    ("APIQuotaBatchAttempts", "101", "from 1 to 100"),
    ("APIQuotaBatchAttempts", "3x", "from 1 to 100"),
    ("APIQuotaBatchRetention", "7 d", "DURATION [results=DURATION]"),
    ("APIQuotaBatchRetention", "1d 2 arguments", "takes 1-2 arguments"),
    ("APIQuotaBatchRetention", "1d results=2d", "no longer than the batch"),
    ("APIQuotaBatchMaxWait", "soon", "5min"),
    ("APIQuotaBatchMaxWait", "0s", "5min"),
    ("APIQuotaBatchConcurrency", "0", "from 1 to 10000"),
    ("APIQuotaBatchConcurrency", "3 per=key", "N [per=tenant|endpoint]"),
    ("APIQuotaBatchRetention", "10ms", "allowed: 1s to 3660d"),
    ("APIQuotaBatchTarget", "ftp://h/", "http://HOST[:PORT]/PATH or https://..., without"),
    ("APIQuotaBatchTargetIdempotent", "perhaps", "On, Off"),
    ("APIQuotaBatchForward", "X-Trace Authorization", "credentials"),
    ("APIQuotaBatchForward", "cookie", "credentials"),
    ("APIQuotaBatchForward", "APIQuota-Tenant", "APIQuota-"),
    ("APIQuotaBatchForward", "X:Y", "names of headers"),
    ("APIQuotaBatchWebhook", "https://example.com/", "On, Off"),
]
WRONG_IN_SERVER = [
    ("APIQuotaQueue", "mysql://127.0.0.1", "sqlite, sqlite:FILE, redis://HOST"),
    ("APIQuotaQueue", "redis://127.0.0.1 durability=often", "always, everysec or none"),
    ("APIQuotaQueue", "redis://127.0.0.1 tenant-max=0", "from 1 to"),
    ("APIQuotaQueue", "sqlite:", "sqlite, sqlite:FILE"),
    ("APIQuotaSpool", "spool size=1g", "DIR [max=SIZE] [tenant-max=SIZE] [keep=PERCENT%]"),
    ("APIQuotaSpool", "max=50g", "the path of a folder, and then its options: DIR [max=SIZE]"),
    ("APIQuotaSpool", "spool keep=0%", "1% to 100%"),
    ("APIQuotaSpool", "spool keep=90", "1% to 100%"),
    ("APIQuotaSpool", "spool max=1g tenant-max=1m keep=80% shared keep=90%", "DIR [max=SIZE]"),
    ("APIQuotaSpool", "spool max=1x", "as in 50m"),
    ("APIQuotaSpool", "spool max=1m tenant-max=0", "as in 50m"),
    ("APIQuotaQueue", "sqlite tenant-max=0", "from 1 to"),
    ("APIQuotaWorker", "maybe", "On, Off"),
    ("APIQuotaWorker", "on threads=0", "from 1 to 256"),
    ("APIQuotaWorker", "on threads=257", "from 1 to 256"),
    ("APIQuotaWorker", "on many", "on|off [threads=N]"),
    ("APIQuotaWebhookAllow", "private", "a network as in 10.0.0.0/8"),
    ("APIQuotaWebhookAllow", "10.0.0.0/8 10.0.0.1/8", "no bit set behind its prefix"),
    ("APIQuotaWebhookAllow", "localhost", "a network as in 10.0.0.0/8"),
]


@pytest.fixture(scope="module")
def refusing(shared_server):
    """refusing(conf): what httpd writes when it is asked to check this configuration, which it must refuse."""
    web = shared_server(start=False)

    def check(conf):
        status, said = web.configtest(conf)
        assert status != 0, f"taken for good:\n{conf}"
        return said
    return check


def without_target(*lines):
    return batches.PLAN + confs.location("/v1/batches", "SetHandler apiquota-batches") + confs.location(
        "/v1/imports", *lines)


@pytest.mark.parametrize("directive, value, allowed", WRONG_IN_LOCATION)
def test_f29_wrong_value_in_a_location_is_a_configuration_error(refusing, directive, value, allowed):
    said = refusing(batches.conf(TARGET, f"{directive} {value}"))
    assert directive in said and value.split()[-1] in said and allowed in said, said
    assert "Syntax error on line" in said


@pytest.mark.parametrize("directive, value, allowed", WRONG_IN_SERVER)
def test_f29_wrong_value_in_the_server_is_a_configuration_error(refusing, directive, value, allowed):
    said = refusing(f"{directive} {value}\n")
    assert directive in said and value.split()[-1].split("=")[-1].strip('"') in said and allowed in said, said


def test_password_of_a_target_is_not_shown(refusing):
    said = refusing(batches.conf("http://user:opensesame@127.0.0.1/"))
    assert "APIQuotaBatchTarget" in said and "opensesame" not in said


@pytest.mark.parametrize("line, named, allowed", [
    ("APIQuotaStore redis://127.0.0.1 password=opensesame", "password=...", "password-file="),
    ("APIQuotaStore redis://127.0.0.1 opensesame", "behind the address", "password-file="),
    ("APIQuotaStore redis:/:opensesame@127.0.0.1", "...@127.0.0.1", "redis://HOST"),
    ("APIQuotaKeyStore redis://127.0.0.1 password=opensesame", "password=...", "stale="),
    ("APIQuotaQueue redis://127.0.0.1 password=opensesame", "password=...", "durability="),
    ("APIQuotaQueue redis:/:opensesame@127.0.0.1", "...@127.0.0.1", "redis://HOST"),
    ("APIQuotaQueue sqlite password=opensesame", "password=...", "sqlite[:FILE] [tenant-max=N]"),
])
def test_password_in_the_wrong_place_of_an_address_is_not_shown(refusing, line, named, allowed):
    said = refusing(line + "\n")
    assert line.split()[0] in said and named in said and allowed in said and "opensesame" not in said, said


SERVER_LINES = ["APIQuotaQueue sqlite", "APIQuotaSpool spool", "APIQuotaWorker on", "APIQuotaWorkerProgram x",
                "APIQuotaWebhookAllow 127.0.0.1"]
LOCATION_LINES = ["APIQuotaBatch On", f"APIQuotaBatchTarget {TARGET}", "APIQuotaBatchMaxBody 1m",
                  "APIQuotaBatchTimeout 1s", "APIQuotaBatchAttempts 1", "APIQuotaBatchRetention 1d",
                  "APIQuotaBatchMaxWait 1d", "APIQuotaBatchConcurrency 2", "APIQuotaBatchTargetIdempotent On", "APIQuotaBatchForward X-Trace",
                  "APIQuotaBatchWebhook Off"]


@pytest.mark.parametrize("line", SERVER_LINES)
@pytest.mark.parametrize("section", ["Location /v1", "VirtualHost *:1", 'Directory "${DOCROOT}"'])
def test_f28_directive_of_the_server_in_a_section_is_a_configuration_error(refusing, section, line):
    said = refusing(f"<{section}>\n{line}\n</{section.split()[0]}>\n")
    assert line.split()[0] in said, said


@pytest.mark.parametrize("line", LOCATION_LINES)
@pytest.mark.parametrize("section", [None, "VirtualHost *:1", 'Directory "${DOCROOT}"', "Files x", "Limit POST",
                                     'If "true"'])
def test_f28_directive_of_a_location_elsewhere_is_a_configuration_error(refusing, section, line):
    inner = f"<{section}>\n{line}\n</{section.split()[0]}>\n" if section else line + "\n"
    said = refusing(f"<Location /v1>\n{inner}</Location>\n" if section in ("Limit POST", 'If "true"') else inner)
    assert line.split()[0] in said, said


@pytest.mark.parametrize("line", LOCATION_LINES)
def test_f28_nothing_of_batches_in_htaccess(server, line):
    web = server('<Directory "${DOCROOT}/v1">\nAllowOverride All\n</Directory>\n')
    web.root.add_file("v1/.htaccess", line + "\n")
    web.expect_log(r"AH0\d+: .*htaccess: APIQuotaBatch", must=False)
    web.expect_log(line.split()[0] + " not allowed here", must=True)
    assert web.get("/v1/item.json").status == 500


def test_batches_without_a_target_are_a_configuration_error(refusing):
    said = refusing(without_target("APIQuotaBatch On"))
    assert "AQ01202" in said and "<Location /v1/imports>" in said and "APIQuotaBatchTarget" in said


def test_batches_without_a_status_url_are_a_configuration_error(refusing):
    said = refusing(batches.PLAN + confs.location("/v1/imports", "APIQuotaBatch On", f"APIQuotaBatchTarget {TARGET}"))
    assert "AQ01203" in said and "<Location /v1/imports>" in said and "apiquota-batches" in said


def test_status_url_that_is_a_pattern_is_a_configuration_error(refusing):
    status = confs.location('"~ ^/v1/b"', "SetHandler apiquota-batches").replace('"~ ^/v1/b"', '~ "^/v1/b"')
    said = refusing(batches.PLAN + status)
    assert "AQ01200" in said and "plain path" in said


@pytest.mark.parametrize("line", LOCATION_LINES[1:])
def test_directive_without_effect_is_a_configuration_error(refusing, line):
    said = refusing(batches.conf(TARGET) + confs.location("/v1/imports/big", line))
    assert "AQ01204" in said and "<Location /v1/imports/big>" in said


def test_a_shared_spool_without_a_shared_queue_is_a_configuration_error(refusing):
    said = refusing("APIQuotaSpool spool shared\n" + batches.conf(TARGET))
    assert "AQ01273" in said and "APIQuotaQueue" in said


def test_spool_below_a_folder_that_is_not_there_is_a_start_up_error(server):
    web = server('APIQuotaSpool "${ROOT}/none/spool"\n' + batches.conf(TARGET), start=False)
    said = web.start_fails()
    assert "AQ01205" in said and "APIQuotaSpool" in said and "none/spool" in said


def test_worker_program_that_is_not_there_is_a_start_up_error(server):
    web = server('APIQuotaWorkerProgram "${ROOT}/none"\n' + batches.conf(TARGET), start=False)
    said = web.start_fails()
    assert "AQ01306" in said and "APIQuotaWorkerProgram" in said and "/none" in said


def test_limitrequestbody_below_the_largest_batch_is_a_warning(server):
    web = server(batches.conf(TARGET, "LimitRequestBody 1000", "APIQuotaBatchMaxBody 2k"), worker=False)
    web.expect_log(r"AQ01201: <Location /v1/imports>: LimitRequestBody 1000 .* 2048 allows", must=True)
    server(batches.conf(TARGET, "LimitRequestBody 0"), worker=False)
    server("LimitRequestBody 2048\n" + batches.conf(TARGET, "APIQuotaBatchMaxBody 2k"), worker=False)


def test_webhooks_without_a_keys_file_are_a_warning(server):
    conf = (f'APIQuotaStateDir "${{ROOT}}/state"\nAPIQuotaWorker off\n{batches.PLAN}'
            '<Location /v1/batches>\nSetHandler apiquota-batches\n</Location>\n<Location /v1/imports>\n'
            'APIQuota On\nAPIQuotaPrincipal ip\nAPIQuotaDefaultPlan basic\nAPIQuotaAnonymousPlan basic\n'
            f'APIQuotaBatch On\nAPIQuotaBatchTarget {TARGET}\nAPIQuotaBatchWebhook On\n</Location>\n')
    web = server(conf, preset=False, start=False)
    web.expect_log("AQ01260: <Location /v1/imports>: APIQuotaBatchWebhook On tells nobody", must=True)
    web.start()


def test_values_are_taken_in_either_form_of_units(server):
    lines = ("APIQuotaBatchTimeout 5m", "APIQuotaBatchMaxBody 1024", "APIQuotaBatchRetention 90")
    status, said = server(start=False).configtest(batches.conf(TARGET, *lines))
    assert status == 0, said


def told(server, keys, lines):
    """What httpd tells the worker with those lines, by a server that is gone again, in words that know no folder."""
    web = server(lines + batches.conf(TARGET), keys=keys)
    runtime = json.loads((web.root.state / "runtime.json").read_text().replace(str(web.root.path), ""))
    web.stop()
    return {name: runtime[name] for name in ("store", "queue", "spool", "worker")}, \
        os.stat(web.root.path / runtime["store"]["path"].lstrip("/")).st_size


@pytest.mark.parametrize("earlier,later", [
    ("APIQuotaStore shm:state/own size=1m", "APIQuotaStore shm"),
    ("APIQuotaQueue sqlite:state/own.db", "APIQuotaQueue sqlite"),
    ("APIQuotaSpool state/one max=1g keep=10%", "APIQuotaSpool state/two"),
    ("APIQuotaWorker On threads=9", "APIQuotaWorker On"),
])
def test_f28_of_two_lines_the_later_one_holds_whole(server, keys, earlier, later):
    keys.add("acme")
    assert told(server, keys, f"{earlier}\n{later}\n") == told(server, keys, f"{later}\n")


def test_f28_retention_of_a_later_line_holds_whole(server, keys):
    web = server(batches.conf(TARGET, "APIQuotaBatchRetention 7d results=6d", "APIQuotaBatchRetention 1d"), keys=keys)
    (location,) = json.loads((web.root.state / "runtime.json").read_text())["worker"]["locations"].values()
    assert (location["retention_ms"], location["result_retention_ms"]) == (DAY_MS, 0)


def test_f28_bound_of_an_earlier_line_holds_no_tenant(server, keys, backend):
    key = keys.add("acme")
    web = server("APIQuotaQueue sqlite tenant-max=1\nAPIQuotaQueue sqlite\nAPIQuotaSpool state/spool tenant-max=10\n"
                 "APIQuotaSpool state/spool\n" + batches.conf(f"{backend.url}/import"), keys=keys, worker=False)
    for _ in range(2):
        batches.submit(web, key, b"more than ten bytes\n")
