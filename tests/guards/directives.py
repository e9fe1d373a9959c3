#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every directive and every Require name stands in docs/directives*.md (as a heading) and in conf/apiquota.conf.

And the other way round: what either of them names, the module knows. A section of the documents has syntax, default
(Require has none), context and an example.
"""
import glob
import os
import re

import guard

IN_TABLE = re.compile(r'"<?(APIQuota\w*)"')
REQUIRE = re.compile(r'"(api-\w+)"')
HEADING = re.compile(r"^#+[ \t]+(.*)$", re.M)
IN_CONF = re.compile(r"^[ \t]*#?[ \t]*</?(APIQuota\w*)|^[ \t]*#?[ \t]*(APIQuota\w*)\b", re.M)
SECTION = re.compile(r"^### (.*(?:APIQuota|api-).*)\n((?:(?!#+ ).*\n)*)", re.M)
EXAMPLE = re.compile(r"^(?:    \S|```apache$)", re.M)
DOCS, CONF = "docs/directives*.md", "conf/apiquota.conf"


def where(pattern, path, text, offset=0):
    """{name: (path, line)} of what the pattern finds."""
    found = {}
    for match in pattern.finditer(text):
        name = next(group for group in match.groups() if group)
        found.setdefault(name, (path, guard.line_at(text, match.start()) + offset))
    return found


def known():
    """Directives of the command tables, and the names that `Require` is given."""
    directives, requires = {}, {}
    for path in guard.c_files(("mod_apiquota.c", "src/httpd"), (".c", ".h")):
        text = guard.code_of(guard.read(path), keep_strings=True)
        for row in re.finditer(r"\bAP_INIT_\w+\s*\(\s*", text):
            for name, _ in where(IN_TABLE, path, text[row.end():row.end() + 80].split(",")[0]).items():
                directives[name] = (path, guard.line_at(text, row.start()))
        if "AUTHZ_PROVIDER_GROUP" in text:
            requires.update(where(REQUIRE, path, text))
    return directives, requires


def headings(texts):
    found = {}
    for path, text in texts.items():
        for heading in HEADING.finditer(text):
            for name in re.findall(r"APIQuota\w*|api-\w+", heading.group(1)):
                found.setdefault(name, (path, guard.line_at(text, heading.start())))
    return found


def sections_check(texts):
    for path, text in texts.items():
        for section in SECTION.finditer(text):
            name, body = section.groups()
            rows = ["Syntax", "Context"] + (["Default"] if name.startswith("APIQuota") else [])
            missing = [row for row in rows if f"\n| {row} |" not in body]
            missing += [] if EXAMPLE.search(body) else ["an example"]
            if missing:
                guard.offend(path, guard.line_at(text, section.start()), f"{name} has no {', '.join(missing)}")


def compare(wanted, found, place):
    for name, (path, line) in sorted(wanted.items()):
        if name not in found:
            guard.offend(path, line, f"{name} does not stand in {place}")


def main():
    directives, requires = known()
    documents = sorted(glob.glob(DOCS, root_dir=guard.ROOT))
    texts = {path: guard.read(path) for path in documents}
    in_docs = headings(texts)
    sections_check(texts)
    conf = guard.read(CONF) if os.path.exists(os.path.join(guard.ROOT, CONF)) else ""
    in_conf = where(IN_CONF, CONF, conf)
    compare({**directives, **requires}, in_docs, f"a heading of {DOCS}")
    compare(directives, in_conf, CONF)
    compare(requires, re.findall(r"api-\w+", conf), CONF)
    compare(in_docs, {**directives, **requires}, "the module's tables")
    compare(in_conf, directives, "the module's tables")
    if os.path.exists(os.path.join(guard.ROOT, "mod_apiquota.c")) and not directives:
        guard.offend("mod_apiquota.c", 1, "no directive found: this guard no longer sees the command table")
    guard.finish()


main()
