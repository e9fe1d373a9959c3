# SPDX-License-Identifier: Apache-2.0
"""What the tour prints: requests and responses as they went over the wire, shortened, and what was found of them.

Colours only on a terminal; a progress line is rewritten in place there, and printed anew elsewhere.
"""
import json
import sys
import time

BOLD, DIM, GREEN, RED, CYAN, PLAIN = "\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[36m", "\033[0m"
SHOWN = ("www-authenticate", "content-type", "etag", "x-ratelimit-limit", "x-ratelimit-remaining",
         "x-ratelimit-reset", "x-ratelimit-limit-daily", "x-ratelimit-remaining-daily", "x-ratelimit-reset-daily",
         "x-ratelimit-limit-monthly", "x-ratelimit-remaining-monthly", "x-ratelimit-reset-monthly", "retry-after", "location", "apiquota-result")
BODY_WIDTH = 108


class Screen:
    """Prints to standard output. `failures` are the sentences that were found untrue."""

    def __init__(self):
        self.failures = []
        self._is_terminal = sys.stdout.isatty()
        self._progress_at, self._has_progress, self._steps = 0.0, False, 0
        sys.stdout.reconfigure(errors="replace", line_buffering=True)

    def step(self, title):
        self._steps += 1
        self._line(f"\n{self._colour(BOLD, f'{self._steps}. {title}')}")

    def text(self, text):
        for line in text.splitlines():
            self._line(f"   {line}".rstrip())

    def request(self, method, path, headers):
        self._line("\n   " + self._colour(CYAN, f"> {method} {path}"))
        for name, value in headers:
            self._line("   " + self._colour(CYAN, f"> {name}: {shortened(name, value)}"))

    def response(self, response):
        self._line("   " + self._colour(BOLD, f"< {response.status} {response.reason}"))
        for name, value in response.headers.items():
            if name.lower() in SHOWN:
                self._line(f"   < {name}: {value}")
        for line in body_lines(response):
            self._line("     " + self._colour(DIM, line))

    def brief(self, response, more=""):
        """A response in one line."""
        remaining = response.headers.get("X-RateLimit-Remaining", "-")
        self._line(f"   < {response.status} {response.reason:<20} X-RateLimit-Remaining: {remaining}{more}")

    def progress(self, text, every_s, is_last=False):
        """Something goes on. Where it cannot be rewritten in place it is told every so often."""
        if self._is_terminal:
            sys.stdout.write(f"\r\033[K   {text}")
            sys.stdout.flush()
            self._has_progress = True
        elif is_last or time.monotonic() - self._progress_at >= every_s:
            self._progress_at = time.monotonic()
            self._line(f"   {text}")

    def check(self, is_so, sentence):
        """Says whether it is as it should be; the tour fails at its end if it is not."""
        if is_so:
            self._line(f"   {self._colour(GREEN, 'ok')}  {sentence}")
        else:
            self.failures.append(sentence)
            self._line(f"   {self._colour(RED, 'NOT SO:')} {sentence}")
        return is_so

    def _colour(self, colour, text):
        return f"{colour}{text}{PLAIN}" if self._is_terminal else text

    def _line(self, line):
        if self._has_progress:
            self._has_progress = False
            print()
        print(line)


def shortened(name, value):
    """A key need not stand on the screen in full each time."""
    return value[:18] + "…" if name.lower() in ("authorization", "x-api-key", "cookie") else value


def body_lines(response):
    """A JSON object with one member a line, anything else in one; long lines are cut."""
    text = response.body.decode("utf-8", "replace").strip()
    members = json.loads(text) if "json" in response.headers.get("Content-Type", "") else None
    if isinstance(members, dict):
        lines = [f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in members.items()]
        lines = ("{ " + ",\n  ".join(lines) + " }").splitlines()
    else:
        lines = text.splitlines()
    return [line if len(line) <= BODY_WIDTH else line[:BODY_WIDTH] + "…" for line in lines]
