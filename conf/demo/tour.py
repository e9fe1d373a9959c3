#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The tour of the demo: asks the API as its clients do, prints what went over the wire, and checks it.

    tour.py --run DIR --port PORT        keys in the environment: BASIC_KEY, PROFESSIONAL_KEY

The exit code is 1 when something was not as it should be.
"""
import argparse
import http.client
import os
import sqlite3
import subprocess
import sys
import time

from show import Screen
from wire import document, is_problem, remaining, send

UNICODE_PACKAGE, UNICODE_FILE = "unicode-data", "UnicodeData.txt"
QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
REQUESTS_UNTIL_429 = 20  # more than the plan allows in its window, however slow the machine
IMPORT_TIMEOUT_S = 60
OVER = ("succeeded", "failed", "canceled")


class Tour:
    """The steps, in the order of a client's day."""

    def __init__(self, run, port):
        self.run, self.port, self.screen, self.left_today = run, port, Screen(), {}
        self.basic, self.professional = os.environ["BASIC_KEY"], os.environ["PROFESSIONAL_KEY"]

    # ---- asking ------------------------------------------------------------------------------------

    def send(self, method, path, headers, body=None):
        response = send(self.port, method, path, headers, body)
        self.note(headers, remaining(response, "-Daily"))
        return response

    def note(self, headers, left):
        """Remembers what each key was told of its day."""
        key = dict(headers).get("Authorization", "").removeprefix("Bearer ")
        if left is not None:
            self.left_today[key] = left

    def ask(self, path, key=None, method="GET", body=None, headers=()):
        """Sends a request and prints both sides of it."""
        headers = ([("Authorization", f"Bearer {key}")] if key else []) + list(headers)
        self.screen.request(method, path, headers)
        response = self.send(method, path, headers, body)
        self.screen.response(response)
        return response

    # ---- limits ------------------------------------------------------------------------------------

    def no_key(self):
        self.screen.step("Without a key: refused, and told how to ask")
        response = self.ask("/v1/countries/ET")
        self.screen.check(response.status == 401 and response.headers.get("WWW-Authenticate", "").startswith("Bearer "),
                          "401 names the scheme")
        self.screen.check(is_problem(response, 401), "the body is a problem document (RFC 9457)")
        self.screen.check(remaining(response) is None, "nobody was charged, so there are no X-RateLimit headers")

    def a_record(self):
        self.screen.step("With a key: the record of the backend, and where the caller stands")
        response = self.ask("/v1/countries/ET", self.basic)
        self.screen.check(response.status == 200 and document(response).get("name") == "Ethiopia",
                          "200 with the record of Debian's iso-codes")
        self.screen.check(response.headers.get("X-RateLimit-Limit") == "5" and remaining(response) is not None,
                          "X-RateLimit-* show the plan's first limit, -Daily the day's")
        return response

    def not_modified(self, before):
        self.screen.step("Asked again with If-None-Match: 304, free of charge")
        response = self.ask("/v1/countries/ET", self.basic, headers=[("If-None-Match", before.headers.get("ETag", ""))])
        self.screen.check(response.status == 304, "304 Not Modified")
        self.screen.check(remaining(response) == remaining(before) is not None,
                          f"Remaining is where it was: {remaining(response)}")

    def too_many(self):
        self.screen.step("More than the plan allows: 429, which says how long to wait")
        for code in ("DE", "FR", "JP", "KE", "BR") * (REQUESTS_UNTIL_429 // 5):
            headers = [("Authorization", f"Bearer {self.basic}")]
            response = self.send("GET", f"/v1/countries/{code}", headers)
            if response.status != 200:
                break
            self.screen.brief(response, f"   /v1/countries/{code}")
        self.screen.request("GET", f"/v1/countries/{code}", headers)
        self.screen.response(response)
        retry_after = int(response.headers.get("Retry-After", "0"))
        self.screen.check(response.status == 429 and retry_after > 0, f"429 with Retry-After: {retry_after}")
        self.screen.check(is_problem(response, 429) and document(response).get("type") == QUOTA_EXCEEDED
                          and document(response).get("retry_after") == retry_after,
                          "the problem document says the same")

    def retry(self):
        self.screen.step("A client that obeys Retry-After gets through: curl --retry 2")
        url = f"http://127.0.0.1:{self.port}/v1/countries/BR"
        self.screen.text(f'\n$ curl --retry 2 -H "Authorization: Bearer $KEY" {url}')
        began = time.monotonic()
        # The key goes in by standard input: a command line can be read by others.
        curl = subprocess.Popen(["curl", "-sS", "--retry", "2", "-H", "@-", "-D", "/dev/stderr", url],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        curl.stdin.write(f"Authorization: Bearer {self.basic}\n".encode())
        curl.stdin.close()
        while curl.poll() is None:
            self.screen.progress(f"curl was refused and waits as it was told: {time.monotonic() - began:.0f} s", 3)
            time.sleep(0.2)
        lines = [line.split() for line in curl.stderr.read().decode().splitlines() if line.strip()]
        statuses = [words[1] for words in lines if words[0].startswith("HTTP/")]
        left = [int(words[1]) for words in lines if words[0].lower() == "x-ratelimit-remaining-daily:"]
        self.note([("Authorization", f"Bearer {self.basic}")], left[-1] if left else None)
        self.screen.text(f"HTTP statuses: {', then '.join(statuses)}  ({time.monotonic() - began:.1f} s)")
        self.screen.check(statuses == ["429", "200"], "the wait was long enough: refused once, then served")

    # ---- a batch -----------------------------------------------------------------------------------

    def upload(self, path):
        size, lines = os.path.getsize(path), count_lines(path)
        self.screen.step(f"A bulk upload: {lines:,} records ({size:,} bytes) of {path}")
        with open(path, "rb") as file:
            response = self.ask("/v1/import", self.professional, "POST", file,
                                [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(size))])
        location = response.headers.get("Location", "")
        self.screen.check(response.status == 202 and "/v1/batches/batch_" in location,
                          "202: body and batch are on disk, the work comes later; Location is where to poll")
        return location.replace(f"http://127.0.0.1:{self.port}", ""), lines

    def poll(self, location, lines):
        """Polls as a good client does: at the pace of Retry-After, with If-None-Match. Returns the last 200."""
        self.screen.step("Polled until it is over; If-None-Match makes the polls free")
        self.screen.request("GET", location, [("Authorization", f"Bearer {self.professional}"),
                                              ("If-None-Match", '"…"   (of the last 200)')])
        headers, last, before, free = [("Authorization", f"Bearer {self.professional}")], None, None, []
        began = time.monotonic()
        while time.monotonic() - began < IMPORT_TIMEOUT_S:
            etag = [("If-None-Match", last.headers.get("ETag", ""))] if last else []
            response = self.send("GET", location, headers + etag)
            if response.status == 304:
                free.append(remaining(response, "-Daily") == before)
            else:
                last = response
            before = remaining(response, "-Daily")
            is_over = last.status != 200 or document(last)["status"] in OVER
            self.show_poll(response, last, began, lines, is_over)
            if is_over:
                break
            self.wait(int(response.headers.get("Retry-After", "1")), response, last, began, lines)
        again = self.send("GET", location, headers + [("If-None-Match", last.headers.get("ETag", ""))])
        free.append(again.status == 304 and remaining(again, "-Daily") == before)
        self.screen.response(last)
        self.screen.check(last.status == 200 and document(last)["status"] == "succeeded", "the batch succeeded")
        self.screen.check(all(free), f"{len(free)} polls were answered 304 and cost nothing")

    def wait(self, wait_s, *shown):
        """Waits, and meanwhile shows how far the backend is."""
        until = time.monotonic() + wait_s
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.25))
            self.show_poll(*shown, False)

    def show_poll(self, response, last, began, lines, is_over):
        status = document(last).get("status", "?") if last.status == 200 else "?"
        self.screen.progress(f"{time.monotonic() - began:5.1f} s  last poll {response.status}  {status:<9}  "
                             f"rows in the backend: {self.rows():,} of {lines:,}", 1, is_over)

    def result(self, location, path, lines):
        self.screen.step("The result: what the backend answered, stored and replayed")
        response = self.ask(f"{location}/result", self.professional)
        answer = document(response) if response.status == 200 else {}
        self.screen.check(response.status == 200 and response.headers.get("APIQuota-Result") == "replay"
                          and answer.get("imported") == lines, f"the backend says it imported {lines:,} records")
        rows = self.rows()
        self.screen.text(f"\n$ sqlite3 {self.database()} 'SELECT count(*) FROM characters'\n{rows}")
        self.screen.text(f"$ wc -l < {path}\n{lines}")
        self.screen.check(rows == lines, "each line of the file is one row in the backend's database")

    def database(self):
        return os.path.join(self.run, "data", "import.db")

    def rows(self):
        """Rows in the backend's database, read without its help."""
        database = sqlite3.connect(f"file:{self.database()}?mode=ro", uri=True, timeout=30)
        try:
            return database.execute("SELECT count(*) FROM characters").fetchone()[0]
        finally:
            database.close()

    # ---- the operator's view -----------------------------------------------------------------------

    def usage(self):
        self.screen.step("What the operator sees: apiquotactl usage show")
        command = [os.path.join(self.run, "bin", "apiquotactl"), "usage", "show", "--state-dir",
                   os.path.join(self.run, "state")]
        shown = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        self.screen.text(f"\n$ {' '.join(command)}\n{shown.stdout}")
        rows = {(row[0], row[2]): row[4] for row in map(str.split, shown.stdout.splitlines())}
        used = {tenant: str(limit - self.left_today[key]) for tenant, limit, key in
                (("acme", 1000, self.basic), ("globex", 10000, self.professional))}
        self.screen.check(shown.returncode == 0 and all(rows.get((tenant, "day")) == used[tenant] for tenant in used),
                          f"it says what the headers said: acme used {used['acme']} today, globex {used['globex']}")

    def pages(self):
        self.screen.step("The status page and the metrics, for this machine alone")
        status = document(self.send("GET", "/apiquota-status", [("Accept", "application/json")]))
        self.screen.text(f"\nhttp://127.0.0.1:{self.port}/apiquota-status: {status['verdict']}, "
                         f"{status['last_hour']['totals']['allowed']} requests allowed in the last hour")
        self.screen.check(status["verdict"] == "good" and status["batches"]["worker_up"], "it says that all is well")
        metrics = self.send("GET", "/apiquota-metrics", []).body.decode()
        shown = [line for line in metrics.splitlines() if line.startswith("apiquota_requests_total{plan=\"basic\"")]
        self.screen.text(f"\nhttp://127.0.0.1:{self.port}/apiquota-metrics:\n" + "\n".join(shown))
        self.screen.check(any('decision="limited"' in line and not line.endswith(" 0") for line in shown),
                          "the metrics have the refusals")

    def take(self):
        self.no_key()
        self.not_modified(self.a_record())
        self.too_many()
        self.retry()
        path = unicode_data()
        location, lines = self.upload(path)
        if location:
            self.poll(location, lines)
            self.result(location, path, lines)
        self.usage()
        self.pages()
        return self.screen.failures


def unicode_data():
    """The file of Debian's unicode-data, wherever the package keeps it."""
    listed = subprocess.run(["dpkg", "-L", UNICODE_PACKAGE], capture_output=True, text=True, check=True).stdout
    return next(path for path in listed.splitlines() if os.path.basename(path) == UNICODE_FILE)


def count_lines(path):
    with open(path, "rb") as file:
        return sum(1 for _ in file)


def main():
    arguments = argparse.ArgumentParser(description="The tour of the demo.")
    arguments.add_argument("--run", required=True, help="folder of the demo")
    arguments.add_argument("--port", required=True, type=int)
    chosen = arguments.parse_args()
    try:
        failures = Tour(chosen.run, chosen.port).take()
    except (OSError, ValueError, KeyError, http.client.HTTPException, sqlite3.Error) as error:
        print(f"\nThe tour broke off: {error!r}")
        return 1
    print(f"\nThe tour found {len(failures)} things that are not as they should be." if failures else
          "\nThe tour found everything as it should be.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
