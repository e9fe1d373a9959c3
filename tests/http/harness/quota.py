# SPDX-License-Identifier: Apache-2.0
"""Counting what requests cost, from the headers alone.

ROOMY is a plan whose window ends once a year, so that a count never straddles a boundary.
"""

import contextlib

from . import checks, confs

PROBE = "/v1/item.json"
ROOMY = confs.plan("basic", "year 1000000/366d headers=primary")


def left(web, key, path=PROBE):
    """What remains after a request of its own, which costs one."""
    answer = web.get(path, key=key)
    assert answer.status == 200, answer
    return checks.trio(answer).remaining


@contextlib.contextmanager
def costs(web, key, expected, path=PROBE):
    """What is done inside has to cost exactly `expected`."""
    before = left(web, key, path)
    yield
    spent = before - left(web, key, path) - 1
    assert spent == expected, f"it cost {spent}, not {expected}"
