# SPDX-License-Identifier: Apache-2.0
"""P10 to P14: batches, measured as ratios of two things done side by side in one run.

Each function returns a Measured. A timing is never a failure: machines are noisy, and so the two sides take turns and the
median of the turns counts. What P14 compares is counted in instructions.
"""

import collections
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import time

import callgrind
from harness import batches, confs, paths
from harness.httpd import Httpd
from harness.keys import Keys
from harness.serverroot import Spec
from harness.waiting import wait_until

Measured = collections.namedtuple("Measured", "value lines")

ROUNDS = 3
CLIENTS = 16
UPLOADS = 2000
POLLS = 6000
JOBS = 4000
WORKER_THREADS = 8
MEGABYTE = 1 << 20
BIG_BYTES = 64 * MEGABYTE
PLAN = confs.plan("basic", "minute 100000000/minute headers=primary")
CONF = """\
LogLevel warn
APIQuotaStateDir "${{ROOT}}/state"
APIQuotaKeyFile "${{ROOT}}/keys.json"
APIQuotaQueue sqlite tenant-max=1000000
APIQuotaWorkerProgram "{worker}"
APIQuotaWorker {on} threads={threads}
MaxKeepAliveRequests 0
{plan}"""
ONE_CHILD = "StartServers 1\nServerLimit 1\nThreadsPerChild 20\nMinSpareThreads 1\nMaxSpareThreads 20\nMaxRequestWorkers 20\n"


def server(conf, on="off", **fields):
    """A started httpd with our module, without debug logs, and the key of a tenant."""
    keys = Keys()
    key = keys.add("acme")
    head = CONF.format(worker=paths.WORKER, on=on, threads=WORKER_THREADS, plan=PLAN)
    web = Httpd(Spec(conf=head + conf, preset=False, keys=keys, **fields))
    web.start()
    return web, key


def httpd_that_does_nothing():
    """Answers any request below /null with 204."""
    web = Httpd(Spec(conf="LogLevel warn\nMaxKeepAliveRequests 0\nRedirect 204 /null\n", module=False))
    web.start()
    return web


def ab(port, path, requests, *options, clients=CLIENTS):
    """Requests a second; each has to be answered well."""
    command = ["ab", "-q", "-k", "-c", str(clients), "-n", str(requests), *options, f"http://127.0.0.1:{port}{path}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout
    # ab calls answers of different length failed; a batch's own length may differ.
    if re.search(r"Non-2xx", said) or re.search(r"Connect: [1-9]|Receive: [1-9]|Exceptions: [1-9]", said):
        raise callgrind.BenchError(said)
    return float(re.search(r"Requests per second:\s+([\d.]+)", said)[1])


def fdatasyncs_a_second(folder, seconds=1.0):
    """One thread's, each after 4 kB more of one file."""
    file = pathlib.Path(folder) / "fdatasync.bench"
    fd, count, began = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), 0, time.monotonic()
    try:
        while time.monotonic() - began < seconds:
            os.pwrite(fd, bytes(4096), count * 4096)
            os.fdatasync(fd)
            count += 1
        return count / (time.monotonic() - began)
    finally:
        os.close(fd)
        file.unlink()


def accepted():
    """P10: batches of 1 kB accepted a second, on disk before they are, against one thread's fdatasyncs."""
    web, key = server(confs.batch("/v1/imports", "http://127.0.0.1:9/"))
    try:
        body = web.root.path / "body"
        body.write_bytes(b"x" * 1000)
        ratios, lines = [], []
        for _ in range(ROUNDS):
            before = fdatasyncs_a_second(web.root.state)
            rate = ab(web.port, "/v1/imports", UPLOADS, "-p", str(body), "-T", "text/plain", "-H",
                      f"Authorization: Bearer {key}")
            disk = (before + fdatasyncs_a_second(web.root.state)) / 2
            ratios.append(rate / disk)
            lines.append(f"{rate:,.0f} batches/s, {disk:,.0f} fdatasyncs/s")
        return Measured(statistics.median(ratios), lines)
    finally:
        web.close()


def put_seconds(web, path, file, *options):
    """curl's own time of an upload that has to be answered well."""
    said = subprocess.run(["curl", "-sS", "-f", "-o", os.devnull, "-w", "%{time_total}", "-H", "Expect:", *options, "-T", str(file),
                           f"http://127.0.0.1:{web.port}{path}"], capture_output=True, text=True, check=True, timeout=120)
    return float(said.stdout)


