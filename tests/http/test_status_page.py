# SPDX-License-Identifier: Apache-2.0
"""apiquota-status: the page for who runs the server, as HTML and as JSON, and in a real browser."""

import contextlib
import html.parser
import os
import pathlib
import re

import pytest

from harness import batches, confs
from harness.browser import Browser
from harness.httpd import KEYS_REFUSED
from harness.waiting import eventually

PATH = "/status"
LOCATION = f"<Location {PATH}>\n    SetHandler apiquota-status\n    Require local\n</Location>\n"
PLANS = (confs.plan("basic", "minute 4/minute headers=primary", "day 100/day per=tenant") +
         confs.plan("roomy", "minute 1000000/minute", "month unlimited/month per=tenant"))
CONF = PLANS + confs.location("/v1") + LOCATION
JSON = {"Accept": "application/json"}
MARKUP = "<img/src=x/onerror=alert(1)>&amp;'"
LINES = b"a line\n" * 3000
VOID = {"meta", "img", "br", "hr", "link", "input"}
# AQ_SHOTS=DIR keeps the screenshots.
SHOTS = os.environ.get("AQ_SHOTS")


@contextlib.contextmanager
def held(backend):
    """Imports stand still in the middle, until the block ends."""
    backend.hold_import()
    try:
        yield
    finally:
        backend.release()


def status(web, **how):
    answer = web.get(PATH, headers=JSON, **how)
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/json", answer
    return answer.json()


def fresh(web):
    """The status once the lists of who uses most have been made anew, by whichever child answers: they rest for a second."""
    at = status(web)["at"]

    def made_anew():
        document = status(web)
        return document if (document["lists"]["at"] or "") > at else None
    return eventually(made_anew, what="new lists")


