# SPDX-License-Identifier: Apache-2.0
"""The shipped profiles: conf/profiles/NAME.conf as it is, with the keys of its page (docs/profiles/NAME.md).

The page is read for two things: the plain text of the example keys, in a table `| key | id | … |`, and the answers of the
public page, in code blocks.
"""

import contextlib
import json
import re
import secrets
import sqlite3

from . import paths
from .keys import Key, Keys

FOLDER = paths.REPOSITORY / "conf" / "profiles"
PAGES = paths.REPOSITORY / "docs" / "profiles"
# Modules beyond those of a proxy.
SESSION_MODULES = ("session", "session_cookie", "session_crypto", "request", "auth_form", "dbd", "authn_dbd")
MODULES = {"onestack": SESSION_MODULES}
# A path of each that the backend answers with what it was asked.
ECHO = {"ottimate": "/v1/echo", "ontologie": "/v1/echo", "ontime": "/v1/echo", "onestack": "/api/echo", "waqti": "/v1/echo"}
KEY_ROW = re.compile(r"^\| `([^` ]+)` \| `([^` ]+)` \|", re.M)
# A file that httpd itself serves below the profile's location: load need not pass a backend.
OWN_FILE = '<Location "{path}">\n    ProxyPass "!"\n</Location>\n'


class ExampleKeys(Keys):
    """The keys file of a profile; keys["id"] is the key itself, as its page tells."""

    def __init__(self, name):
        super().__init__()
        self.document = json.loads((FOLDER / f"{name}.keys.json").read_text())
        tenants = {entry["id"]: entry["tenant"] for entry in self.document["keys"]}
        shown = KEY_ROW.findall(page(name))
        # Markdown wants a backslash before a bar in a table.
        self._keys = {key_id: Key(secret.replace("\\|", "|"), key_id, tenants.get(key_id)) for secret, key_id in shown}

    def __getitem__(self, key_id):
        return self._keys[key_id]

    def shown(self):
        """Every key of the page."""
        return list(self._keys.values())


def page(name):
    return (PAGES / f"{name}.md").read_text()


def examples(name, language):
    """The code blocks of a profile's page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page(name), re.M | re.S)


def conf(name, backend_url):
    """The configuration of a server that includes the profile as it is shipped."""
    defines = {"STATE": "${ROOT}/state", "KEYS": "${ROOT}/keys.json", "PROFILES": FOLDER, "BACKEND": backend_url,
               "USERS": "${ROOT}/users.db", "SESSION_SECRET": "${ROOT}/session.secret"}
    lines = [f'Define APIQUOTA_{key} "{value}"' for key, value in defines.items()]
    return "\n".join([*lines, f'APIQuotaWorkerProgram "{paths.WORKER}"', f'Include "{FOLDER}/{name}.conf"', ""])


def serve(server, name, backend, own_file=None, modules=(), start=True, more="", **fields):
    """A server with the profile before `backend`, and the keys of its page in `web.keys`. `own_file`: a path that httpd
    answers itself; `more`: directives before those of the profile."""
    text = more + conf(name, backend.url) + (OWN_FILE.format(path=own_file) if own_file else "")
    web = server(text, keys=ExampleKeys(name), preset=False, start=False,
                 modules=("proxy_http", *MODULES.get(name, ()), *modules), **fields)
    add_users(web.root.path, FOLDER / f"{name}.users.sql")
    return web.start() if start else web


def add_users(folder, sql):
    """The database of a profile's users, if it has any, and the secret of their sessions."""
    if sql.exists():
        with contextlib.closing(sqlite3.connect(folder / "users.db")) as database:
            database.executescript(sql.read_text())
        (folder / "users.db").chmod(0o644)
        (folder / "session.secret").write_text(secrets.token_hex())
