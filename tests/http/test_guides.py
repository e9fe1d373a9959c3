# SPDX-License-Identifier: Apache-2.0
"""README.md and docs/: each block of code is done as it is written, or compared with what really comes.

GUIDES says how a document is read: its server, and what its texts stand for here. Blocks of language `apache` pass configtest
each, in test_docs.py; `drawing` is one. NOT_RUN names those that no test can run, with the reason; RUN_ELSEWHERE those with a test of their own.
"""

import contextlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import tempfile
import urllib.error
import urllib.request

import pytest

from harness import batches, confs, guides, items_backend, keys as keys_of, npm, paths, webhooks
from harness.backend import Backend
from harness.ports import PortLease
from harness.reader import Reader
from harness.redis import FAILED, NOT_PERSISTED
from harness.waiting import eventually

NOW = 1_795_312_800  # 2026-11-22 02:00:00 UTC
PLANS = 'Include "${ROOT}/mods-available/apiquota.conf"\n'
LANGUAGES = ("sh", "apache", "http", "json", "yaml", "text", "python", "javascript", "redis", "drawing")
SITE = 'DirectoryIndex disabled\nIncludeOptional "${ROOT}/enabled/*.conf"\n'
# (document, how the block begins): why it is not run.
NOT_RUN = {
    ("README.md", "apt-get install -y make && make demo"): "`make check-bare` runs both commands in a bare Debian",
    ("limits.md", "used = "): "a formula; tests/unit/limit counts by it",
    ("man/apiquota-worker.8", "systemctl enable"): "there is no systemd in a test; tests/guards/systemd_unit.py looks at the unit",
}

# (document, language or how the block begins): the test that runs it, or compares it.
RUN_ELSEWHERE = {
    ("clients.md", "sh"): "http/test_client_code.py",
    ("clients.md", "python"): "http/test_client_code.py",
    ("clients.md", "javascript"): "http/test_client_code.py",
    ("operations.md", "yaml"): "http/test_monitoring.py",
    ("operations.md", "systemd-analyze"): "guards/systemd_unit.py",
    ("operations.md", "→ Overall exposure"): "guards/systemd_unit.py",
    ("profiles/onestack.md", "http"): "http/test_profile_onestack.py",
    ("profiles/onestack.md", "json"): "http/test_profile_onestack.py",
    ("profiles/waqti.md", "http"): "http/test_profile_waqti.py",
    ("profiles/waqti.md", "json"): "http/test_profile_waqti.py",
}
MAN_PAGE = "man/apiquotactl.8"
FOLLOWED = ("README.md", "quick-start.md", "plans-and-keys.md", "clients.md", "batches.md", "simulate.md", "directives.md",
            "operations.md", "scaling.md")


def is_of(block, table):
    """The row of a table that a block belongs to, or None."""
    return next((row for row in table if block.document == row[0] and (block.language == row[1] or block.text.startswith(row[1]))),
                None)


def runs(block):
    return block.language != "drawing" and not is_of(block, NOT_RUN) and not is_of(block, RUN_ELSEWHERE)


def test_each_block_says_its_language_and_is_done_somewhere():
    every = [block for document in guides.documents() for block in guides.blocks(document)] + guides.man_pages()
    for block in every:
        place = f"{block.document}:{block.line}"
        assert block.language in LANGUAGES, f"{place}: a block of language {block.language!r}: known are {', '.join(LANGUAGES)}"
        assert block.language == "apache" or not runs(block) or block.document in (*FOLLOWED, MAN_PAGE), \
            f"{place}: no test reads this block: follow its document here, or say in NOT_RUN or RUN_ELSEWHERE why not"
    for row in (*NOT_RUN, *RUN_ELSEWHERE):
        assert any(is_of(block, (row,)) for block in every), f"there is no such block: {row}"


def test_code_that_is_not_fenced_is_a_line_of_configuration():
    for document in guides.documents():
        for line, text in guides.loose_code(document):
            is_example = document.name.startswith("directives") and text.startswith(("APIQuota", "Require "))
            assert is_example, f"{guides.name_of(document)}:{line}: fence it, and say its language"