class Wellformed(html.parser.HTMLParser):
    """Fails where tags do not match; collects what the tests look at."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.ids, self.tags = [], set(), [], set()
        self.feed(text)
        assert not self.open, f"still open: {self.open}"
        assert len(self.ids) == len(set(self.ids)), "an id stands twice"

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()


@pytest.fixture
def one(server, keys):
    """A server with a key that used some, and one that used all."""
    busy, calm = keys.add("acme", id="k_busy"), keys.add("globex", id="k_calm")
    keys.tenant("initech", plan="roomy")
    web = server(CONF, keys=keys)
    for _ in range(6):
        web.get("/v1/item.json", key=busy)
    web.get("/v1/item.json", key=calm)
    web.get("/v1/item.json", key=calm, headers={"If-None-Match": "*"})
    return web


def test_json_tells_the_hour_plans_and_who_used_most(one):
    document = fresh(one)
    assert document["verdict"] == "good" and document["troubles"] == []
    hour = document["last_hour"]
    assert hour["totals"] == {"allowed": 5, "limited": 2, "free": 1, "other": 0}
    assert len(hour["allowed"]) == 60 and sum(hour["allowed"][-2:]) == 5
    assert [plan["plan"] for plan in document["plans"]] == ["basic", "(none)", "roomy"] or \
        [plan["plan"] for plan in document["plans"]] == ["basic", "roomy"]
    assert document["plans"][0].items() >= {"allowed": 5, "limited": 2, "free": 1, "exempt": 0}.items()
    busy, calm = document["keys"]
    assert (busy["key_id"], busy["limit"], busy["window"], busy["used"], busy["of"]) == ("k_busy", "minute", "1m", 4, 4)
    assert (calm["key_id"], calm["tenant"], calm["used"]) == ("k_calm", "globex", 1)
    assert [(row["tenant"], row["key_id"], row["limit"], row["used"]) for row in document["tenants"]] == [
        ("acme", None, "day", 4), ("globex", None, "day", 1)]
    nearest = [(row["tenant"], row["limit"]) for row in document["nearest"]]
    assert nearest[:2] == [("acme", "minute"), ("globex", "minute")] and len(nearest) == 4
    assert document["key_file"].items() >= {"up": True, "keys": 2, "tenants": 3, "refused_entries": 0}.items()
    assert document["store"].items() >= {"kind": "shm", "up": True, "counters_live": 4, "errors_in_5_minutes": 0}.items()
    assert document["batches"] is None


def test_html_is_whole_without_script_and_bound_by_its_policy(one):
    answer = one.get(PATH)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
    for name, value in (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"), ("Vary", "Accept"),
                        ("Referrer-Policy", "no-referrer")):
        assert answer.headers[name] == value
    page = Wellformed(answer.text)
    assert "style" not in page.attributes and not [a for a in page.attributes if a.startswith("on")]
    assert not page.attributes & {"src", "srcset"} and not page.tags & {"link", "img", "iframe", "object"}
    for words in ("All is well", "k_busy", "acme", "4 of 4", "basic", "Nearest to their limit", "Keys in force"):
        assert words in answer.text, words
    assert not re.search(r"https?://", re.sub(r"<style>.*?</style>|<script>.*?</script>", "", answer.text, flags=re.S))


def test_f70_names_with_markup_are_shown_as_what_they_are(server, keys):
    key = keys.add(MARKUP, id="</style><script>alert(2)</script>")
    web = server(CONF, keys=keys)
    assert web.get("/v1/item.json", key=key).status == 200
    eventually(lambda: "&lt;img/src=x/onerror=alert(1)&gt;&amp;amp;&#39;" in web.get(PATH).text)
    page = web.get(PATH).text
    assert "<img" not in page and "alert(2)</script>" not in page.replace("&lt;/script&gt;", "")
    assert page.count("<script>") == 1 and page.count("</style>") == 1
    Wellformed(page)
    assert fresh(web)["keys"][0]["key_id"] == "</style><script>alert(2)</script>"


def test_f70_nobody_else_gets_in(server, keys):
    web = server(CONF.replace("Require local", "Require ip 192.0.2.1"), keys=keys)
    web.expect_log("AH01630", must=True)
    for headers in ({}, JSON):
        answer = web.get(PATH, headers=headers)
        assert answer.status == 403 and "acme" not in answer.text


def test_other_methods_head_and_a_module_without_configuration(server, keys):
    web = server(CONF, keys=keys)
    assert web.head(PATH).status == 200 and web.post(PATH).status == 405
    assert server(LOCATION, preset=False).get(PATH).status == 503


def test_bad_keys_file_is_said_first(one, keys):
    one.guard.expect("AQ00202")
    one.load_keys("{", KEYS_REFUSED)
    assert status(one)["verdict"] == "bad"
    assert "The keys file cannot be read" in status(one)["troubles"][0]["text"]
    page = one.get(PATH).text
    assert "Something is broken" in page and "<title>(!!) " in page
    one.load_keys()
    assert status(one)["verdict"] == "good"


def test_refused_entries_are_a_warning(server, keys):
    keys.add("acme", id="k_refused", scopes=["no scope"])
    web = server(CONF, keys=keys, allow=("AQ00200",))
    document = status(web)
    assert document["verdict"] == "warning" and "1 entries" in document["troubles"][0]["text"]


def test_a_full_store_is_said(server, keys):
    secrets = [keys.tenant("acme", plan="roomy", max_keys=3000).add("acme") for _ in range(1400)]
    web = server("APIQuotaStore shm size=64k\n" + CONF, keys=keys, allow=("AQ00304", "AQ01001"))
    with web.session() as session:
        for key in secrets:
            session.request("GET", "/v1/item.json", key=key)
    document = status(web)
    assert document["verdict"] == "bad" and document["store"]["errors_in_5_minutes"] > 0
    assert any("could not be counted" in trouble["text"] for trouble in document["troubles"])
    assert document["last_hour"]["totals"]["other"] == document["store"]["errors_in_5_minutes"]


def test_batches_worker_and_spool(server, keys, backend):
    key = keys.add("acme")
    web = server(batches.conf(f"{backend.url}/import") + LOCATION, keys=keys, worker=True)
    eventually(lambda: status(web)["batches"]["worker_up"])
    batches.wait_over(web, key, batches.submit(web, key, b"x" * 5000))
    with held(backend):
        batches.wait_status(web, key, batches.submit(web, key, LINES), "running")
        document = status(web)
        assert document["verdict"] == "good"
        assert document["batches"]["by_state"].items() >= {"succeeded": 1, "running": 1, "queued": 0}.items()
        assert document["batches"]["spool_bytes"] >= 5000 and document["batches"]["queue_up"]
        running, = document["batches"]["running"]
        assert running["tenant"] == "acme" and running["id"] in web.get(PATH).text


def test_a_worker_that_is_down_is_said(server, keys, backend):
    key = keys.add("acme")
    web = server(batches.conf(f"{backend.url}/import") + LOCATION, keys=keys, worker=False)
    assert status(web)["verdict"] == "good"  # another worker may come; nothing waits
    batches.submit(web, key)
    document = status(web)
    assert document["verdict"] == "bad" and "No worker shows a sign of life: 1 batches wait" in document["troubles"][0]["text"]


# ---- in a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    with Browser() as running:
        yield running


def url(web):
    return f"http://127.0.0.1:{web.port}{PATH}"


def busy_server(server, keys, backend):
    """Everything that the page can show, with long names."""
    for i in range(12):
        keys.tenant(f"customer-with-a-rather-long-name-{i}.example.com", plan="basic" if i % 2 else "roomy")
    secrets = [keys.add(f"customer-with-a-rather-long-name-{i}.example.com") for i in range(12)]
    web = server(batches.conf(f"{backend.url}/import").replace(batches.PLAN, PLANS) + LOCATION
                 + confs.location("/v1/listing", "APIQuotaExempt expr=true"), keys=keys, worker=True)
    for i, key in enumerate(secrets):
        for _ in range(i + 2):
            web.get("/v1/imports/x", key=key)
        web.get("/v1/listing/a.txt", key=key)
    batches.submit(web, secrets[0], LINES)
    batches.submit(web, secrets[2], LINES)
    eventually(lambda: status(web)["batches"]["worker_up"])
    return web


def shot(browser, name):
    if SHOTS:
        browser.screenshot(pathlib.Path(SHOTS) / f"{name}.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_page_fits_and_axe_finds_nothing(server, keys, backend, browser, scheme, width):
    with held(backend):
        web = busy_server(server, keys, backend)
        fresh(web)
        browser.view(width=width, scheme=scheme)
        browser.console()
        browser.open(url(web))
        browser.eventually("#live", "Live")
        shot(browser, f"status-{scheme}-{width}")
        assert browser.overflow() <= 0
        browser.run("document.querySelectorAll('details').forEach(d => { d.open = true })")
        assert browser.overflow() <= 0
        assert browser.axe() == []
        assert browser.console() == []


def test_both_themes_differ(one, browser):
    colours = []
    for scheme in ("light", "dark"):
        browser.view(scheme=scheme)
        browser.open(url(one))
        colours.append((browser.colour("body"), browser.colour("body", "color"), browser.colour(".card")))
    assert not set(colours[0]) & set(colours[1])
    assert sum(map(int, re.findall(r"\d+", colours[1][0])[:3])) < 150 < sum(map(int, re.findall(r"\d+", colours[0][0])[:3]))


def test_page_updates_by_itself_until_it_is_paused(one, keys, browser):
    browser.view()
    browser.open(url(one))
    browser.console()
    browser.eventually("#verdict", "All is well")
    before = browser.text("#hour .big")
    key = keys.add("newcomer", id="k_new")
    one.load_keys()
    assert one.get("/v1/item.json", key=key).status == 200
    browser.eventually("#keys", "k_new")
    assert browser.text("#hour .big") != before
    one.guard.expect("AQ00202")
    one.load_keys("{", KEYS_REFUSED)
    browser.eventually("#verdict", "The keys file cannot be read")
    shot(browser, "status-bad")
    browser.click("#live button")
    browser.eventually("#live", "Paused")
    one.load_keys()
    assert status(one)["verdict"] == "good"
    assert "cannot be read" in browser.text("#verdict")
    browser.click("#live button")
    browser.eventually("#verdict", "All is well")
    assert browser.console() == []


def test_page_says_when_the_server_is_gone(one, browser):
    browser.view()
    browser.open(url(one))
    browser.eventually("#live", "Live")
    one.stop()
    browser.eventually("#live", "No answer")


def test_what_somebody_reads_stays_under_their_hands(one, keys, browser):
    browser.view()
    browser.open(url(one))
    browser.click("#hour summary")
    key = keys.add("other", id="k_other")
    one.load_keys()
    assert one.get("/v1/item.json", key=key).status == 200
    browser.eventually("#keys", "k_other")
    assert browser.run("return document.querySelector('#hour details').open && "
                       "document.activeElement === document.querySelector('#hour summary')")


def test_page_works_without_script_and_by_keyboard(one, browser):
    browser.view(script=False)
    browser.open(url(one))
    assert "All is well" in browser.text("#verdict") and "k_busy" in browser.text("#keys")
    assert not browser.all("#live:not([hidden])")
    browser.view()
    browser.open(url(one))
    assert [element.tag_name for element in browser.all("a[href], button, summary")] == ["a", "button", "summary"]


def test_landmarks_headers_captions_and_words_for_charts(one, browser):
    browser.view()
    browser.open(url(one))
    assert [len(browser.all(tag)) for tag in ("body > header", "main", "body > footer", "h1")] == [1, 1, 1, 1]
    assert len(browser.all("table")) == len(browser.all("table > caption")) >= 5
    assert not browser.all("table th:not([scope])")
    labels = [chart.get_attribute("aria-label") for chart in browser.all("svg.chart")]
    assert len(labels) == 3 and all("requests in each of the last 60 minutes" in label for label in labels)
    assert "5 in all" in labels[0] and "2 in all" in labels[1]


def test_f70_markup_does_not_run_in_the_browser(server, keys, browser):
    key = keys.add(MARKUP)
    web = server(CONF, keys=keys)
    web.get("/v1/item.json", key=key)
    browser.view()
    browser.console()
    eventually(lambda: "onerror" in web.get(PATH).text)
    browser.open(url(web))
    browser.eventually("#tenants", MARKUP)
    assert browser.run("return document.images.length") == 0
    assert browser.console() == []
