# SPDX-License-Identifier: Apache-2.0
"""Keys, and the file that tells httpd of them."""

import hashlib
import json
import os
import secrets
import shutil

from .paths import AS_ROOT, HTTPD_USER


class Key(str):
    """The secret itself, usable as a string; `id` is its public name, `tenant` its owner."""

    def __new__(cls, secret, key_id, tenant):
        key = super().__new__(cls, secret)
        key.id, key.tenant = key_id, tenant
        return key


def new_secret():
    """`aq_` and 43 base64url characters: 256 random bits."""
    return "aq_" + secrets.token_urlsafe(32)


def sha256_of(secret):
    return hashlib.sha256(secret.encode()).hexdigest()


class Keys:
    """The content of a keys file. `document` may be changed by hand before it is written."""

    directive = 'APIQuotaKeyFile "${ROOT}/keys.json"\n'

    def __init__(self):
        self.document = {"tenants": {}, "keys": []}

    def tenant(self, name, plan="basic", **fields):
        """Sets a tenant, for instance tenant("acme", limits={"day": "20/day"})."""
        self.document["tenants"][name] = {"plan": plan, **fields}
        return self

    def add(self, tenant="acme", secret=None, **fields):
        """A new key of the tenant, which comes into being with plan `basic` if it is not there."""
        if tenant not in self.document["tenants"]:
            self.tenant(tenant)
        secret = secret or new_secret()
        key_id = fields.pop("id", None) or "k_" + secrets.token_hex(6)
        self.document["keys"].append(
            {"id": key_id, "sha256": sha256_of(secret), "tenant": tenant, **fields})
        return Key(secret, key_id, tenant)

    def change(self, key, **fields):
        """Changes fields of a key's entry, for instance change(key, disabled=True)."""
        entry = next(e for e in self.document["keys"] if e["id"] == key.id)
        entry.update(fields)

    def remove(self, key):
        self.document["keys"] = [e for e in self.document["keys"] if e["id"] != key.id]

    def write(self, path):
        write_atomically(path, json.dumps(self.document, indent=2) + "\n")


def write_atomically(path, text):
    """Replaces a file by rename, readable by httpd's group and not by others."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(text if isinstance(text, bytes) else text.encode())
    fresh.chmod(0o640)
    if AS_ROOT:
        shutil.chown(fresh, group=HTTPD_USER)
    os.replace(fresh, path)