def test_tests_named_here_are_there_and_follow_what_they_should():
    for test in set(RUN_ELSEWHERE.values()):
        assert (paths.REPOSITORY / "tests" / test).is_file(), test
    here = pathlib.Path(__file__).read_text()
    for document in FOLLOWED:
        assert re.search(rf'^    follow\(.*"{document}"', here, re.M), document


def test_commands_that_the_text_names_are_those_of_the_program():
    """Words and options alone: what they do is what the blocks show."""
    said = subprocess.run([paths.CTL, "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
    rows = re.findall(r"^  ([a-z].*)$", said, re.M)
    of_all = set(re.findall(r"--[a-z-]+", said.splitlines()[0]))
    known = {re.match(r"[a-z]+(?: [a-z]+)?(?=$| )", row)[0]: set(re.findall(r"--[a-z-]+", row)) for row in rows}
    for document in guides.documents():
        for line, text in guides.commands(document):
            words = re.sub(r"^apiquotactl(?: --json| --(?!json)\S+ \S+| -f \S+)* ", "", text)
            if any(name.startswith(words + " ") for name in known):
                continue  # a group of commands
            name = next((name for name in known if words == name or words.startswith(name + " ")), None)
            assert name, f"{guides.name_of(document)}:{line}: there is no command {text!r}"
            unknown = set(re.findall(r"--[a-z-]+", text)) - known[name] - of_all
            assert not unknown, f"{guides.name_of(document)}:{line}: {name} has no {unknown}"


@pytest.fixture
def reader(server, keys, backend):
    """reader(frozen=False, known=…) -> a Reader whose httpd is as the package leaves it, and not started yet.

    frozen: its clock stands still at NOW, so that no minute ends while a busy machine reads a guide."""
    made = []

    def make(frozen=False, **how):
        web = server(SITE, keys=keys, modules=("proxy_http", "deflate"), start=False, faketime="+0" if frozen else None)
        if frozen:
            web.clock.freeze(NOW)
        web.root.add_file("v1/hello.json", '{"hello": "world"}\n')
        shipped = guides.at_home((paths.REPOSITORY / "conf" / "mods-available" / "apiquota.conf").read_text())
        made.append(Reader(web, backend, **how))
        made[-1].ship("mods-available/apiquota.conf", shipped)
        return made[-1]
    yield make
    for one in made:
        one.close()


def follow(reader, document, before=None, instead=None):
    """before: beginnings of blocks, and what has to happen first, called without arguments.
    instead: beginnings or languages of blocks, and what does them in place of the reader."""
    for block in filter(runs, guides.blocks(guides.DOCS / document if document != "README.md" else guides.README)):
        for start, make in (before or {}).items():
            if block.text.startswith(start):
                make()
        others = [do for start, do in (instead or {}).items() if block.text.startswith(start) or block.language == start]
        (others or [reader.read])[0](block)


def passed_over(_block):
    """Examples that stand for themselves: test_docs.py has httpd take each."""


def install(reader):
    """What the quick start does before it comes to keys."""
    for block in guides.blocks(guides.DOCS / "quick-start.md"):
        if "apiquotactl" in block.text:
            break
        reader.read(block)


def test_readme(reader):
    readme = reader(frozen=True)
    readme.web.spec.conf += PLANS
    follow(readme, "README.md")


def test_quick_start(reader):
    follow(reader(frozen=True), "quick-start.md", instead={"apache": passed_over})


def test_plans_and_keys(reader):
    plans = reader(frozen=True)
    plans.web.expect_log("AH01631: .* authorization failure for \"/v1/reports/\"")
    install(plans)
    follow(plans, "plans-and-keys.md")


def test_clients(reader, keys):
    key = keys.tenant("acme", "professional").add("acme")
    clients = reader(frozen=True, known={"aq_…": key, "no-such-key": "aq_" + "0" * 43})
    clients.web.spec.conf += PLANS + confs.location("/v1", 'AuthName "api"')
    clients.web.start()

    def use_up():
        answers = clients.web.burst(300, "/v1/item.json", key=key)
        clients.answer = next(answer for answer in answers if answer.status == 429)
    follow(clients, "clients.md", before={"HTTP/1.1 429": use_up})


class Hooks:
    """The receiver of a tenant's webhook: one that records, and the programs of the guide in its place."""

    def __init__(self, web, keys, key, receiver):
        self.web, self.keys, self.key, self.receiver = web, keys, key, receiver
        self.secret = webhooks.new_secret()
        self.point_at(receiver.url + "/apiquota")
        receiver.script("/apiquota", status=204, body=b"")

    def point_at(self, url):
        self.keys.document["tenants"]["acme"]["webhook"] = {"url": url, "secret": self.secret}
        self.web.save_keys()

    def compare(self, block):
        """What the receiver got is like the request that the guide shows."""
        head, _, body = block.text.partition("\n\n")
        first, *fields = head.splitlines()
        (seen, *_) = webhooks.wait_seen(self.receiver, path="/apiquota", timeout_s=60)
        assert first.split()[:2] == [seen.method, "/apiquota"]
        for name, shown in (line.split(": ", 1) for line in fields):
            assert name == "Host" or guides.is_like(shown, seen.headers[name]), (name, seen.headers[name])
        assert not guides.unlike(json.loads(body), json.loads(seen.body))

    def try_program(self, *command, **how):
        """A program believes what the worker sends, each message once, and nothing else."""
        with _lease() as lease, tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile() as noise:
            environment = {**os.environ, "WEBHOOK_SECRET": self.secret, "PORT": str(lease.port)}
            program = subprocess.Popen(command, env=environment, stdout=printed, stderr=noise, **how)
            try:
                self._deliver(f"http://127.0.0.1:{lease.port}/", printed)
            finally:
                program.kill()
                program.wait()

    def _deliver(self, url, printed):
        def told():
            printed.seek(0)
            return printed.read()
        eventually(lambda: _post(url, {}, b"{}") == 400, 60, what=f"the receiver ({told()})")
        (message, *_) = self.receiver.seen("/apiquota")
        headers = {name: message.headers[name] for name in webhooks.HEADERS}
        assert _post(url, headers, message.body.replace(b"succeeded", b"failed")) == 400
        assert [_post(url, headers, message.body) for _ in range(2)] == [204, 204]
        self.point_at(url)
        submitted = batches.submit(self.web, self.key, path="/v1/import").rsplit("/", 1)[1]
        eventually(lambda: submitted in told(), 60, what="the message of the worker")
        first = json.loads(message.body)["data"]["id"]
        assert told().splitlines() == [f"batch.succeeded {first}", f"batch.succeeded {submitted}"]


@contextlib.contextmanager
def _lease():
    lease = PortLease()
    yield lease
    lease.release()


def _post(url, headers, body):
    """The status of an answer; 0 while nothing listens."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code
    except OSError:
        return 0


def item_answer(request):
    """What the backend of the guide does with an item."""
    if b"two" in request.body:
        return items_backend.Answer(409, b'{"error":"exists"}')
    return items_backend.Answer(201, b'{"id":"c_%d"}' % request.line)


def test_batches(reader, keys, backend, request):
    items = items_backend.ItemsBackend(item_answer)
    request.addfinalizer(items.close)
    receiver = Backend()
    request.addfinalizer(receiver.close)
    key = keys.add("acme")
    guide = reader(known={"aq_…": key})
    web = guide.web
    web.spec.conf += (webhooks.ALLOW + batches.conf(f"{backend.url}/import", "APIQuotaBatchWebhook On", path="/v1/import")
                      + confs.location("/v1/items", "APIQuotaBatch On", "APIQuotaBatchMode items", f"APIQuotaBatchTarget {items.url}"))
    hooks = Hooks(web, keys, key, receiver)
    web.start()
    guide.read(guides.Block("", 0, "sh", f"KEY={key}\nAPI=http://127.0.0.1:{web.port}\n"))

    def wait_over():
        eventually(lambda: all(batch["status"] in batches.OVER for batch in web.get("/v1/batches", key=key).json()["data"]), 60,
                   what="the end of the batches")

    def receive(block):
        program = ["/usr/bin/python3", "-c"] if block.language == "python" else ["node", "-e"]
        folder = npm.install("standardwebhooks@1.0.0").folder
        hooks.try_program(*program, block.text, cwd=folder)
    follow(guide, "batches.md", before={"GET /v1/batches": wait_over},
           instead={"POST /apiquota": hooks.compare, "python": receive, "javascript": receive})


def test_simulate(reader):
    follow(reader(), "simulate.md")


def test_directives(reader, keys):
    """What it shows of keys file, headers and use."""
    day, minute = "day 10000/day per=tenant", "minute 300/minute"
    keys.tenant("acme", "professional")
    one = keys.add("acme", id="k_7f3a9c")
    few = keys.tenant("few", "basic").add("few")
    guide = reader(frozen=True)
    web = guide.web
    web.spec.conf += (confs.plan("professional", minute, day) + confs.plan("basic", "minute 60/minute")
                      + confs.location("/v1", "APIQuotaHeaders ietf") + confs.location("/v1/usage", "SetHandler apiquota-usage"))
    web.start()

    def compare_headers(block):
        guide.answer = web.get("/v1/item.json", key=one)
        guide.read(block)

    def compare_use(block):
        for _ in range(3):
            web.get("/v1/item.json", key=few)
        guide.answer = web.get("/v1/usage", key=few)
        guide.read(block._replace(text=block.text.replace('"tenant": "acme"', '"tenant": "few"')))

    def load(text):
        """A keys file in which nothing is wrong."""
        path = web.root.path / "example.json"
        keys_of.write_atomically(path, text)
        done = subprocess.run([paths.CTL, "--state-dir", web.root.state, "--key-file", path, "config", "check"], capture_output=True,
                              text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def load_file(block):
        load(block.text.replace("…64 hex digits…", keys_of.sha256_of("anything")))

    def load_webhook(block):
        tenant = json.loads(block.text.replace("whsec_…new…", webhooks.new_secret()).replace("whsec_…old…", webhooks.new_secret()))
        load(json.dumps({**keys.document, "tenants": {**keys.document["tenants"], "acme": {"plan": "professional", "webhook": tenant}}}))
    follow(guide, "directives.md", instead={"apache": passed_over, '{ "tenants"': load_file, '{ "url"': load_webhook,
                                            "RateLimit-Policy": compare_headers, '{"key_id"': compare_use})


def test_operations(reader, keys, backend):
    guide = reader()
    web = guide.web
    web.spec.conf += (confs.plan("professional", "year 1/366d") + confs.location("/v1", "APIQuotaEnv On")
                      + confs.batch("/v1/import", f"{backend.url}/import"))

    def ask_twice():
        key = keys.tenant("acme", "professional").add("acme")
        web.save_keys()
        web.restart()
        assert [web.get("/v1/item.json", key=key).status for _ in range(2)] == [200, 429]
        log = web.root.path / "logs" / "api.json"
        eventually(lambda: len(log.read_text().splitlines()) == 2, 60, what="the access log")
    follow(guide, "operations.md", before={"jq": ask_twice})


def test_man_pages(reader, keys):
    guide = reader()
    guide.web.spec.conf += PLANS
    keys.tenant("acme", "professional").add("acme")
    guide.web.start()
    for block in filter(runs, guides.man_pages()):
        guide.read(block)


def test_scaling(redis, reader):
    """What it says of keys in Redis: each write is obeyed, by a server that asks there."""
    secret = keys_of.new_secret()
    guide = reader(known={"SHA256": keys_of.sha256_of(secret)})
    web = guide.web
    web.spec.conf += f"APIQuotaStore {redis.url} budget=5s\n{PLANS}APIQuotaKeyStore redis\n" + confs.location("/v1")
    web.expect_log(NOT_PERSISTED)
    web.expect_log(FAILED)  # where this machine stands still for longer than the budget
    web.start()
    assert web.get("/v1/item.json", key=secret).status == 401

    def day():
        answer = web.get("/v1/item.json", key=secret)
        return answer.status, answer.headers.get("X-RateLimit-Limit-Daily")

    def write(block):
        keys, tenant = [], []
        for line in guide.here(block.text).splitlines():
            (keys if ":key:" in line else tenant).append(shlex.split(line, comments=True))
        # The key first, so that what is written of its tenant can be seen by it.
        for words, then in zip([*tenant[:1], *keys[:1], *tenant[1:], *keys[1:]],
                               [(401, None), (200, "10000"), (200, "20000"), (200, "10000"), (401, None), (401, None)]):
            redis.say(*words)
            eventually(lambda then=then: day() == then, 60, what=f"that {words} is obeyed")
    follow(guide, "scaling.md", instead={"apache": passed_over, "redis": write})
