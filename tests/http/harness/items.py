# SPDX-License-Identifier: Apache-2.0
"""What tests of batches of items share: a location for them, its target, uploads and results.

`key`, `target` and `serve` are fixtures for the files that import them.
"""

import pytest

from . import batches, items_backend

NDJSON = {"Content-Type": "application/x-ndjson"}
PATH = "/v1/items"


@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def target():
    backend = items_backend.ItemsBackend()
    yield backend
    backend.close()


@pytest.fixture
def serve(server, keys, key, target):
    """serve(*lines, **fields of Spec): a server with one location of items for `target`."""
    def make(*lines, **fields):
        return server(batches.conf(target.url, "APIQuotaBatchMode items", *lines, path=PATH), keys=keys, **fields)
    return make


def ndjson(count):
    return b"".join(b'{"n":%d}\n' % number for number in range(1, count + 1))


def submit(web, key, body, **how):
    return batches.submit(web, key, body=body, path=PATH, headers=NDJSON, **how)


def result(web, key, url):
    """The lines of a result, each as an object."""
    answer = web.get(url + "/result", key=key)
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/x-ndjson", answer
    return items_backend.results(answer.body)


def segments(web):
    """The names of segments on the spool."""
    return sorted(file.name for file in (batches.folder(web) / "spool" / "segment").iterdir())
