# SPDX-License-Identifier: Apache-2.0
"""The documents of the project as a test sees them: their blocks of code in order, and whether an answer is as one shows.

A block is fenced and says its language. Lines that are only indented are code as well, for Markdown; loose_code() finds them.
"""

import collections
import json
import re

from . import paths

DOCS = paths.REPOSITORY / "docs"
README = paths.REPOSITORY / "README.md"
FENCE = re.compile(r"^( *)```(\S*) *$")

Block = collections.namedtuple("Block", "document line language text")


def documents():
    """README.md and all below docs/."""
    return [README, *sorted(DOCS.rglob("*.md"))]


def name_of(document):
    """README.md, quick-start.md, profiles/waqti.md"""
    return str(document.relative_to(DOCS)) if DOCS in document.parents else document.name


def blocks(document):
    """The fenced blocks of a document."""
    found, opened = [], None
    for number, line in enumerate(document.read_text().splitlines(), 1):
        fence = FENCE.match(line)
        if fence and opened is None:
            opened = Block(name_of(document), number, fence[2], [])
        elif fence:
            assert not fence[2], f"{opened.document}:{opened.line}: a block in a block"
            found.append(opened._replace(text="".join(row + "\n" for row in opened.text)))
            opened = None
        elif opened is not None:
            opened.text.append(line)
    assert opened is None, f"{opened.document}:{opened.line}: a block without an end"
    return found


def loose_code(document):
    """(line, text) of what is code by its indentation alone: four blanks behind an empty line."""
    text = re.sub(r"^ *```.*?^ *```$", lambda block: re.sub(r"[^\n]+", "x", block[0]), document.read_text(), flags=re.M | re.S)
    lines = text.splitlines()
    inside = False
    for number, line in enumerate(lines, 1):
        inside = line.startswith("    ") and (inside or not lines[number - 2].strip())
        if inside:
            yield number, line[4:]


def man_pages():
    """The literal displays of the man pages, as blocks of a shell."""
    found = []
    for page in sorted((DOCS / "man").glob("*.8")):
        text = page.read_text()
        for display in re.finditer(r"^\.Bd -literal.*\n((?:.*\n)*?)\.Ed$", text, re.M):
            found.append(Block(name_of(page), text[:display.start()].count("\n") + 1, "sh", display[1]))
    return found


def commands(document):
    """(line, text) of what a document names of apiquotactl, in its sentences and tables."""
    text = document.read_text()
    for span in re.finditer(r"`(apiquotactl [^`]+)`", text):
        yield text[:span.start()].count("\n") + 1, re.sub(r"\s+", " ", span[1].replace("\\|", "|"))


def at_home(text, backend_url=None, root="${ROOT}"):
    """The text with the paths of a Debian system replaced by those of a test server."""
    for written, ours in (("/usr/lib/apache2/modules/mod_apiquota.so", str(paths.MODULE)),
                          ("/usr/libexec/apiquota-worker", str(paths.WORKER)),
                          ("/usr/share/doc/libapache2-mod-apiquota", str(paths.REPOSITORY)),
                          ("/var/lib/apiquota", f"{root}/state"),
                          ("/etc/apiquota/profiles", str(paths.REPOSITORY / "conf" / "profiles")),
                          ("/etc/apiquota/", f"{root}/"),
                          ("/etc/apache2/", f"{root}/"),
                          ("/var/www/html", f"{root}/htdocs"),
                          ("/var/log/apache2/", f"{root}/logs/"),
                          ("http://127.0.0.1:9000", backend_url or "http://127.0.0.1:9000")):
        text = text.replace(written, ours)
    return text


# ---- likeness ------------------------------------------------------------------------------------

# What differs from one run to the next, as it is written in a document; an ellipsis is anything.
VARYING = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in (
    ("rest", r"…"),
    ("batch", r"batch_[0-9a-z]{26}"),
    ("message", r"msg_[0-9a-z]{26}(?:_\d+)?"),
    ("time", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z"),
    ("hex", r"\b[0-9a-f]{64}\b"),
    ("id", r"\bk_[0-9a-f]{6,}\b"),
    ("epoch", r"\b1[78]\d{8}\b"))))


def _pattern(written):
    """A regular expression of what may stand in place of a text of a document."""
    parts, end = [], 0
    for found in VARYING.finditer(written):
        parts += [re.escape(written[end:found.start()]), ".*" if found.lastgroup == "rest" else VARYING_IS[found.lastgroup]]
        end = found.end()
    return "".join(parts) + re.escape(written[end:])


VARYING_IS = {"batch": r"batch_[0-9a-z]{26}", "message": r"msg_[0-9a-z]{26}(?:_\d+)?", "hex": "[0-9a-f]{64}", "id": "k_[0-9a-f]+",
              "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z", "epoch": r"1[78]\d{8}"}


def is_like(written, real):
    """Whether a real text is what a document shows, but for what differs each time."""
    return re.fullmatch(_pattern(written), real, re.S) is not None


def unlike(shown, real, place="the body"):
    """Where a JSON value is other than the one that a document shows, as sentences. A member `…` stands for further ones."""
    if isinstance(shown, dict) and isinstance(real, dict):
        rest = shown.keys() - {"…"}
        differ = [f"{place}: {name} is shown and not there" for name in rest - real.keys()]
        differ += [] if "…" in shown else [f"{place}: {name} is there and not shown" for name in real.keys() - rest]
        return differ + [text for name in rest & real.keys() for text in unlike(shown[name], real[name], f"{place}.{name}")]
    if isinstance(shown, list) and isinstance(real, list):
        if len(shown) > len(real):
            return [f"{place}: {len(shown)} are shown, {len(real)} are there"]
        return [text for number, pair in enumerate(zip(shown, real)) for text in unlike(*pair, f"{place}[{number}]")]
    if isinstance(shown, str) and (shown == "…" or isinstance(real, str)):
        return [] if shown == "…" or is_like(shown, real) else [f"{place} is {real!r}, {shown!r} is shown"]
    return [] if type(shown) is type(real) and (shown == real or varies(shown)) else [f"{place} is {real!r}, {shown!r} is shown"]


def varies(value):
    """Numbers that are a time."""
    return isinstance(value, int) and is_like("1795313220", str(value))


def values_of(text):
    """The JSON value of a block, or of each of its lines where it is many."""
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines()]
