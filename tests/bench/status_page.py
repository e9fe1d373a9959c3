#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the status page costs, and what it does to requests, with very many keys and counters.

    AQ_BUILD=build tests/bench/status_page.py [KEYS]        500,000 unless told: two counters each

Prints how long the page takes to come the first time and after, what the child it lands on holds meanwhile, and the
requests of others a second with nobody looking at the page and with somebody who does once a second.
"""

import hashlib
import json
import statistics
import subprocess
import sys
import pathlib
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "http")]

from harness import confs, httpd, load, paths, processes  # noqa: E402
from harness.keys import Keys, write_atomically  # noqa: E402
from harness.serverroot import Spec  # noqa: E402

LIMITS = ("minute=1000000/minute", "day=4000000000/day")
CONF = ("APIQuotaStore shm size=160m\n"
        + confs.plan("basic", *[limit.replace("=", " ") for limit in LIMITS]) + confs.location("/v1")
        + "<Location /apiquota-status>\n    SetHandler apiquota-status\n    Require local\n</Location>\n")
ONE_CHILD = "StartServers 1\nServerLimit 1\nThreadsPerChild 25\nMinSpareThreads 1\nMaxSpareThreads 25\nMaxRequestWorkers 25\n"
SECONDS = 6


def fill(web, count):
    entries = [{"id": f"k_{i}", "sha256": hashlib.sha256(f"aq_key_{i}".encode()).hexdigest(), "tenant": f"t{i // 50}"}
               for i in range(count)]
    tenants = {f"t{i}": {"plan": "basic"} for i in range((count + 49) // 50)}
    write_atomically(web.root.keys_file, json.dumps({"tenants": tenants, "keys": entries}))
    done = subprocess.run([paths.BUILD / "tests/bench/fill_counters", web.root.state / "counters", web.root.keys_file,
                           "160", "basic", *LIMITS], capture_output=True, text=True, check=True)
    print(done.stdout.strip())


def page_ms(web):
    began = time.monotonic()
    answer = web.get("/apiquota-status", headers={"Accept": "application/json"})
    assert answer.status == 200
    return (time.monotonic() - began) * 1000, answer.json()


def looked_at(web, end):
    while not end.wait(1.0):
        page_ms(web)


def requests_a_second(web):
    return load.wrk(web.port, "/v1/item.json", SECONDS, 8, key="aq_key_7")[0] / SECONDS


def compare(web):
    """In turns, since machines are noisy: without a look at the page, and with one each second."""
    without, beside = [], []
    for _ in range(4):
        without.append(requests_a_second(web))
        end = threading.Event()
        looker = threading.Thread(target=looked_at, args=(web, end))
        looker.start()
        beside.append(requests_a_second(web))
        end.set()
        looker.join()
    return statistics.median(without), statistics.median(beside)


def main(count):
    processes.become_subreaper()
    httpd.START_TIMEOUT_S = 180  # so many keys take a while to read
    web = httpd.Httpd(Spec(conf=CONF, mpm="event", mpm_conf=ONE_CHILD, keys=Keys()))
    try:
        fill(web, count)
        began = time.monotonic()
        web.start()
        print("started after %.1f s" % (time.monotonic() - began))
        times = [page_ms(web) for _ in range(1)]
        for _ in range(30):
            time.sleep(0.3)
            times.append(page_ms(web))
        print("page, ms: first %.0f, then median %.1f, worst %.0f" % (
            times[0][0], statistics.median([ms for ms, _ in times[1:]]), max(ms for ms, _ in times[1:])))
        last = times[-1][1]
        print("shown:", [(row["key_id"], row["used"]) for row in last["keys"][:3]], last["lists"])
        child = pathlib.Path(f"/proc/{web.child_pids()[0]}/status").read_text()
        print(next(line for line in child.splitlines() if line.startswith("RssAnon")))
        print("requests a second: %.0f, and with a page a second %.0f" % compare(web))
    finally:
        web.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500_000)
