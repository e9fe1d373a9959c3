# SPDX-License-Identifier: Apache-2.0
"""Keys that live in Redis in place of a file, written there as docs/scaling.md says that anybody may."""

import json

from .keys import Keys

PREFIX = "aq:{keys}:"


def _text(value):
    if isinstance(value, list):
        return " ".join(value)
    return value if isinstance(value, str) else json.dumps(value)


def fields_of(entry):
    """An entry of a keys file as the fields of a record."""
    fields = {name: _text(value) for name, value in entry.items() if name not in ("sha256", "limits")}
    fields |= {f"limit:{name}": rate for name, rate in entry.get("limits", {}).items()}
    return fields


class RedisKeys(Keys):
    """Keys that live in a Redis; `words` are those of the directive."""

    def __init__(self, redis, words=None):
        super().__init__()
        self.redis, self.words = redis, words or f"{redis.url} budget=5s"

    @property
    def directive(self):
        return f"APIQuotaKeyStore {self.words}\n"

    def records(self):
        """Name -> fields, of all that the document says."""
        records = {PREFIX + "tenant:" + name: fields_of(entry) for name, entry in self.document["tenants"].items()}
        return records | {PREFIX + "key:" + entry["sha256"]: fields_of(entry) for entry in self.document["keys"]}

    def write(self, path):
        """Makes Redis hold what the document says, and nothing else. Records that stay as they are, are left alone."""
        records = self.records()
        for name in self.redis.say("KEYS", PREFIX + "*"):
            if name not in records:
                self.redis.say("DEL", name)
        for name, fields in records.items():
            if self.redis.say("HGETALL", name) != [part for field in fields.items() for part in field]:
                words = [part for field in fields.items() for part in field]
                self.redis.say_all(("MULTI",), ("DEL", name), ("HSET", name, *words), ("EXEC",))
