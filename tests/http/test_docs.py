# SPDX-License-Identifier: Apache-2.0
"""What documents and conf/apiquota.conf tell an operator to write is taken by httpd, and does what they say."""

import re

import pytest

from harness import confs, guides, paths
from harness.checks import assert_problem, trio
from harness.guides import at_home
from harness.waiting import eventually

README = guides.README
QUICK_START = guides.DOCS / "quick-start.md"
CONF = paths.REPOSITORY / "conf" / "apiquota.conf"
MODS_CONF = paths.REPOSITORY / "conf" / "mods-available" / "apiquota.conf"
DIRECTIVES = sorted((paths.REPOSITORY / "docs").glob("directives*.md"))
NEEDED = ("proxy_http", "deflate", "cache")


def blocks(path, language):
    return [block.text for block in guides.blocks(path) if block.language == language]


def with_error_bodies(httpd):
    """The server with the templates that the documents name."""
    folder = httpd.root.path / "errors"
    folder.mkdir()
    for status in (429, 504):
        (folder / f"{status}.json").write_text('{"error": "{{message}}"}')
    return httpd


def uncommented(text):
    """The configuration with every directive in force, those that show a default too."""
    return re.sub(r"^( *)#( *)(?=</?[A-Z]|APIQuota|Require |SetHandler |LogFormat |CustomLog )", r"\1\2", text, flags=re.M)


def assert_accepted(configtest):
    """httpd takes it, and has nothing to warn about."""
    status, said = configtest
    assert status == 0, said
    assert said.splitlines()[-1] == "Syntax OK", said
    assert not re.search(r":(warn|error|crit|alert|emerg)\]", said), said


def names_of(text):
    return set(re.findall(r"\bAPIQuota\w*", text))


def test_each_code_of_a_refusal_is_told_to_operators():
    """Whoever is shown a problem document finds its `code` in the documents."""
    told = (guides.DOCS / "operations.md").read_text() + (guides.DOCS / "batches.md").read_text()
    sources = "".join(file.read_text() for file in sorted((paths.REPOSITORY / "src" / "httpd").glob("*.c")))
    codes = set(re.findall(r'(?:\.code = |refuse\w*\(\s*[\w>-]+, (?:HTTP_\w+,\s*)?)"([a-z]+(?:-[a-z]+)+)"', sources))
    assert len(codes) > 30 and {"store-failure", "result-elsewhere", "tenant-unknown", "spool-full"} <= codes, codes
    assert not {code for code in codes if not re.search(f'[`"]{code}[`"]', told)}


def test_rows_of_tables_have_as_many_cells_as_their_headings():
    """A bar that is not escaped begins a cell, in code as well (GitHub Flavored Markdown, 4.10)."""
    documents = [*paths.REPOSITORY.glob("*.md"), *guides.DOCS.rglob("*.md"), *(paths.REPOSITORY / "tests").rglob("*.md")]
    tables = 0
    for document in documents:
        text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.M | re.S)
        for table in re.findall(r"(?:^\|.*\n)+", text, re.M):
            cells = {row: len(re.split(r"(?<!\\)\|", row)) for row in table.splitlines()}
            assert len(set(cells.values())) == 1, f"{document}: {cells}"
            tables += 1
    assert tables > 50


@pytest.mark.parametrize("change", [str, uncommented], ids=["as-shipped", "every-directive"])
def test_shipped_configuration_passes_configtest(server, keys, change):
    keys.tenant("acme", "basic")
    text = at_home(change(CONF.read_text()))
    httpd = with_error_bodies(server(module=True, preset=False, modules=NEEDED, start=False))
    assert_accepted(httpd.configtest(text if "StateDir ${" in text else 'APIQuotaStateDir "${ROOT}/state"\n' + text))


def test_configuration_of_the_package_and_the_location_it_shows_pass_configtest(server, keys):
    keys.tenant("acme", "basic")
    text = MODS_CONF.read_text()
    shown = "\n".join(re.findall(r"^#   ( *(?:</?Location.*|AuthType.*|Require.*|APIQuota .*))$", text, re.M))
    assert len(shown.splitlines()) == 5
    httpd = server(module=True, preset=False, modules=NEEDED, start=False)
    assert_accepted(httpd.configtest('APIQuotaStateDir "${ROOT}/state"\n' + at_home(text + shown)))


