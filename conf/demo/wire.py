# SPDX-License-Identifier: Apache-2.0
"""Requests of the tours, and what their answers say."""
import collections
import http.client
import json

Response = collections.namedtuple("Response", "status reason headers body")


def send(port, method, path, headers, body=None):
    """A request on a connection of its own; `headers` are pairs."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body=body, headers=dict(headers))
        answer = connection.getresponse()
        return Response(answer.status, answer.reason, answer.headers, answer.read())
    finally:
        connection.close()


def remaining(response, suffix=""):
    value = response.headers.get(f"X-RateLimit-Remaining{suffix}")
    return int(value) if value else None


def document(response):
    return json.loads(response.body)


def is_problem(response, status):
    return (response.headers.get_content_type() == "application/problem+json"
            and document(response).get("status") == status)
