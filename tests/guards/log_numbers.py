#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every log line has a number of its own, out of its folder's range, written where the line is.

Each of level warning and above stands in docs/operations.md, which says what to do; and what stands there is in the code.
"""
import re

import guard

RANGES = {
    "src/base": (1, 99), "src/limit": (100, 199), "src/identity": (200, 299), "src/store": (300, 499),
    "src/batch": (500, 599), "src/worker": (600, 699), "src/ctl": (700, 799), "src/httpd": (1000, 1999),
    "mod_apiquota.c": (1000, 1999),
}
# A call of AQ_LOG, or of a macro named after it, up to its second argument.
CALL = re.compile(r"\b(AQ_\w*LOG|aq_log_write)\s*\(\s*([^(),]*(?:\([^()]*\)[^(),]*)?),\s*([^,)]*)")
# What stands before a call within the definition of such a macro.
DEFINED = re.compile(r"^[ \t]*#[ \t]*define\b(?:[^\n]|(?<=\\)\n)*\Z", re.M)
WRITTEN = re.compile(r'"[^"\n]*\bAQ(\d{5})\b')
# What an operator need not be told of, since it is asked for; a level that is computed may be any.
QUIET = re.compile(r"AQ_LOG_(?:NOTICE|INFO|DEBUG)")
OPERATIONS = "docs/operations.md"
NUMBERS = re.compile(r"\bAQ(\d{5})(?: to AQ(\d{5}))?")
SEAM = ("src/base/aq_log.h", "src/base/aq_log.c")


def calls(path):
    """(line, number, level as it is written) of the log lines of a file; a number that is no literal is an offence."""
    text = guard.code_of(guard.read(path), keep_strings=True)
    for call in CALL.finditer(text):
        line, number = guard.line_at(text, call.start()), call.group(3).strip()
        if DEFINED.search(text, 0, call.start()):
            continue
        if re.fullmatch(r"\d+", number):
            yield line, int(number), call.group(2).strip()
        else:
            guard.offend(path, line, f"log number `{number}`: write the number itself, so that it can be found")
    for written in WRITTEN.finditer(text):
        yield guard.line_at(text, written.start()), int(written.group(1)), ""


def told():
    """{number: line of docs/operations.md}; "AQ00400 to AQ00405" tells of all between."""
    text, numbers = guard.read(OPERATIONS), {}
    for found in NUMBERS.finditer(text):
        first, last = int(found.group(1)), int(found.group(2) or found.group(1))
        for number in range(first, last + 1):
            numbers.setdefault(number, (guard.line_at(text, found.start()), number in (first, last)))
    return numbers


def operators_are_told(seen):
    """seen: {number: (path, line, level)}"""
    documented = told()
    for number, (path, line, level) in sorted(seen.items()):
        if number not in documented and not QUIET.fullmatch(level):
            guard.offend(path, line, f"AQ{number:05} may be a warning or worse: {OPERATIONS}, \"What the log says\", must say what to do")
    for number, (line, is_named) in sorted(documented.items()):
        if is_named and number not in seen:
            guard.offend(OPERATIONS, line, f"AQ{number:05} is in no log line")


def main():
    seen = {}
    for path in guard.c_files(("mod_apiquota.c", "src")):
        if path in SEAM:
            continue
        low, high = RANGES.get(path if path in RANGES else path.rsplit("/", 1)[0], (0, -1))
        for line, number, level in calls(path):
            if number in seen:
                guard.offend(path, line, f"AQ{number:05} is taken by {':'.join(map(str, seen[number][:2]))}")
            if not low <= number <= high:
                guard.offend(path, line, f"AQ{number:05} is out of this folder's range, {low} to {high}")
            seen.setdefault(number, (path, line, level))
    operators_are_told(seen)
    guard.finish()


main()
