# SPDX-License-Identifier: Apache-2.0
"""docs/openapi.yaml: a linter finds nothing in it, and the harness's check of responses against it can fail."""

import json

import pytest

from harness import batches, confs, npm, openapi
from harness.wire import Response

LINTER = "@stoplight/spectral-cli@6.16.3"
RULES = {"extends": ["spectral:oas"]}


@pytest.fixture(scope="module")
def lint(tmp_path_factory):
    """lint(text): what the linter says of a description, with its exit code."""
    packages, folder = npm.install(LINTER), tmp_path_factory.mktemp("openapi")
    (folder / "rules.json").write_text(json.dumps(RULES))

    def run(text):
        (folder / "openapi.yaml").write_text(text)
        done = packages.run("spectral", "lint", "-q", "-r", folder / "rules.json", "--fail-severity", "hint",
                            folder / "openapi.yaml", timeout_s=300)
        return done.returncode, done.stdout + done.stderr
    return run


def test_linter_finds_nothing_in_the_description(lint):
    assert lint(openapi.DESCRIPTION.read_text()) == (0, "")


@pytest.mark.parametrize("from_, to, rule", [
    ("#/components/schemas/Page\"", "#/components/schemas/Pages\"", "invalid-ref"),
    ("operationId: listBatches", "operationId: showBatch", "operation-operationId-unique"),
    ("      name: id\n", "      name: identity\n", "path-params"),
    ("type: object\n      required: [done", "type: thing\n      required: [done", "oas3-schema")])
def test_linter_finds_what_is_wrong(lint, from_, to, rule):
    text = openapi.DESCRIPTION.read_text()
    assert from_ in text
    code, said = lint(text.replace(from_, to))
    assert code == 1 and rule in said, said


# ---- the check of responses ------------------------------------------------------------------------

@pytest.fixture
def key(keys):
    return keys.add("acme")


@pytest.fixture
def taken(server, keys, key, dead_backend):
    """A server with a batch: (server, the upload's answer, what the harness held it against)."""
    web = server(batches.conf(dead_backend.url), keys=keys, worker=False)
    answer = web.post("/v1/imports", body=b"x", key=key)
    return web, answer


def changed(response, status=None, without=None, body=None, headers=()):
    kept = [(name, value) for name, value in response.headers.pairs if name not in (without, *dict(headers))]
    document = {**response.json(), **(body or {})}
    return Response(status or response.status, [*kept, *headers], json.dumps(document).encode())


WRONG = {
    "status": (dict(status=201), "status 201"),
    "header": (dict(without="Location"), "without the header Location"),
    "value of a header": (dict(headers=[("Retry-After", "soon")]), "'soon' is not of type 'integer'"),
    "content type": (dict(headers=[("Content-Type", "text/html")]), "content type 'text/html'"),
    "unknown member": (dict(body={"secret": 1}), "'secret' was unexpected"),
    "member of another type": (dict(body={"attempt": "1"}), "'1' is not of type 'integer'"),
    "inner member": (dict(body={"progress": {"done": 0, "total": None}}), "'failed' is a required property"),
    "no time": (dict(body={"created_at": "2026-11-26 12:00:00"}), "does not match"),
    "unknown word": (dict(body={"status": "done"}), "is not one of"),
}


@pytest.mark.parametrize("name", WRONG)
def test_response_that_is_not_as_described_fails(taken, name):
    web, answer = taken
    how, said = WRONG[name]
    openapi.check(web.spec.conf, "POST", "/v1/imports", (), answer)
    with pytest.raises(openapi.Mismatch) as mismatch:
        openapi.check(web.spec.conf, "POST", "/v1/imports", (), changed(answer, **how))
    assert said in str(mismatch.value), mismatch.value


def test_client_of_the_tests_checks_each_response_by_itself(server, keys, key, dead_backend):
    conf = batches.conf(dead_backend.url).replace("SetHandler apiquota-batches",
                                                  "SetHandler apiquota-batches\n    Header unset ETag")
    web = server(conf, keys=keys, worker=False)
    url = batches.submit(web, key)
    for ask in (web.get, web.head, lambda path, key: web.burst(2, path, concurrency=1, key=key)):
        with pytest.raises(openapi.Mismatch, match="without the header ETag"):
            ask(url, key=key)
    with web.session() as session, pytest.raises(openapi.Mismatch):
        session.get(url, key=key)
    web.get(batches.STATUS_PATH, key=key)


def test_endpoints_are_found_wherever_the_configuration_has_them(tmp_path):
    (tmp_path / "more.conf").write_text(confs.location("/v3/use", "SetHandler apiquota-usage"))
    conf = (confs.batch("/v2/imports", "http://127.0.0.1:9/", status_path="/v2/jobs/")
            + confs.location('"/v1/maybe"', "APIQuotaBatch Prefer") + f'Include "{tmp_path}/more.conf"\n')
    found = openapi.endpoints_of(conf)
    prefer = [("Prefer", "wait=5, respond-async")]
    expected = {
        ("GET", "/v2/jobs"): "/v1/batches", ("GET", "/v2/jobs/?limit=3"): "/v1/batches",
        ("GET", "/v2/jobs/x"): "/v1/batches/{id}", ("GET", "/v2/jobs/x/result"): "/v1/batches/{id}/result",
        ("POST", "/v2/jobs/x/cancel"): "/v1/batches/{id}/cancel", ("POST", "/v2/imports"): "/v1/imports",
        ("PUT", "/v2/imports/deep?x=1"): "/v1/imports", ("GET", "/v2/imports"): None, ("POST", "/v2/importsx"): None,
        ("POST", "/v1/maybe"): None, ("GET", "/v3/use"): "/v1/usage", ("GET", "/v2/jobs/x/else"): None}
    for (method, path), described in expected.items():
        operation = openapi.operation_of(found, method, path, [])
        assert operation == (described and (described, method)), (method, path, operation)
    assert openapi.operation_of(found, "POST", "/v1/maybe", prefer) == ("/v1/imports", "POST")


def test_messages_of_webhooks_are_described_too():
    judge = openapi.description()
    message = {"type": "batch.succeeded", "timestamp": "2026-11-26T12:00:00.000Z", "data": {"status": "succeeded"}}
    headers = {"webhook-id": "msg_01jd8z4v6n3c0t9w5x7y2k1m8p_4", "webhook-timestamp": "1795313220",
               "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="}
    judge.check_message("batchOver", message, headers)
    for wrong in ({**message, "type": "batch.done"}, {**message, "key": 1}):
        with pytest.raises(Exception, match="is not one of|unexpected"):
            judge.check_message("batchOver", wrong)
    with pytest.raises(openapi.Mismatch, match="webhook-id"):
        judge.check_message("batchOver", message, {**headers, "webhook-id": None})
