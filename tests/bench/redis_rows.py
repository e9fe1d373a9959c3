# SPDX-License-Identifier: Apache-2.0
"""P7 to P9: counters in Redis. P7 is a count; P8 and P9 are ratios of two things that take turns in one run."""

import csv
import os
import pathlib
import re
import statistics
import subprocess

import callgrind
from batches import Measured, ab
from harness import confs, paths
from harness.httpd import Httpd
from harness.keys import Keys
from harness.redis import Redis
from harness.serverroot import Spec

REQUESTS = 2000
# Short turns, of which the quietest of each side counts: a median of medians is what else runs on the machine.
CHARGES = 3000
CHARGE_ROUNDS = 15
KEYS = 20
SECONDS = 2
THROUGHPUT_ROUNDS = 9
CONF = """\
LogLevel warn
APIQuotaStateDir "${ROOT}/state"
APIQuotaKeyFile "${ROOT}/keys.json"
MaxKeepAliveRequests 0
"""
# Of each key in turn, as many requests at once as a pipelining client sends: one a write would be mostly the kernel's work, and
# two cores would not come to the 500 a second and key that P9 asks for.
PIPELINED = 5
WRK = """\
local keys = {%s}
local ready, at = {}, 0
function setup(thread) thread:set("start", math.random(#keys)) end
function init()
  local single = {}
  for i, key in ipairs(keys) do
    wrk.headers["X-API-Key"] = key
    single[i] = wrk.format("GET", "/v1/item.json")
  end
  for i = 1, #keys do
    local some = {}
    for n = 1, %d do some[n] = single[(i + n) %% #keys + 1] end
    ready[i] = table.concat(some)
  end
end
function request()
  at = at + %d
  return ready[(start + at) %% #keys + 1]
end
"""


def server(store, plan, keys, mpm_conf=""):
    conf = f"{CONF}APIQuotaStore {store}\n{plan}{confs.location('/v1')}"
    web = Httpd(Spec(conf=conf, preset=False, keys=keys, **({"mpm_conf": mpm_conf} if mpm_conf else {})))
    web.start()
    return web


def script_calls(redis):
    return sum(int(found) for found in re.findall(r"cmdstat_eval(?:sha)?:calls=(\d+)", redis.say("INFO", "commandstats")))


def round_trips():
    """P7: answers of Redis that a request waits for, with 16 limits of a key and its tenant."""
    redis, keys = Redis(), Keys()
    key = keys.add("acme")
    rates = ("1000000/minute", "1000000/day", "1000000/total", "1000000/month", "1000000/hour burst=1000000")
    limits = [f"l{i} {rates[i % 5]} headers=none{' per=tenant' if i % 2 else ''}" for i in range(16)]
    web = server(f"{redis.url} budget=5s", confs.plan("basic", *limits), keys)
    try:
        ab(web.port, "/v1/item.json", 100, "-H", f"X-API-Key: {key}", clients=4)
        before = script_calls(redis)
        ab(web.port, "/v1/item.json", REQUESTS, "-H", f"X-API-Key: {key}", clients=4)
        calls = script_calls(redis) - before
        return Measured(calls / REQUESTS, [f"{calls:,} scripts for {REQUESTS:,} requests"])
    finally:
        web.close()
        redis.close()


def ran(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise callgrind.BenchError(f"{command[0]}: {done.stdout}{done.stderr}")
    return done.stdout


def benchmark_p50_us(redis, words):
    said = ran("redis-benchmark", "-h", "127.0.0.1", "-p", redis.port, "-c", 1, "-n", CHARGES, "--csv", *words)
    rows = list(csv.reader(said.splitlines()))
    return float(rows[-1][rows[0].index("p50_latency_ms")]) * 1000


def charge_latency():
    """P8: the median of a strict charge, against redis-benchmark's of the same words."""
    program, redis = paths.BUILD / "tests" / "bench" / "redis_bench", Redis()
    try:
        words = ran(program, redis.url, "words").split("\n")[:-1]
        turns = [(float(ran(program, redis.url, CHARGES)), benchmark_p50_us(redis, words)) for _ in range(CHARGE_ROUNDS)]
        ours, theirs = (min(side) for side in zip(*turns))
        return Measured(ours / theirs, [f"{ours:,.1f} us a charge, {theirs:,.1f} us by redis-benchmark"])
    finally:
        redis.close()


def wrk_rate(web, script):
    said = ran("wrk", "-t", 2, "-c", 16, "-d", f"{SECONDS}s", "-s", script, f"http://127.0.0.1:{web.port}")
    if "Non-2xx" in said or "Socket errors" in said:
        raise callgrind.BenchError(said)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])


def cpu_s(*pids):
    """What processes have used so far."""
    fields = [pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids]
    return sum(int(of[11]) + int(of[12]) for of in fields) / os.sysconf("SC_CLK_TCK")


def turn(web, script, redis):
    """Requests a second of one turn, scripts a second, and microseconds of CPU a request of httpd and Redis."""
    pids = (*web.child_pids(), redis.pid)
    calls, used = script_calls(redis), cpu_s(*pids)
    rate = wrk_rate(web, script)
    return rate, (script_calls(redis) - calls) / SECONDS, (cpu_s(*pids) - used) / (rate * SECONDS) * 1e6


def leased_throughput():
    """P9: requests a second of 20 busy keys with slices from Redis, against counters in shared memory."""
    plan = confs.plan("basic", "hour 100000000/hour headers=primary", "day 1000000000/day headers=none")
    redis, keys = Redis(), Keys()
    of = [keys.add(f"tenant{i}") for i in range(KEYS)]
    webs = []
    try:
        webs.append(server("shm", plan, keys))
        webs.append(server(f"{redis.url} mode=leased", plan, keys))
        script = webs[0].root.path / "keys.lua"
        script.write_text(WRK % (", ".join(f'"{key}"' for key in of), PIPELINED, PIPELINED))
        for web in webs:
            wrk_rate(web, script)
        turns = [[turn(web, script, redis) for web in webs] for _ in range(THROUGHPUT_ROUNDS)]
        shm, leased = ([statistics.median(one[side][i] for one in turns) for i in range(3)] for side in range(2))
        ratio = statistics.median(one[1][0] / one[0][0] for one in turns)
        return Measured(ratio, [f"{leased[0]:,.0f} requests/s leased with {leased[1]:,.0f} scripts/s in Redis, {shm[0]:,.0f} in shm",
                                f"CPU a request, with Redis's: {leased[2]:,.0f} us leased, {shm[2]:,.0f} us in shm"])
    finally:
        for web in webs:
            web.close()
        redis.close()
