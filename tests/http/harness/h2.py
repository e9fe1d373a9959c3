# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 over plain TCP with prior knowledge, by nghttp and h2load (package nghttp2-client)."""

import collections
import re
import subprocess

from .wire import Response, pairs_of

HEADER = re.compile(rb"^\[ *[\d.]+\] recv \(stream_id=(\d+)(?:, [^)]*)?\) (:?[^:\s]+): (.*)$", re.M)
DATA = re.compile(rb"^\[ *[\d.]+\] recv DATA frame <length=(\d+), flags=\w+, stream_id=(\d+)>", re.M)
DATA_ANYWHERE = re.compile(DATA.pattern[1:])
RESET = re.compile(rb"\] recv RST_STREAM frame <length=\d+, flags=\w+, stream_id=(\d+)>")
STATUS_CLASSES = re.compile(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx")
REQUESTS = re.compile(r"requests: (\d+) total, .*?(\d+) succeeded, (\d+) failed, (\d+) errored")

Load = collections.namedtuple("Load", "ok redirected refused broken total succeeded failed errored")


def nghttp(port, *paths, key=None, headers=None, method="GET", data_file=None, repeat=1, timeout_s=30):
    """Requests all paths, each `repeat` times, over one connection; Responses in order of stream."""
    command = ["nghttp", "-v", "-m", str(repeat), "-t", str(timeout_s)]
    fields = pairs_of(headers, key)
    if method != "GET":
        fields.append((":method", method))
    for name, value in fields:
        command += ["-H", f"{name}: {value}"]
    if data_file:
        command += ["-d", str(data_file)]
    command += [f"http://127.0.0.1:{port}{path}" for path in paths]
    ran = subprocess.run(command, capture_output=True, timeout=timeout_s + 5, check=False)
    return parse_verbose(ran.stdout)


def parse_verbose(output):
    """The Responses that `nghttp -v` wrote down, in order of stream; 1xx heads are left out."""
    heads, bodies = collections.defaultdict(list), collections.defaultdict(bytes)
    for stream, name, value in HEADER.findall(output):
        heads[int(stream)].append((name.decode(), value.decode("latin-1").rstrip("\r")))
    for frame in DATA_ANYWHERE.finditer(output):
        # nghttp prints the data of a frame right before the line that reports it.
        bodies[int(frame[2])] += output[frame.start() - int(frame[1]):frame.start()]
    resets = {int(stream) for stream in RESET.findall(output)}
    return [_response(heads[s], bodies[s], s in resets) for s in sorted(heads)]


def h2load(port, path, requests, connections=1, streams=1, key=None, headers=None, http1=False,
           timeout_s=600):
    """A load of `requests` over `connections` with `streams` in flight on each; returns a Load."""
    command = ["h2load", "-n", str(requests), "-c", str(connections), "-m", str(streams)]
    command += ["--h1"] if http1 else []
    for name, value in pairs_of(headers, key):
        command += ["-H", f"{name}: {value}"]
    command.append(f"http://127.0.0.1:{port}{path}")
    ran = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=True)
    classes, totals = STATUS_CLASSES.search(ran.stdout), REQUESTS.search(ran.stdout)
    assert classes and totals, f"h2load said:\n{ran.stdout}{ran.stderr}"
    return Load(*(int(n) for n in classes.groups() + totals.groups()))


def _response(fields, body, reset):
    starts = [i for i, (name, _) in enumerate(fields) if name == ":status"]
    last_head = fields[starts[-1]:] if starts else fields
    status = int(last_head[0][1]) if starts else 0
    return Response(status, [f for f in last_head if not f[0].startswith(":")], body, reset=reset)
