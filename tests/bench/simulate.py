#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How fast `apiquotactl simulate` replays a log, and in how much memory: a table for a growing log and growing callers.

The log is made here: callers of very different size (a Pareto distribution), a tenth of the answers 304, combined format.
    AQ_BUILD=build tests/bench/simulate.py [LINES]
"""

import os
import pathlib
import random
import resource
import subprocess
import sys
import tempfile

CTL = pathlib.Path(os.environ.get("AQ_BUILD") or "build") / "apiquotactl"
CONF = """<APIQuotaPlan basic>
    APIQuotaLimit minute 300/minute
    APIQuotaLimit day 10000/day per=tenant
    APIQuotaLimit month 200000/month per=tenant
</APIQuotaPlan>
"""
SECONDS = [f"02/Nov/2026:{s // 3600:02d}:{s % 3600 // 60:02d}:{s % 60:02d} +0000" for s in range(86400)]


def log_write(path, lines, callers):
    random.seed(1)
    with path.open("w", encoding="ascii") as file:
        for i in range(lines):
            key = int(random.paretovariate(0.6)) % callers
            status = random.choice((200, 200, 200, 200, 200, 200, 200, 404, 500, 304))
            file.write(f'192.0.2.{key % 256} - k_{key} [{SECONDS[i * 86400 // lines]}] "GET /v1/items/{i} HTTP/1.1" '
                       f'{status} 512 "-" "curl/7.88.1"\n')


def measure(folder, log):
    """CPU seconds, and the most memory in MB, of one run."""
    child = subprocess.Popen([str(CTL.resolve()), "simulate", "--json", "--conf", "try.conf", "--plan", "basic", log.name],
                             cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 1000000
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(f"{'lines':>10} {'callers':>8} {'CPU s':>7} {'million lines/minute':>21} {'MB':>6}")
    with tempfile.TemporaryDirectory(prefix="apiquota-bench-") as name:
        folder = pathlib.Path(name)
        (folder / "try.conf").write_text(CONF, encoding="ascii")
        log = folder / "access.log"
        for count, callers in ((lines // 4, 1000), (lines, 1000), (lines, 100000)):
            log_write(log, count, callers)
            cpu_s, most_mb = measure(folder, log)
            print(f"{count:>10} {callers:>8} {cpu_s:>7.2f} {count / cpu_s * 60 / 1e6:>21.0f} {most_mb:>6.0f}")


main()
