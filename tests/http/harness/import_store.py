# SPDX-License-Identifier: Apache-2.0
"""The table behind the backend's /import: each line of an upload is kept exactly once.

A row is known by the upload's Idempotency-Key and the number of its line; a repeated or resumed upload
adds only what is missing. Rows are committed a thousand at a time, so that a broken upload leaves a
part behind, as a real importer does.
"""

import sqlite3
import threading

ROWS_A_COMMIT = 1000


class ImportStore:
    """Lines in SQLite at `path`. Threads may use it together."""

    def __init__(self, path):
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS imported (idempotency_key TEXT, line INTEGER, text BLOB,"
            " times_sent INTEGER DEFAULT 1, PRIMARY KEY (idempotency_key, line)) WITHOUT ROWID")
        self._database.commit()

    def add(self, key, lines, after_commit=lambda lines_seen: None):
        """Stores `lines` (an iterable of bytes); returns (seen, newly stored). `after_commit` is called
        after each commit with the number of lines seen so far."""
        seen = fresh = 0
        pending = []
        for line in lines:
            seen += 1
            pending.append((key, seen, line))
            if len(pending) == ROWS_A_COMMIT:
                fresh += self._store(pending)
                pending = []
                after_commit(seen)
        fresh += self._store(pending)
        return seen, fresh

    def count(self, key=None):
        """How many rows there are, of one upload or of all."""
        return self._number("SELECT count(*) FROM imported WHERE ?1 IS NULL OR idempotency_key = ?1", key)

    def repeated(self, key=None):
        """How many of the rows were sent more than once (and stored once)."""
        return self._number("SELECT count(*) FROM imported WHERE times_sent > 1"
                            " AND (?1 IS NULL OR idempotency_key = ?1)", key)

    def uploads(self):
        """The Idempotency-Keys seen."""
        with self._lock:
            rows = self._database.execute("SELECT DISTINCT idempotency_key FROM imported ORDER BY 1")
            return [key for (key,) in rows]

    def lines(self, key):
        with self._lock:
            rows = self._database.execute(
                "SELECT text FROM imported WHERE idempotency_key = ? ORDER BY line", (key,))
            return [text for (text,) in rows]

    def close(self):
        with self._lock:
            self._database.close()

    def _store(self, rows):
        with self._lock, self._database:
            before = self._database.execute("SELECT count(*) FROM imported").fetchone()[0]
            self._database.executemany(
                "INSERT INTO imported (idempotency_key, line, text) VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET times_sent = times_sent + 1", rows)
            return self._database.execute("SELECT count(*) FROM imported").fetchone()[0] - before

    def _number(self, query, key):
        with self._lock:
            return self._database.execute(query, (key,)).fetchone()[0]
