# SPDX-License-Identifier: Apache-2.0
"""Assertions that many tests share."""

import collections

Trio = collections.namedtuple("Trio", "limit remaining reset")
TRIO_NAMES = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")


def trio(response, suffix=""):
    """Limit, remaining and reset as numbers; fails where one is missing, not a number, or there twice."""
    values = [response.headers.get(name + suffix) for name in TRIO_NAMES]
    assert None not in values, f"headers of the quota are missing: {response!r}"
    assert all(value.isdigit() for value in values), f"not whole numbers: {values}"
    return Trio(*(int(value) for value in values))


def assert_no_trio(response):
    """No header of ours about a quota is there."""
    ours = [n for n in response.headers.names() if n.startswith(("x-ratelimit-", "ratelimit"))]
    assert not ours, f"headers of a quota where none belong: {response!r}"


def assert_problem(response, status, **members):
    """A problem document of RFC 9457 with this status; returns it. `members` must be equal in it."""
    assert response.status == status, response
    assert response.headers["Content-Type"].split(";")[0] == "application/problem+json", response
    problem = response.json()
    assert isinstance(problem, dict), response
    assert problem.get("status") == status, response
    assert isinstance(problem.get("title"), str) and problem["title"], response
    for name in ("type", "detail", "instance"):
        assert isinstance(problem.get(name, ""), str), f"{name} is not a string: {response!r}"
    for name, value in members.items():
        assert problem.get(name) == value, f"{name} is {problem.get(name)!r}, not {value!r}"
    return problem


def retry_after(response):
    """Retry-After in whole seconds; fails where it is missing, not a number, or there twice."""
    value = response.headers["Retry-After"]
    assert value.isdigit(), f"not whole seconds: {value!r}"
    return int(value)
