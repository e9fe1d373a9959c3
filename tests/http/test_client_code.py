# SPDX-License-Identifier: Apache-2.0
"""The code of docs/clients.md, run as it stands: it meets a 429, waits as told, and has its answer."""

import re
import subprocess
import sys

import pytest

from harness import confs, paths

TEXT = (paths.REPOSITORY / "docs" / "clients.md").read_text()
# One token in five seconds: who has had it meets a 429 for so long.
PLAN = confs.plan("basic", "pace 1/5s burst=1")


def code(language):
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)
    return block


COMMANDS = {
    "sh": lambda url, key: ["env", f"URL={url}", f"KEY={key}", "sh", "-ec", code("sh")],
    "python": lambda url, key: [sys.executable, "-c", f"{code('python')}\nprint(get({url!r}, {str(key)!r}).decode())"],
    "javascript": lambda url, key: [
        "node", "-e", f'{code("javascript")}\nget("{url}", "{key}").then((r) => r.text()).then((t) => console.log(t))'],
}


@pytest.mark.parametrize("language", COMMANDS)
def test_code_waits_as_long_as_it_is_told(server, keys, language):
    key = keys.add("acme")
    web = server(PLAN + confs.location("/v1"), keys=keys)
    first = web.get("/v1/item.json", key=key)
    assert first.status == 200
    done = subprocess.run(COMMANDS[language](f"http://127.0.0.1:{web.port}/v1/item.json", key), capture_output=True, timeout=60,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == first.body.strip()
    assert web.get("/v1/item.json", key=key).status == 429
