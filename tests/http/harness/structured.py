# SPDX-License-Identifier: Apache-2.0
"""A strict parser of Lists of RFC 9651, as far as RateLimit fields need them: Strings and Integers with parameters.

Whatever else stands there is a ValueError, also where the RFC would let it pass (inner lists, tokens, byte sequences).
"""

import re

STRING = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
INTEGER = re.compile(r"-?[0-9]{1,15}(?![0-9.])")
KEY = re.compile(r"[a-z*][a-z0-9_.*-]*")


class _Reader:
    def __init__(self, text):
        self.text, self.at = text, 0

    def take(self, pattern):
        found = pattern.match(self.text, self.at)
        if not found:
            raise ValueError(f"{pattern.pattern} expected at {self.at} of {self.text!r}")
        self.at = found.end()
        return found

    def skip(self, characters):
        while self.at < len(self.text) and self.text[self.at] in characters:
            self.at += 1

    def next_is(self, character):
        return self.text[self.at:self.at + 1] == character


def parse_list(text):
    """[(item, {parameter: value})], in order."""
    reader, members = _Reader(text), []
    reader.skip(" ")
    while reader.at < len(reader.text):
        members.append((_bare_item(reader), _parameters(reader)))
        reader.skip(" \t")
        if reader.at == len(reader.text):
            return members
        reader.take(re.compile(","))
        reader.skip(" \t")
        if reader.at == len(reader.text):
            raise ValueError(f"a comma ends {text!r}")
    return members


def _bare_item(reader):
    if reader.next_is('"'):
        return re.sub(r"\\(.)", r"\1", reader.take(STRING).group(1))
    return int(reader.take(INTEGER).group())


def _parameters(reader):
    found = {}
    while reader.next_is(";"):
        reader.at += 1
        reader.skip(" ")
        key = reader.take(KEY).group()
        if not reader.next_is("="):
            raise ValueError(f"a bare parameter {key} in {reader.text!r}")
        reader.at += 1
        if key in found:
            raise ValueError(f"{key} twice in {reader.text!r}")
        found[key] = _bare_item(reader)
    return found
