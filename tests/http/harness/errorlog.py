# SPDX-License-Identifier: Apache-2.0
"""The error log of a server, and the guard that fails a test on a line nobody expected.

Unexpected are: level warn and above, whoever wrote it; a child that died of a signal; a report of a
sanitizer; and whatever does not look like a line of httpd's log, such as the last words of a C library.
"""

import re

from .waiting import wait_until

LINE = re.compile(r"\[[^\]]+\] \[(?P<module>[\w-]*):(?P<level>\w+)\] ")
BAD_LEVELS = frozenset(("warn", "error", "crit", "alert", "emerg"))
BAD_AT_ANY_LEVEL = re.compile(
    r"AH00052: child pid|Segmentation|ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:")
SHOWN_LINES = 40
LINE_TIMEOUT_S = 2.0


class Expectation:
    """A pattern that lines may match; with `must`, that one line has to."""

    def __init__(self, pattern, must):
        self.pattern, self.must, self.seen = re.compile(pattern), must, False

    def allows(self, line):
        found = bool(self.pattern.search(line))
        self.seen = self.seen or found
        return found


class ErrorLog:
    """One log file. Positions (`mark`) are byte offsets."""

    def __init__(self, path):
        self._path = path
        self._judged = 0

    def mark(self):
        """The present end of the log."""
        return self._path.stat().st_size if self._path.exists() else 0

    def text(self, since=0, until=None):
        if not self._path.exists():
            return ""
        with self._path.open("rb") as log:
            log.seek(since)
            return log.read(-1 if until is None else until - since).decode("utf-8", "replace")

    def lines(self, since=0):
        return self.text(since).splitlines()

    def tail(self, count=60):
        return "\n".join(self.lines()[-count:])

    def matching(self, pattern, since=0):
        """The lines in which the pattern is found."""
        return [line for line in self.lines(since) if re.search(pattern, line)]

    def wait_for(self, pattern, since=0, timeout_s=30.0):
        """Waits for a line with the pattern, and returns it; fails the test if none comes."""
        found = wait_until(lambda: self.matching(pattern, since), timeout_s)
        assert found, f"no line with {pattern!r} came within {timeout_s} s:\n{self.tail()}"
        return found[0]

    def take_new_lines(self):
        """The lines that came since the last call."""
        start, text = self._judged, ""

        def is_whole():
            nonlocal text
            self._judged = self.mark()
            text = self.text(start, self._judged)
            return text[-1:] in ("", "\n")
        # Somebody may be amid a line; or it is somebody's last one.
        wait_until(is_whole, LINE_TIMEOUT_S)
        return text.splitlines()


class LogGuard:
    """Judges the new lines of several logs by one list of expectations; `always` are patterns that
    are allowed for good."""

    def __init__(self, logs, always=()):
        self._logs, self._expected = logs, []
        self._always = [Expectation(pattern, must=False) for pattern in always]

    def expect(self, pattern, must=False):
        """Allows lines with this pattern until the next verdict."""
        self._expected.append(Expectation(pattern, must))

    def forget(self):
        """Leaves out of the next verdict what the logs hold now."""
        for log in self._logs:
            log.take_new_lines()

    def verdict(self, wait_s=0):
        """What is wrong with the lines since the last verdict, as a list of sentences. Lines that have to come are waited for
        so long: of a server that runs on, they may come after the answer that they tell of."""
        bad = []

        def is_complete():
            lines = [line for log in self._logs for line in log.take_new_lines()]
            bad.extend(line for line in lines if self._is_unexpected(line))
            return all(e.seen for e in self._expected if e.must)
        wait_until(is_complete, wait_s)
        problems = ["unexpected in the error log:\n  " + "\n  ".join(bad[:SHOWN_LINES])] if bad else []
        problems += [f"expected in the error log, and never seen: {e.pattern.pattern}"
                     for e in self._expected if e.must and not e.seen]
        self._expected.clear()
        return problems

    def _is_unexpected(self, line):
        # Every expectation looks at every line: each must learn whether it was met.
        allowed = any([expectation.allows(line) for expectation in self._always + self._expected])
        return _is_bad(line) and not allowed


def _is_bad(line):
    if not line.strip():
        return False
    parts = LINE.match(line)
    return not parts or parts["level"] in BAD_LEVELS or bool(BAD_AT_ANY_LEVEL.search(line))
