# SPDX-License-Identifier: Apache-2.0
"""Load by hey and wrk, as their users run them; h2load is in h2.py."""

import collections
import re
import subprocess

from .wire import pairs_of

HEY_STATUS = re.compile(r"^\s*\[(\d{3})\]\s+(\d+) responses$", re.M)
WRK_TOTAL = re.compile(r"^\s*(\d+) requests in ", re.M)
WRK_BAD = re.compile(r"Non-2xx or 3xx responses: (\d+)")
WRK_ERRORS = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")


def hey(port, path, requests, connections, key=None, timeout_s=600):
    """Runs hey; returns a Counter of statuses. Fails where an answer is missing."""
    # hey sends as many as divide evenly among its workers.
    assert requests % connections == 0, f"hey would send fewer than {requests}"
    command = ["hey", "-n", str(requests), "-c", str(connections)]
    for name, value in pairs_of(None, key):
        command += ["-H", f"{name}: {value}"]
    said = _run([*command, f"http://127.0.0.1:{port}{path}"], timeout_s)
    assert "Error distribution" not in said, said
    statuses = collections.Counter({int(status): int(count) for status, count in HEY_STATUS.findall(said)})
    assert statuses.total() == requests, said
    return statuses


def wrk(port, path, seconds, connections, key=None, timeout_s=600):
    """Runs wrk; returns (answers of 2xx and 3xx, other answers). Fails on a socket error."""
    command = ["wrk", "-t", "2", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "60s"]
    for name, value in pairs_of(None, key):
        command += ["-H", f"{name}: {value}"]
    said = _run([*command, f"http://127.0.0.1:{port}{path}"], timeout_s)
    total, bad = WRK_TOTAL.search(said), WRK_BAD.search(said)
    assert total and not WRK_ERRORS.search(said), said
    refused = int(bad[1]) if bad else 0
    return int(total[1]) - refused, refused


def _run(command, timeout_s):
    ran = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert ran.returncode == 0, f"{command[0]} ended with {ran.returncode}:\n{ran.stdout}{ran.stderr}"
    return ran.stdout
