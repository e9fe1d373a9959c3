# SPDX-License-Identifier: Apache-2.0
"""Gives the tests of this folder the harness; see README.md."""

# pylint: disable=unused-import
from harness.fixtures import (  # noqa: F401
    backend, cluster, dead_backend, keys, log_guard, mpm, pytest_configure, pytest_generate_tests,
    pytest_runtest_makereport, pytest_runtest_setup, redis, redis_started, server, shared_server,
    six_fixture, small_tmpfs)
