# SPDX-License-Identifier: Apache-2.0
"""APIQuotaDailyUse and apiquotactl usage export: what was charged, by tenant, limit and day."""

import csv
import datetime
import io
import json
import subprocess

from harness import confs, paths

PLAN = confs.plan("basic", "minute 60/minute", "day 1000/day per=tenant headers=suffix:Daily")


def export(web, *words, code=0):
    done = subprocess.run([str(paths.CTL), "--state-dir", str(web.root.state), *words], capture_output=True, text=True,
                          timeout=30, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def rows_of(web, *words):
    return json.loads(export(web, "--json", "usage", "export", *words))["use"]


def today():
    return datetime.datetime.now(datetime.timezone.utc).date().isoformat()


def test_counters_in_redis_are_refused_since_nothing_would_be_kept(server, keys):
    web = server(keys=keys, start=False)
    status, said = web.configtest("APIQuotaStore redis://127.0.0.1:1\nAPIQuotaDailyUse On\n" + PLAN + confs.location("/v1"))
    assert status != 0 and "AQ01682" in said and "APIQuotaStore shm" in said, said


def counted(server, keys):
    """A server that has charged acme three times, and beta once; a 304 was free."""
    one, two, beta = keys.add("acme"), keys.add("acme"), keys.add("beta")
    web = server("APIQuotaDailyUse On\n" + PLAN + confs.location("/v1"), keys=keys)
    begun = today()
    for key in (one, two, beta):
        assert web.get("/v1/item.json", key=key).status == 200
    response = web.get("/v1/item.json", key=one)
    etag = {"If-None-Match": response.headers["ETag"]}
    assert web.get("/v1/item.json", key=one, headers=etag).status == 304
    return web, one, {begun, today()}


def test_export_says_what_each_limit_was_charged(server, keys):
    web, _, days = counted(server, keys)
    rows = rows_of(web)
    assert {(row["tenant"], row["plan"], row["limit"], row["used"]) for row in rows} == {
        ("acme", "basic", "minute", 3), ("acme", "basic", "day", 3),
        ("beta", "basic", "minute", 1), ("beta", "basic", "day", 1)} or len(days) == 2
    assert {row["day"] for row in rows} <= days
    assert {row["tenant"] for row in rows_of(web, "--tenant", "beta")} == {"beta"}
    lines = list(csv.DictReader(io.StringIO(export(web, "usage", "export"))))
    assert [{**row, "used": int(row["used"])} for row in lines] == rows


def test_counter_of_days_shows_nowhere_else(server, keys):
    web, one, _ = counted(server, keys)
    assert not [name for name, _ in web.get("/v1/item.json", key=one).headers.pairs if "daily-use" in name.lower()]
    assert {row["limit"] for row in json.loads(export(web, "--json", "usage", "show"))["usage"]} == {"minute", "day"}


def test_reload_keeps_the_days_without_being_asked(server, keys):
    web, _, _ = counted(server, keys)
    web.graceful()
    folder = web.root.state / "usage"
    kept = [json.loads(path.read_text()) for path in sorted(folder.iterdir())]
    assert sum(entry["used"] for day in kept for entry in day["use"] if entry["tenant"] == "acme") == 3


def test_days_of_the_past_are_exported_from_one_to_another(server, keys):
    web, _, _ = counted(server, keys)
    rows_of(web)
    begin = (datetime.date.today().replace(day=1) - datetime.timedelta(days=1)).replace(day=1)
    before = begin - datetime.timedelta(days=1)
    for day in ("2020-01-01", before.isoformat(), begin.isoformat()):
        old = {"day": day, "use": [{"tenant": "acme", "plan": "basic", "limits": ["minute"], "used": 7}]}
        (web.root.state / "usage" / f"{day}.json").write_text(json.dumps(old))
    month = before.isoformat()[:7]
    assert [row["day"] for row in rows_of(web, "--since", month, "--until", month)] == [before.isoformat()]
    day = begin.isoformat()
    assert [row["used"] for row in rows_of(web, "--since", day, "--until", day)] == [7]
    assert "2020-01-01" not in {row["day"] for row in rows_of(web)}, "more than 400 days are kept"
    for wrong in ("yesterday", "2026-13", "2026-02-30"):
        assert "2026-11-25 or 2026-11" in export(web, "usage", "export", "--since", wrong, code=2)


def test_server_that_does_not_count_by_day_says_what_it_needs(server, keys):
    keys.add("acme")
    web = server(PLAN + confs.location("/v1"), keys=keys)
    assert "APIQuotaDailyUse On" in export(web, "usage", "export", code=1)