def anonymous_kb(pid):
    return int(re.search(r"RssAnon:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])


def uploaded():
    """P11: 64 MB uploaded as a batch, against mod_dav's PUT of the same file; and what a warm child grows by."""
    dav = 'DavLockDB "${ROOT}/run/DavLock"\nAlias "/dav" "${ROOT}/dav"\n<Directory "${ROOT}/dav">\n    Dav On\n    Require all granted\n</Directory>\n'
    web, key = server(confs.batch("/v1/imports", "http://127.0.0.1:9/", "APIQuotaBatchMaxBody 1g") + dav,
                      modules=("dav", "dav_fs"), mpm_conf=ONE_CHILD)
    try:
        for name in ("dav", "run"):
            (web.root.path / name).mkdir(exist_ok=True)
            shutil.chown(web.root.path / name, *(2 * [paths.HTTPD_USER] if paths.AS_ROOT else 2 * [None]))
        file = web.root.path / "big"
        file.write_bytes(os.urandom(MEGABYTE) * 64)
        auth = ("-X", "POST", "-H", f"Authorization: Bearer {key}")
        ratios, lines = [], []
        (child,) = web.child_pids()
        put_seconds(web, "/dav/warm", file)
        put_seconds(web, "/v1/imports", file, *auth)
        before = anonymous_kb(child)
        for number in range(ROUNDS + 2):
            ours = put_seconds(web, "/v1/imports", file, *auth)
            grown = anonymous_kb(child) - before
            theirs = put_seconds(web, f"/dav/{number}", file)
            ratios.append(theirs / ours)
            lines.append(f"batch {64 / ours:,.0f} MB/s, mod_dav {64 / theirs:,.0f} MB/s; the child grew by {grown} kB")
        return Measured(statistics.median(ratios), lines)
    finally:
        web.close()


def done_of(web, key):
    answer = web.get("/v1/batches?status=succeeded&limit=1", key=key)
    return answer.json()["pagination"]["total"]


def jobs_done():
    """P12: jobs done a second by one worker with 8 threads, against a target that does nothing."""
    null = httpd_that_does_nothing()
    web, key = server(confs.batch("/v1/imports", f"http://127.0.0.1:{null.port}/null"))
    worker = None
    try:
        body = web.root.path / "body"
        body.write_bytes(b"x" * 1000)
        ab(web.port, "/v1/imports", JOBS, "-p", str(body), "-T", "text/plain", "-H", f"Authorization: Bearer {key}")
        user = {"user": paths.HTTPD_USER, "group": paths.HTTPD_USER, "extra_groups": []} if paths.AS_ROOT else {}
        disk = fdatasyncs_a_second(web.root.state)
        began = time.monotonic()
        worker = subprocess.Popen([paths.WORKER, "--state-dir", web.root.state, "--log-level", "warn"],
                                  stdin=subprocess.DEVNULL, **user)
        if not wait_until(lambda: done_of(web, key) >= JOBS, 300, interval_s=0.1):
            raise callgrind.BenchError(f"only {done_of(web, key)} jobs were done")
        took = time.monotonic() - began
        return Measured(JOBS / took, [f"{JOBS} jobs in {took:.1f} s; {disk:,.0f} fdatasyncs/s"])
    finally:
        if worker:
            worker.terminate()
            worker.wait(20)
        web.close()
        null.close()


def polled():
    """P13: polls of one batch a second, against a static file of that size, without quota, in the same httpd."""
    web, key = server(confs.batch("/v1/imports", "http://127.0.0.1:9/"))
    try:
        url = batches.submit(web, key)
        size = len(web.get(url, key=key).body)
        web.root.add_file("static.json", b"x" * size)
        ratios, lines = [], []
        for _ in range(ROUNDS + 2):
            polls = ab(web.port, url, POLLS, "-H", f"Authorization: Bearer {key}", clients=8)
            static = ab(web.port, "/static.json", POLLS, clients=8)
            ratios.append(polls / static)
            lines.append(f"{polls:,.0f} polls/s, {static:,.0f} static files/s")
        return Measured(statistics.median(ratios), lines)
    finally:
        web.close()


def big_queue():
    """P14: claims, lists and polls in a queue of 1,000,000 finished and 10,000 waiting batches, against one of 1,000 waiting
    ones alone: the worst of the three ratios, in instructions."""
    program = paths.BUILD / "tests" / "bench" / "queue_bench"
    worst, lines = 0.0, []
    with tempfile.TemporaryDirectory(prefix="apiquota-bench-") as folder:
        for name, finished, waiting in (("small", 0, 1000), ("big", 1_000_000, 10_000)):
            subprocess.run([program, "fill", f"{folder}/{name}.db", str(finished), str(waiting)], check=True, timeout=1200)
        for what in ("claim", "list", "poll"):
            costs = []
            for name in ("small", "big"):
                shutil.copy(f"{folder}/{name}.db", f"{folder}/{name}-{what}.db")
                costs.append(callgrind.program_slope(folder, [str(program), what, f"{folder}/{name}-{what}.db"], 50, 250))
                os.unlink(f"{folder}/{name}-{what}.db")
            worst = max(worst, costs[1] / costs[0])
            lines.append(f"{what}: {costs[1]:,.0f} instructions, {costs[0]:,.0f} in the small one: {costs[1] / costs[0]:.2f} x")
    return Measured(worst, lines)
