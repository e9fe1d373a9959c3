#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One word for one thing: names in the code are made of the words of the architecture, not of their synonyms.

And strings of the code are ASCII: httpd writes any other byte of a message to its log as \\xe2 and so on.
"""
import re

import guard

# synonym in a name of ours: the word to use
SYNONYMS = {
    "api_?keys?": "key",
    "consumer": "principal, or tenant",
    "customer": "tenant",
    "refund": "settle, or give back",
    "tier": "plan",
    "throttle": "limit",
    "ratelimit": "limit",
    "decr(ement)?": "give back",
}
NAME = re.compile(r"\b[A-Za-z_]\w*\b")
SYNONYM = re.compile(r"(?:^|_)(%s)(?:_|$)" % "|".join(SYNONYMS), re.I)


def main():
    for path in guard.c_files(("mod_apiquota.c", "src")):
        for other in re.finditer(r"[^\x00-\x7f]", guard.code_of(guard.read(path), keep_strings=True)):
            guard.offend(path, guard.line_at(guard.read(path), other.start()), f"{other.group(0)} in a string: write it in ASCII")
        text = guard.code_of(guard.read(path))
        text = re.sub(r"^[ \t]*#[ \t]*include[^\n]*", "", text, flags=re.M)
        for name in NAME.finditer(text):
            found = SYNONYM.search(name.group(0))
            if found:
                word = next(word for synonym, word in SYNONYMS.items() if re.fullmatch(synonym, found.group(1), re.I))
                guard.offend(path, guard.line_at(text, name.start()), f"{name.group(0)}: the word is {word}")
    guard.finish()


main()
