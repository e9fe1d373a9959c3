# SPDX-License-Identifier: Apache-2.0
"""Holds every response of our own endpoints against docs/openapi.yaml: status, required headers, body.

A server's configuration tells where its endpoints lie (endpoints_of); the client asks check() of every response that it
reads. So each test of a batch or of the usage is also a test of the description. What the description does not name fails:
a status, a content type, a member of an object. (Clients are told to pass over members that they do not know; we are not.)

Where the operator replaces error bodies (APIQuotaErrorBody, ErrorDocument) only the others are looked at.
"""

import collections
import functools
import json
import pathlib
import re

import jsonschema
import yaml

from . import paths

DESCRIPTION = paths.REPOSITORY / "docs" / "openapi.yaml"
UPLOAD, STATUS, USAGE = "/v1/imports", "/v1/batches", "/v1/usage"  # as the description calls them
UPLOADING = ("POST", "PUT", "PATCH")

REFUSED_EARLY = re.compile("%(00|2f)", re.I)  # by httpd, before it looks at any location
RESPOND_ASYNC = re.compile(r"(^|[,\s])respond-async($|[,;\s])", re.I)
SECTION = re.compile(r'<Location\s+"?([^~>"]+?)"?\s*>(.*?)</Location>', re.S | re.I)
INCLUDE = re.compile(r'^\s*Include\s+"?([^"\n]+?)"?\s*$', re.M)
OWN_ERRORS = re.compile(r"^\s*(APIQuotaErrorBody|ErrorDocument)\s", re.M)

# uploads: path -> 1 where only respond-async makes a batch. own_errors: 0 where error bodies are the operator's.
Endpoints = collections.namedtuple("Endpoints", "status usage uploads own_errors")


class Mismatch(AssertionError):
    """A response that the description does not allow."""


@functools.lru_cache(maxsize=64)
def endpoints_of(conf):
    """Where a configuration has endpoints of ours."""
    for included in INCLUDE.findall(conf):
        if pathlib.Path(included).is_file():
            conf += pathlib.Path(included).read_text()
    status, usage, uploads = set(), set(), {}
    for path, lines in SECTION.findall(conf):
        status |= {path.rstrip("/")} if re.search(r"SetHandler\s+apiquota-batches", lines) else set()
        usage |= {path} if re.search(r"SetHandler\s+apiquota-usage", lines) else set()
        mode = re.search(r"APIQuotaBatch\s+(On|Prefer)", lines)
        if mode:
            uploads[path] = mode[1] == "Prefer"
    return Endpoints(status, usage, uploads, not OWN_ERRORS.search(conf))


def operation_of(endpoints, method, path, fields):
    """(path in the description, method) of a request; None where it is none of ours."""
    path, method = path.partition("?")[0], method.upper()
    if REFUSED_EARLY.search(path) or method == "OPTIONS":  # the latter is HTTP's own question, and described nowhere
        return None
    if path in endpoints.usage:
        return USAGE, method
    for base in endpoints.status:
        if path in (base, base + "/"):
            return STATUS, method
        found = re.fullmatch(re.escape(base) + r"/[^/]+(/cancel|/result|)", path)
        if found:
            return STATUS + "/{id}" + found[1], method
    # The deepest section is in force.
    for base in sorted(endpoints.uploads, key=len, reverse=True):
        if (path == base or path.startswith(base.rstrip("/") + "/")) and method in UPLOADING:
            prefers = any(name.lower() == "prefer" and RESPOND_ASYNC.search(str(value)) for name, value in fields)
            return (UPLOAD, method) if prefers or not endpoints.uploads[base] else None
    return None


def check(conf, method, path, fields, response):
    """Mismatch where the response to this request is none that the description allows."""
    endpoints = endpoints_of(conf)
    operation = operation_of(endpoints, method, path, fields)
    if operation is None or response.truncated:
        return
    try:
        description().check(*operation, response, endpoints.own_errors)
    except (Mismatch, jsonschema.ValidationError) as mismatch:
        message = getattr(mismatch, "message", str(mismatch))
        where = "/".join(str(part) for part in getattr(mismatch, "absolute_path", ()))
        raise Mismatch(f"{method} {path}: {message} {where and f'(at {where}) '}"
                       f"is not as docs/openapi.yaml says: {response!r}") from None


@functools.lru_cache(maxsize=1)
def description():
    return Description(yaml.safe_load(DESCRIPTION.read_text()))


class Description:
    """The description, as a judge of responses."""

    def __init__(self, document):
        self._document, self._validators = _closed(document), {}

    def check(self, path, method, response, own_errors=True):
        operations = self._document["paths"][path]
        method = {"HEAD": "get"}.get(method, method.lower())
        if path == UPLOAD:
            method = "post"
        if method not in operations:
            return self._check_refusal(response)
        described = self._described(operations[method]["responses"], response)
        for name, header in described.get("headers", {}).items():
            self._check_header(name, self._resolve(header), response.headers.get(name))
        if response.status < 400 or own_errors:
            self._check_body(described.get("content"), response)
        return None

    def check_message(self, webhook, body, headers=None):
        """The same of a webhook's request: its body, a parsed document, and its headers by lower-case name."""
        operation = self._document["webhooks"][webhook]["post"]
        self.validate(operation["requestBody"]["content"]["application/json"]["schema"], body)
        for parameter in operation["parameters"] if headers is not None else ():
            self._check_header(parameter["name"], parameter, headers.get(parameter["name"]))

    def validate(self, schema, value):
        validator = self._validators.get(id(schema))
        if validator is None:
            # Inside the whole document, so that references are local; nothing is fetched.
            whole = {**schema, "components": self._document["components"]}
            validator = self._validators[id(schema)] = jsonschema.Draft202012Validator(whole)
        validator.validate(value)

    def _resolve(self, node):
        while "$ref" in node:
            target = self._document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def _check_refusal(self, response):
        """Of a method that is not described."""
        if response.status < 400:
            raise Mismatch(f"status {response.status} for a method that is not described")
        if response.status == 405 and "Allow" not in response.headers:
            raise Mismatch("405 without Allow")

    def _described(self, responses, response):
        is_replay = "APIQuota-Result" in response.headers
        found = None if is_replay and response.status != 304 else responses.get(str(response.status))
        if found is None:
            found = responses.get("default")
        if found is None:
            raise Mismatch(f"status {response.status}")
        return self._resolve(found)

    def _check_header(self, name, header, value):
        if value is None:
            if header.get("required"):
                raise Mismatch(f"without the header {name}")
            return
        if header["schema"].get("type") == "integer":
            value = int(value) if re.fullmatch(r"-?\d+", value) else value
        self.validate(header["schema"], value)

    def _check_body(self, content, response):
        if not response.body:  # of HEAD, of 204 and 304, of a stored answer without one
            return
        if content is None:
            raise Mismatch("a body where none is described")
        media = response.headers.get("Content-Type", "").partition(";")[0].strip()
        if media not in content and "*/*" not in content:
            raise Mismatch(f"content type {media!r}")
        schema = content.get(media, content.get("*/*")).get("schema")
        if schema:
            self.validate(schema, json.loads(response.body))


def _closed(node):
    """The document with every object closed: what it does not name is not allowed."""
    if isinstance(node, dict):
        closed = {name: _closed(value) for name, value in node.items()}
        if isinstance(node.get("properties"), dict) and "additionalProperties" not in node and "type" in node:
            closed["additionalProperties"] = False
        return closed
    return [_closed(value) for value in node] if isinstance(node, list) else node
