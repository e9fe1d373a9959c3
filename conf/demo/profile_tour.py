#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The tour of a profile: a few requests as its clients send them, with their answers, checked.

    profile_tour.py --profile NAME --page FILE --port PORT        FILE: the profile's page, which tells its example keys

The exit code is 1 when something was not as it should be.
"""
import argparse
import collections
import http.client
import re
import sys
import time
import urllib.parse

from show import Screen
from wire import document, remaining, send

# path: a record of the backend. key: who asks for it. small: who asks until he is refused, and how often at most; a
# sliding or fixed window may end meanwhile, so that is twice the limit. None where a limit is too large to be shown.
# upload: where uploads become batches. user: who logs in, and belongs to the tenant of `key`.
Show = collections.namedtuple("Show", "path key small upload user", defaults=(None, None, None))
RECORD = b"0041;LATIN CAPITAL LETTER A;Lu;0;L;;;;;N;;;;0061;\n"  # what the backend imports: lines of UnicodeData.txt
UPLOAD_TIMEOUT_S = 60
SHOWS = {
    "onestack": Show("/api/countries/ET", "acme-1", ("acme-2", 201), user="alice"),
    "ontime": Show("/v1/countries/ET", "grow", ("trial", 2001)),
    "ontologie": Show("/v1/countries/ET", "editor", ("metered", 41)),
    "ottimate": Show("/v1/countries/ET", "acme-1", upload="/v1/imports"),
    "waqti": Show("/v1/countries/ET", "professional", ("basic", 121)),
}
KEY_ROW = re.compile(r"^\| `([^` ]+)` \| `([^` ]+)` \|", re.M)


def keys_of(page):
    """{id: key} of a page's table; Markdown wants a backslash before a bar there."""
    with open(page, encoding="utf-8") as file:
        return {key_id: key.replace("\\|", "|") for key, key_id in KEY_ROW.findall(file.read())}


class ProfileTour:
    """The steps, in order."""

    def __init__(self, show, keys, port):
        self.show, self.keys, self.port, self.screen = show, keys, port, Screen()

    def ask(self, key=None, more=(), method="GET", path=None, body=None):
        """Asks for the record unless told otherwise, and prints both sides of it."""
        headers, path = ([("Authorization", f"Bearer {key}")] if key else []) + list(more), path or self.show.path
        self.screen.request(method, path, headers)
        response = send(self.port, method, path, headers, body)
        self.screen.response(response)
        return response

    def no_key(self):
        self.screen.step("Without a key")
        self.screen.check(self.ask().status == 401, "401: nobody to be charged")

    def a_record(self):
        self.screen.step(f"With the key of {self.show.key}")
        response = self.ask(self.keys[self.show.key])
        self.screen.check(response.status == 200, "200, and where the caller stands")
        return response

    def not_modified(self, before):
        self.screen.step("Asked again with If-None-Match")
        response = self.ask(self.keys[self.show.key], [("If-None-Match", before.headers.get("ETag", ""))])
        same = all(remaining(response, suffix) == remaining(before, suffix) for suffix in ("", "-Daily", "-Monthly"))
        self.screen.check(response.status == 304 and same, "304, and nothing was charged")

    def too_many(self):
        name, most = self.show.small
        self.screen.step(f"With the key of {name}, until it is refused")
        headers = [("Authorization", f"Bearer {self.keys[name]}")]
        for number in range(1, most + 1):
            response = send(self.port, "GET", self.show.path, headers)
            if response.status != 200:
                break
        self.screen.text(f"\nrequest {number} of them:")
        self.screen.request("GET", self.show.path, headers)
        self.screen.response(response)
        self.screen.check(response.status == 429 and response.headers.get("Retry-After", "").isdigit(),
                          "429, and how long to wait")

    def session(self, before):
        self.screen.step(f"{self.show.user} logs in, and has the budget of the same tenant")
        form = urllib.parse.urlencode({"httpd_username": self.show.user,
                                       "httpd_password": f"onestack-{self.show.user}-example"})
        answer = send(self.port, "POST", "/login", [("Content-Type", "application/x-www-form-urlencoded")], form)
        cookie = answer.headers.get("Set-Cookie", "").split(";")[0]
        response = self.ask(more=[("Cookie", cookie)])
        self.screen.check(response.status == 200 and remaining(response) in (remaining(before) - 1, 99),
                          "one more is spent (or a minute has just begun)")

    def batch(self):
        key = self.keys[self.show.key]
        self.screen.step("An upload becomes a batch, and is polled")
        response = self.ask(key, method="POST", path=self.show.upload, body=RECORD)
        self.screen.check(response.status == 202, "202 at once, with the batch's ID and where to poll it")
        path = urllib.parse.urlsplit(response.headers.get("Location", "")).path
        until = time.monotonic() + UPLOAD_TIMEOUT_S
        while (response := self.ask(key, path=path)).status == 200 and time.monotonic() < until:
            if document(response)["status"] in ("succeeded", "failed"):
                break
            time.sleep(int(response.headers.get("Retry-After", "1")))
        self.screen.check(response.status == 200 and document(response)["status"] == "succeeded", "it is done")

    def take(self):
        self.no_key()
        record = self.a_record()
        self.not_modified(record)
        if self.show.user:
            self.session(record)
        if self.show.small:
            self.too_many()
        if self.show.upload:
            self.batch()
        return self.screen.failures


def main():
    arguments = argparse.ArgumentParser(description="The tour of a profile.")
    arguments.add_argument("--profile", required=True, choices=SHOWS)
    arguments.add_argument("--page", required=True, help="the page that tells the example keys")
    arguments.add_argument("--port", required=True, type=int)
    chosen = arguments.parse_args()
    try:
        failures = ProfileTour(SHOWS[chosen.profile], keys_of(chosen.page), chosen.port).take()
    except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
        print(f"\nThe tour broke off: {error!r}")
        return 1
    print(f"\nThe tour found {len(failures)} things that are not as they should be." if failures else
          "\nThe tour found everything as it should be.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