def test_uncommenting_puts_every_documented_directive_in_force():
    in_force = names_of(re.sub(r"^ *#.*$", "", uncommented(CONF.read_text()), flags=re.M))
    documented = {name for path in DIRECTIVES for name in re.findall(r"^### (APIQuota\w*)$", path.read_text(), re.M)}
    assert in_force == documented


def test_documented_examples_pass_configtest(server):
    plans = confs.plan("professional", "minute 300/minute")
    httpd = with_error_bodies(server(modules=NEEDED, worker=False, start=False))
    examples = [block for path in guides.documents() for block in guides.blocks(path) if block.language == "apache"]
    assert len({example.document for example in examples}) > 6
    for example in examples:
        text = re.sub(r"^LoadModule apiquota_module .*\n", "", example.text)  # it is loaded
        has_own_plans = re.search("<APIQuotaPlan professional>|^Include", text, re.M)
        assert_accepted(httpd.configtest(("" if has_own_plans else plans) + at_home(text)))


def lines_of_examples():
    """Examples of one line, each with its section's context."""
    for path in DIRECTIVES:
        text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S)
        for section in re.split(r"^### ", text, flags=re.M)[1:]:
            context = re.search(r"^\| Context \| (.*) \|$", section, re.M)
            for line in re.findall(r"^    ((?:APIQuota|Require ).*)$", section, re.M):
                yield context.group(1), line


def test_documented_lines_pass_configtest(server, keys):
    httpd = with_error_bodies(server(keys=keys, modules=NEEDED, worker=False, start=False))
    found = list(lines_of_examples())
    assert len(found) > 30
    for context, line in found:
        text = confs.plan("professional", "minute 300/minute") + confs.plan("enterprise", "minute 900/minute")
        if context == "server":
            text += line + "\n"
        elif context.startswith("`<Location>`"):
            mode = re.findall(r"with `(APIQuotaBatchMode items)`", context)
            text += confs.batch("/v1/import", "http://127.0.0.1:9000/import", *mode, line)
        else:
            text += confs.location("/v1", line)
        assert_accepted(httpd.configtest(at_home(text)))


def test_example_in_one_file_is_a_configuration_of_twenty_lines():
    (example,) = blocks(QUICK_START, "apache")
    assert len([line for line in example.splitlines() if line.strip()]) <= 22


def test_example_in_one_file_serves_with_headers_and_takes_an_upload(server, keys, backend):
    (example,) = blocks(QUICK_START, "apache")
    key = keys.tenant("acme", "professional").add("acme")
    conf = f"APIQuotaWorkerProgram {paths.WORKER}\n" + at_home(example, backend.url)
    backend.script("/v1/invoices", body=b"[]")
    backend.script("/v1/import", body=b"imported\n")
    httpd = server(conf, keys=keys, module=False, preset=False, modules=("proxy_http",))

    response = httpd.get("/v1/invoices", key=key)
    assert response.status == 200
    assert (trio(response).limit, trio(response).remaining) == (300, 299)
    assert (trio(response, "-Daily").limit, trio(response, "-Daily").remaining) == (10000, 9999)
    assert_problem(httpd.get("/v1/invoices"), 401)

    taken = httpd.post("/v1/import", b"one\ntwo\n", key=key)
    assert taken.status == 202
    url = taken.headers["Location"]
    eventually(lambda: httpd.get(url, key=key).json()["status"] == "succeeded", what="the end of the batch")
    assert httpd.get(url + "/result", key=key).body == b"imported\n"
    assert backend.seen("/v1/import")[0].body == b"one\ntwo\n"


def test_readme_is_under_two_screens():
    lines = README.read_text().splitlines()
    assert len(lines) <= 100


def headings_of(text):
    """The anchors that a document's headings have, as code hosts make them."""
    names = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-") for name in names}


@pytest.mark.parametrize("path", [README, *sorted((paths.REPOSITORY / "docs").rglob("*.md"))],
                         ids=lambda path: "/".join(path.parts[-2:]))
def test_links_between_documents_lead_somewhere(path):
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", path.read_text()):
        name, _, heading = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not heading or heading in headings_of(target.read_text()), link
