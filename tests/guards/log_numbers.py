#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every log line has a number of its own, out of its folder's range, written where the line is."""
import re

import guard

RANGES = {
    "src/base": (1, 99), "src/limit": (100, 199), "src/identity": (200, 299), "src/store": (300, 499),
    "src/batch": (500, 599), "src/worker": (600, 699), "src/ctl": (700, 799), "src/httpd": (1000, 1999),
    "mod_apiquota.c": (1000, 1999),
}
# A call of AQ_LOG, or of a macro named after it, up to its second argument.
CALL = re.compile(r"\b(AQ_\w*LOG|aq_log_write)\s*\(\s*[^(),]*(?:\([^()]*\)[^(),]*)?,\s*([^,)]*)")
# What stands before a call within the definition of such a macro.
DEFINED = re.compile(r"^[ \t]*#[ \t]*define\b(?:[^\n]|(?<=\\)\n)*\Z", re.M)
WRITTEN = re.compile(r'"[^"\n]*\bAQ(\d{5})\b')
SEAM = ("src/base/aq_log.h", "src/base/aq_log.c")


def calls(path):
    """(line, number) of the log lines of a file; a number that is no literal is an offence."""
    text = guard.code_of(guard.read(path), keep_strings=True)
    for call in CALL.finditer(text):
        line, number = guard.line_at(text, call.start()), call.group(2).strip()
        if DEFINED.search(text, 0, call.start()):
            continue
        if re.fullmatch(r"\d+", number):
            yield line, int(number)
        else:
            guard.offend(path, line, f"log number `{number}`: write the number itself, so that it can be found")
    for written in WRITTEN.finditer(text):
        yield guard.line_at(text, written.start()), int(written.group(1))


def main():
    seen = {}
    for path in guard.c_files(("mod_apiquota.c", "src")):
        if path in SEAM:
            continue
        low, high = RANGES.get(path if path in RANGES else path.rsplit("/", 1)[0], (0, -1))
        for line, number in calls(path):
            if number in seen:
                guard.offend(path, line, f"AQ{number:05} is taken by {seen[number]}")
            if not low <= number <= high:
                guard.offend(path, line, f"AQ{number:05} is out of this folder's range, {low} to {high}")
            seen.setdefault(number, f"{path}:{line}")
    guard.finish()


main()
