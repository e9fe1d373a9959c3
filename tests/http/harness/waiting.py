# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition; for a span of time only where one is promised."""

import time


def wait_until(condition, timeout_s, interval_s=0.005):
    """Polls `condition` until it returns something true and returns that; None after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            return None
        time.sleep(interval_s)


def eventually(condition, timeout_s=30.0, what="the condition"):
    """As wait_until, but fails the test when it never comes true, for which a busy machine takes what it takes."""
    value = wait_until(condition, timeout_s, interval_s=0.02)
    assert value, f"{what} did not come true within {timeout_s} s"
    return value
