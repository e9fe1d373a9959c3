#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The API behind the demo: it knows nothing of keys, limits or batches.

    GET  /v1/countries, /v1/countries/{alpha_2}     ISO 3166-1, of Debian's iso-codes, with ETag
    GET  /v1/languages, /v1/languages/{alpha_3}     ISO 639-3, the same
    POST /v1/import                                 lines of UnicodeData.txt, each stored once in SQLite

An import is repeatable: a row is known by the request's Idempotency-Key and the number of its line. Rows are
committed in chunks, so an import that breaks off leaves a part behind, and the next attempt adds the rest.

    backend.py --run DIR [--user NAME] [--pace-ms N]

It listens on a free loopback port, writes it to DIR/data/backend.port once it serves, and keeps DIR/data/import.db.
"""
import argparse
import hashlib
import http.server
import itertools
import json
import os
import pwd
import re
import sqlite3
import threading
import time

ISO_CODES = "/usr/share/iso-codes/json"
COLLECTIONS = {  # path: (file, member that holds the records, field that names a record)
    "/v1/countries": ("iso_3166-1.json", "3166-1", "alpha_2"),
    "/v1/languages": ("iso_639-3.json", "639-3", "alpha_3"),
}
FIELDS = 15  # of a line of UnicodeData.txt, separated by semicolons
ROWS_A_COMMIT = 500
SCHEMA = """CREATE TABLE IF NOT EXISTS characters (
    import_key TEXT NOT NULL, line INTEGER NOT NULL, code TEXT NOT NULL, name TEXT NOT NULL,
    category TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (import_key, line)) WITHOUT ROWID"""


def load_resources():
    """{path: (body, etag)} of every collection and every record."""
    resources = {}
    for path, (file, member, name) in COLLECTIONS.items():
        with open(os.path.join(ISO_CODES, file), encoding="utf-8") as source:
            records = json.load(source)[member]
        documents = {path: records, **{f"{path}/{record[name]}": record for record in records}}
        for where, document in documents.items():
            body = (json.dumps(document, ensure_ascii=False) + "\n").encode()
            resources[where] = (body, f'"{hashlib.sha256(body).hexdigest()[:16]}"')
    return resources


class Import:
    """The table of imported rows. Threads may use it together; one of them writes at a time."""

    def __init__(self, path, pace_s):
        self._path, self._pace_s, self._lock = path, pace_s, threading.Lock()
        with sqlite3.connect(path) as database:
            database.execute(SCHEMA)

    def add(self, key, lines):
        """Stores the lines; returns (stored now, stored before). ValueError names the first bad line."""
        imported = seen = 0
        database = sqlite3.connect(self._path, timeout=60)
        try:
            rows = (parse(key, number, line) for number, line in enumerate(lines, 1))
            while chunk := list(itertools.islice(rows, ROWS_A_COMMIT)):
                began = time.monotonic()
                with self._lock, database:
                    imported += database.executemany(
                        "INSERT OR IGNORE INTO characters VALUES (?, ?, ?, ?, ?, ?)", chunk).rowcount
                seen += len(chunk)
                time.sleep(max(0.0, began + self._pace_s - time.monotonic()))
        finally:
            database.close()
        return imported, seen - imported


def parse(key, number, line):
    text = line.decode("utf-8").rstrip("\r\n")
    fields = text.split(";")
    if len(fields) != FIELDS:
        raise ValueError(f"line {number} has {len(fields)} fields, {FIELDS} are expected")
    return key, number, fields[0], fields[1], fields[2], text


def body_lines(stream, length):
    """The lines of a body of `length` bytes, without holding it whole."""
    while length > 0:
        line = stream.readline(min(length, 65536))
        if not line:
            raise ConnectionError("the body ended early")
        length -= len(line)
        yield line


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection. `resources` and `store` are set by main()."""

    protocol_version = "HTTP/1.1"
    server_version = "countries/1"
    timeout = 60
    resources, store = {}, None

    def do_GET(self):
        path = self.path.split("?")[0]
        if path not in self.resources:
            return self.answer(404, {"error": f"there is no {path}"})
        body, etag = self.resources[path]
        known = re.findall(r'"[^"]*"|\*', self.headers.get("If-None-Match", ""))
        if etag in known or "*" in known:
            return self.send(304, b"", {"ETag": etag})
        return self.send(200, body, {"ETag": etag, "Content-Type": "application/json"})

    do_HEAD = do_GET

    def do_POST(self):
        key, length = self.headers.get("Idempotency-Key"), self.headers.get("Content-Length", "")
        if self.path != "/v1/import" or not key or not length.isdigit():
            # The body was not read, so nothing else can follow on this connection.
            self.close_connection = True
            return self.answer(404 if self.path != "/v1/import" else 411 if key else 400,
                               {"error": "POST /v1/import needs Idempotency-Key and Content-Length"})
        try:
            imported, duplicates = self.store.add(key, body_lines(self.rfile, int(length)))
        except ValueError as wrong:
            self.close_connection = True
            return self.answer(422, {"error": str(wrong)})
        return self.answer(200, {"imported": imported, "duplicates": duplicates})

    def answer(self, status, document):
        self.send(status, (json.dumps(document) + "\n").encode(), {"Content-Type": "application/json"})

    def send(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def become(user):
    """Gives up root for `user`."""
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def main():
    arguments = argparse.ArgumentParser(description="The API behind the demo.")
    arguments.add_argument("--run", required=True, help="folder of the demo")
    arguments.add_argument("--user", help="give up root for this user")
    arguments.add_argument("--pace-ms", type=int, default=0, help="least time that a chunk of an import takes")
    chosen = arguments.parse_args()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if chosen.user:
        become(chosen.user)
    Handler.resources = load_resources()
    Handler.store = Import(os.path.join(chosen.run, "data", "import.db"), chosen.pace_ms / 1000)

    # By rename: who sees the file may read the whole number from it.
    port_file = os.path.join(chosen.run, "data", "backend.port")
    with open(port_file + ".new", "w", encoding="ascii") as file:
        file.write(f"{server.server_port}\n")
    os.replace(port_file + ".new", port_file)
    server.serve_forever()


if __name__ == "__main__":
    main()
