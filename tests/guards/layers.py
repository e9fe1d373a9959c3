#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Each folder includes only what its layer may, and the library needs nothing of httpd."""
import os
import re
import subprocess

import guard

# folder: (folders of ours it may include, outside libraries it alone may use beside those of everyone)
LAYERS = {
    "base": ({"base"}, set()),
    "limit": ({"limit", "base"}, set()),
    "batch": ({"batch", "base"}, set()),
    "identity": ({"identity", "limit", "base"}, set()),
    "store": ({"store", "identity", "limit", "batch", "base"}, {"sqlite", "hiredis"}),
    "worker": ({"worker", "store", "batch", "limit", "identity", "base"}, {"curl"}),
    "ctl": ({"ctl", "store", "batch", "limit", "identity", "base"}, set()),
    "httpd": ({"httpd", "store", "batch", "limit", "identity", "base"}, {"httpd"}),
}
# mod_apiquota.c stands at the top of the tree and in the layer of src/httpd.
ALONE = {"src/batch/webhook.c": {"curl"}}

HTTPD_FOLDER = "/usr/include/apache2"
LIBRARIES = [
    ("sqlite", re.compile(r"sqlite3.*\.h$")),
    ("hiredis", re.compile(r"hiredis/.*")),
    ("curl", re.compile(r"curl/.*")),
    ("httpd", re.compile(r"(httpd|http_\w+|ap_\w+|util_\w+|mod_\w+|scoreboard|mpm_common|unixd)\.h$")),
]
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def library_of(name):
    if os.path.exists(os.path.join(HTTPD_FOLDER, name)):
        return "httpd"
    return next((library for library, pattern in LIBRARIES if pattern.match(name)), None)


def scan(path, folder):
    text = guard.code_of(guard.read(path), keep_strings=True)
    ours, libraries = LAYERS[folder]
    libraries = libraries | ALONE.get(path, set())
    for include in INCLUDE.finditer(text):
        quote, name = include.groups()
        line = guard.line_at(text, include.start())
        library = library_of(name)
        if quote == '"' and not os.path.isfile(os.path.join(guard.ROOT, "src", name)):
            guard.offend(path, line, f'"{name}" is no file below src/ (includes are written relative to src/)')
        elif quote == '"' and name.split("/")[0] not in ours:
            guard.offend(path, line, f"{folder} may not include {name}")
        elif quote == "<" and library and library not in libraries:
            guard.offend(path, line, f"{folder} may not use {library} (<{name}>)")


def main():
    for path in guard.c_files(("mod_apiquota.c", "src")):
        folder = path.split("/")[1] if "/" in path else "httpd"
        if folder in LAYERS and path.count("/") <= 2:
            scan(path, folder)
        else:
            guard.offend(path, 1, "stands in no layer; see LAYERS in tests/guards/layers.py")
    library = os.path.join(guard.BUILD, "libapiquota.a")
    symbols = subprocess.run(["nm", "-Au", library], stdout=subprocess.PIPE, text=True, check=True).stdout
    for line in symbols.splitlines():
        if re.search(r" U ap_", line):
            guard.offend("libapiquota.a", 1, f"needs httpd: {line.split(':', 1)[1]}")
    guard.finish()


main()
