# SPDX-License-Identifier: Apache-2.0
"""Reads what apiquota-metrics answers, as a scraper does, and asks promtool what it thinks of it."""

import re
import shutil
import subprocess

SAMPLE = re.compile(r'^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
PROMTOOL = shutil.which("promtool") or "/usr/bin/promtool"
PATH = "/metrics"
LOCATION = f"<Location {PATH}>\n    SetHandler apiquota-metrics\n    Require local\n</Location>\n"


class Samples(dict):
    """Values by (name, (label, value)…); `of(name, label=value)` adds up those that match."""

    def of(self, name, **labels):
        found = [value for key, value in self.items()
                 if key[0] == name and labels.items() <= dict(key[1:]).items()]
        assert found, f"no sample {name} {labels}"
        return sum(found)

    def names(self):
        return {key[0] for key in self}

    def values(self, name, label):  # pylint: disable=arguments-differ
        return {dict(key[1:]).get(label) for key in self if key[0] == name}


def parse(text):
    samples = Samples()
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        match = SAMPLE.match(line)
        assert match, f"no sample: {line!r}"
        key = (match["name"], *sorted(LABEL.findall(match["labels"] or "")))
        assert key not in samples, f"twice: {line!r}"
        samples[key] = float(match["value"])
    return samples


def scrape(web, path=PATH, **how):
    answer = web.get(path, **how)
    assert answer.status == 200, answer
    return parse(answer.text)


def promtool(*arguments, text=None):
    """Runs promtool, which must find nothing to say; its output is in the assertion."""
    ran = subprocess.run([PROMTOOL, *arguments], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0 and not ran.stderr.strip(), ran.stdout + ran.stderr
    return ran.stdout
