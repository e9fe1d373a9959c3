# SPDX-License-Identifier: Apache-2.0
"""apiquotactl simulate: numbers computed by hand, a real server's refusals, and the document that it prints."""

import datetime
import json
import random
import re
import subprocess

import pytest

from harness import confs, keys as keys_of, paths
from harness.waiting import wait_until

NOON = 1893499200  # 2030-01-01T12:00:00Z
# libfaketime dates files too, so that tags made of dates would change with the clock.
TAGS_STAY = "FileETag Size\n"
LOGGED = 'LogFormat "%h %l %u %t \\"%r\\" %>s %b" replayed\nCustomLog "${ROOT}/logs/replayed.log" replayed\n'
LOGGED_MS = LOGGED.replace("%t", "%{msec}t")


def run(folder, *words, stdin=None):
    return subprocess.run([str(paths.CTL), "simulate", *map(str, words)], capture_output=True, timeout=60, check=False,
                          cwd=folder, input=stdin)


def simulate(folder, *words, stdin=None):
    """What it answers, as JSON."""
    done = run(folder, "--json", *words, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def log_line(second, user="-", status=200, address="192.0.2.1", zone="+0000"):
    """A line of a request `second` seconds after 10:00:00 by the clock of that zone."""
    time = datetime.datetime(2026, 11, 2, 10) + datetime.timedelta(seconds=second)
    return f'{address} - {user} [{time:%d/%b/%Y:%H:%M:%S} {zone}] "GET /v1/item HTTP/1.1" {status} 12\n'


def moment(text):
    return f"2026-11-02T{text}.000Z"


@pytest.fixture(name="folder")
def fixture_folder(tmp_path):
    (tmp_path / "try.conf").write_text(confs.plan("small", "minute 3/minute algorithm=fixed", "day 6/day per=tenant"))
    return tmp_path


# ---- computed by hand ----------------------------------------------------------------------------

# Two keys of one tenant, limits of three a minute for each key and six a day for both.
BY_HAND = [
    (0, "k_1", 200), (1, "k_1", 200), (2, "k_1", 200),   # the minute's three
    (3, "k_1", 200), (59, "k_1", 404),                   # refused by the minute, twice
    (60, "k_1", 304), (61, "k_1", 304), (62, "k_1", 304), (63, "k_1", 304),  # free
    (64, "k_2", 429), (65, "k_2", 200), (66, "k_2", 200),  # the day's last three; what was a 429 then is a request
    (67, "k_2", 304),                                    # refused by both: free answers need room too
    (130, "k_1", 200), (131, "k_2", 200),                # refused by the day
]


@pytest.fixture(name="two_keys")
def fixture_two_keys(folder):
    keys = keys_of.Keys().tenant("acme", plan="small")
    keys.add("acme", id="k_1")
    keys.add("acme", id="k_2")
    (folder / "keys.json").write_text(json.dumps(keys.document))
    return folder


def test_numbers_are_those_computed_by_hand(two_keys):
    lines = [log_line(*line) for line in BY_HAND]
    lines[4:4] = ["rubbish\n", log_line(4, "k_none"), log_line(4)]  # malformed, unknown, without a user
    (two_keys / "access.log").write_text("".join(lines))
    answer = simulate(two_keys, "--conf", "try.conf", "--key-file", "keys.json", "access.log")
    assert answer["lines"] == {
        "read": 18, "replayed": 15, "free": 4, "late": 0, "malformed": 1, "unidentified": 2, "without_request": 0,
        "malformed_examples": [{"file": "access.log", "line": 5, "reason": "it has fewer fields than the log format"}],
        "unknown_users": ["k_none"]}
    assert (answer["from"], answer["to"]) == (moment("10:00:00"), moment("10:02:11"))
    assert answer["plans"] == [
        {"plan": "small", "requests": 15, "refused": 5, "share": 5 / 15, "first": moment("10:00:03"),
         "last": moment("10:02:11"), "worst_minute": moment("10:00:00"), "worst_minute_refused": 2}]
    minute, day = answer["limits"]
    assert minute == {
        "plan": "small", "limit": "minute", "section": None, "rate": "3/1m", "algorithm": "fixed", "per": "key",
        "requests": 15, "refused": 3, "share": 0.2, "first": moment("10:00:03"), "last": moment("10:01:07"),
        "worst_minute": moment("10:00:00"), "worst_minute_refused": 2, "subjects": 2, "subjects_refused": 2, "peak": 5,
        "limit_for": {share: {"limit": 5, "is_exact": True} for share in ("0.1 %", "1 %", "5 %")}}
    # Without a bound the tenant has 5 in the first minute, each 304 in the second needs a sixth, and 10 in the end.
    assert (day["requests"], day["refused"], day["peak"], day["subjects"], day["subjects_refused"]) == (15, 3, 10, 1, 1)
    assert (day["first"], day["worst_minute"], day["worst_minute_refused"]) == (
        moment("10:01:07"), moment("10:02:00"), 2)
    assert [(row["subject"], row["limit"], row["requests"], row["refused"]) for row in answer["subjects"]] == [
        ("acme", "day", 15, 3), ("k_1", "minute", 10, 2), ("k_2", "minute", 5, 1)]
    assert answer["notes"] == []


def test_the_limit_for_a_share_refuses_no_more_than_that(folder):
    """A fixed window's suggestion, tried: it keeps the share, and one less does not."""
    random.seed(5)
    lines = [log_line(second, f"k_{min(int(random.paretovariate(1)), 9)}") for second in range(600) for _ in range(5)]
    (folder / "access.log").write_text("".join(lines))

    def limits_with(count):
        (folder / "try.conf").write_text(confs.plan("small", f"minute {count}/minute algorithm=fixed"))
        row, = simulate(folder, "--conf", "try.conf", "--plan", "small", "access.log")["limits"]
        return row

    for share, wanted in limits_with(10)["limit_for"].items():
        assert wanted["is_exact"]
        bound = float(share.split()[0]) / 100
        assert limits_with(wanted["limit"])["share"] <= bound
        assert limits_with(wanted["limit"] - 1)["share"] > bound
    assert limits_with(limits_with(10)["peak"])["refused"] == 0


def test_a_sliding_limit_for_a_share_is_enough(folder):
    random.seed(6)
    lines = [log_line(second, "k") for second in range(1200) for _ in range(random.choice((0, 0, 0, 1, 2, 9)))]
    (folder / "access.log").write_text("".join(lines))

    def limits_with(count):
        (folder / "try.conf").write_text(confs.plan("small", f"minute {count}/minute"))
        row, = simulate(folder, "--conf", "try.conf", "--plan", "small", "access.log")["limits"]
        return row

    for share, wanted in limits_with(10)["limit_for"].items():
        assert not wanted["is_exact"]
        assert limits_with(wanted["limit"])["share"] <= float(share.split()[0]) / 100


# ---- whose line, and when ------------------------------------------------------------------------

def test_lines_without_a_user_count_by_address_under_a_plan(folder):
    log = "".join(log_line(i, address=address) for i in range(5)
                  for address in ("192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8::2:1", "2001:db8:0:1::1"))
    answer = simulate(folder, "--conf", "try.conf", "--plan", "small", stdin=log.encode())
    assert {row["subject"]: row["requests"] for row in answer["subjects"] if row["limit"] == "minute"} == {
        "192.0.2.1": 10, "2001:db8::/64": 10, "2001:db8:0:1::/64": 5}


def test_a_claimed_user_of_a_401_is_not_believed(folder):
    log = "".join(log_line(i, "bob", status) for i, status in enumerate((200, 401, 401)))
    lines = simulate(folder, "--conf", "try.conf", "--plan", "small", "--format", '%l %l %u %t "%r" %>s %b',
                     stdin=log.encode())["lines"]
    assert (lines["replayed"], lines["unidentified"]) == (1, 2)


def test_zones_and_order_of_the_log_are_seen_through(folder):
    """One minute, told in three zones and out of order, in two files of which the later one is given first."""
    zones = [(0, "+0000"), (3600, "+0100"), (-5 * 3600, "-0500"), (19800, "+0530")]
    lines = [log_line(second + shift, "k_1", zone=zone) for second, (shift, zone) in zip((50, 59, 55, 57), zones)]
    (folder / "one.log").write_text("".join(lines))
    (folder / "two.log").write_text(log_line(61, "k_1") + log_line(60, "k_1"))
    answer = simulate(folder, "--conf", "try.conf", "--plan", "small", "two.log", "one.log")
    row = answer["limits"][0]
    assert (row["requests"], row["refused"], row["first"]) == (6, 1, moment("10:00:59"))
    assert answer["lines"]["late"] == 0


def test_overrides_of_the_keys_file_hold(folder):
    keys = keys_of.Keys().tenant("acme", plan="small", limits={"minute": "5/minute"}).tenant("other", plan="small")
    keys.add("acme", id="k_1")
    keys.add("other", id="k_2")
    (folder / "keys.json").write_text(json.dumps(keys.document))
    log = "".join(log_line(i, user) for i in range(6) for user in ("k_1", "k_2"))
    answer = simulate(folder, "--conf", "try.conf", "--key-file", "keys.json", stdin=log.encode())
    refused = {(row["limit"], row["rate"]): row["refused"] for row in answer["limits"]}
    assert refused[("minute", "3/1m")] == 3 and [count for (name, rate), count in refused.items()
                                                 if name == "minute" and rate != "3/1m"] == [1]


# ---- beside a real server ------------------------------------------------------------------------

def replayed_log(web):
    return web.root.path / "logs/replayed.log"


def get_logged(web, *where, **how):
    """
    The answer to a request, when its line is in the log. httpd writes it after the answer is out, beside what comes next:
    lines of one second would be replayed in another order, and its cache of formatted times does not bear a clock that
    jumps between two lines that are written at once.
    """
    size = replayed_log(web).stat().st_size
    answer = web.get(*where, **how)
    assert wait_until(lambda: replayed_log(web).stat().st_size > size, 30), "no line came"
    return answer


@pytest.mark.parametrize("limits", [
    ["minute 7/minute algorithm=fixed", "day 30/day per=tenant"],
    ["minute 7/minute", "hour 25/hour per=tenant"],
    ["burst 3/10s", "all 40/total"],
])
def test_refusals_are_those_of_a_real_server(server, keys, tmp_path, limits):
    """Exact: the clock stands still on whole seconds, so that the log's times are the server's."""
    plan = confs.plan("small", *limits)
    (tmp_path / "try.conf").write_text(plan)
    keys.tenant("acme", plan="small")
    pair = [keys.add("acme"), keys.add("acme")]
    web = server(plan + confs.location("/v1") + LOGGED + TAGS_STAY, keys=keys, faketime="+0")
    web.clock.freeze(NOON)
    tag = get_logged(web, "/v1/item.json", key=pair[0]).headers["ETag"]
    random.seed(3)
    second, real = 0, {200: 1, 304: 0, 429: 0}
    for _ in range(120):
        web.clock.freeze(NOON + second)
        fields = {"If-None-Match": tag} if random.random() < 0.3 else {}
        real[get_logged(web, "/v1/item.json", key=random.choice(pair), headers=fields).status] += 1
        second += random.choice((0, 0, 0, 1, 2, 11))
    web.stop()
    answer = simulate(tmp_path, "--conf", "try.conf", "--key-file", web.root.keys_file, replayed_log(web))
    assert min(real.values()) >= 8, f"the traffic is no test: {real}"
    assert answer["lines"]["replayed"] == 121
    assert answer["lines"]["free"] == real[304]
    assert answer["plans"][0]["refused"] == real[429]


# Below one another, beside one another, by all that can be counted by, a plan's limit replaced, and dearer ones.
SECTIONS = (
    confs.location("/v1", "APIQuotaLimit search 8/minute per=endpoint", "APIQuotaLimit own 5/minute per=tenant+endpoint")
    + "<Location /v1/sub>\nAPIQuotaLimit minute 4/minute\nAPIQuotaLimit own 3/minute per=tenant+endpoint\n"
      "APIQuotaCost 2\n</Location>\n"
    + "<Location /v1/*/deep>\nAPIQuotaLimit address 1/20s per=ip\nAPIQuotaCost 1\n</Location>\n"
    + confs.location("/v2/", "APIQuotaLimit search 5/minute per=endpoint"))
TARGETS = ["/v1", "/v1/item.json", "/v1/item.json?x=/v2/", "//v1/./item.json", "/v1/x/../sub/a", "/v1/%73ub", "/v1/subs",
           "/v1/sub/deep", "/v1/other/deep", "/v1/sub/x/deep", "/v2/", "/v2/a/b", "/v2//c", "/x/..//v2/d"]


def test_refusals_in_sections_are_those_of_a_real_server(server, keys, tmp_path):
    plan = confs.plan("small", "minute 7/minute", "all 11/minute algorithm=fixed per=tenant", "here 3/20s per=endpoint")
    (tmp_path / "try.conf").write_text(plan + SECTIONS)
    for tenant in ("acme", "other"):
        keys.tenant(tenant, plan="small")
    trio = [keys.add("acme"), keys.add("acme"), keys.add("other")]
    web = server(plan + SECTIONS + 'LogFormat "%h %l %u %t \\"%r\\" %>s %{APIQUOTA_DECISION}e %{APIQUOTA_LIMIT}e" replayed\n'
                 'CustomLog "${ROOT}/logs/replayed.log" replayed\n', keys=keys, faketime="+0")
    random.seed(4)
    second, statuses = 0, []
    for _ in range(400):
        web.clock.freeze(NOON + second)
        statuses.append(get_logged(web, random.choice(TARGETS), key=random.choice(trio)).status)
        second += random.choice((0, 0, 0, 0, 0, 1, 2, 11))
    web.stop()
    log = replayed_log(web).read_text()
    answer = simulate(tmp_path, "--conf", "try.conf", "--key-file", web.root.keys_file, replayed_log(web))
    assert answer["notes"] == []
    refused = {(row["limit"], row["section"]): row["refused"] for row in answer["limits"]}
    assert min(refused.values()) > 0, f"the traffic is no test: {refused}"
    assert set(refused) == {("minute", None), ("all", None), ("here", None), ("search", "/v1"), ("own", "/v1"),
                            ("minute", "/v1/sub"), ("own", "/v1/sub"), ("address", "/v1/*/deep"), ("search", "/v2/")}
    assert len(log.splitlines()) == answer["lines"]["replayed"] == 400
    assert answer["plans"][0]["refused"] == statuses.count(429)


def test_each_line_is_refused_as_the_server_refused_it(server, keys, tmp_path):
    """A log cut behind any request tells as many refusals as there were until then."""
    plan = confs.plan("small", "minute 5/minute")
    (tmp_path / "try.conf").write_text(plan + SECTIONS)
    key = keys.tenant("acme", plan="small").add("acme")
    web = server(plan + SECTIONS + LOGGED, keys=keys, faketime="+0")
    random.seed(5)
    for i in range(30):
        web.clock.freeze(NOON + i * 3)
        get_logged(web, random.choice(TARGETS), key=key)
    web.stop()
    lines = replayed_log(web).read_text().splitlines(True)
    for count in range(1, len(lines) + 1):
        answer = simulate(tmp_path, "--conf", "try.conf", "--key-file", web.root.keys_file,
                          stdin="".join(lines[:count]).encode())
        assert answer["plans"][0]["refused"] == sum(" 429 " in line for line in lines[:count]), lines[count - 1]


def test_refusals_of_a_running_clock_differ_by_what_the_log_blurs(server, keys, tmp_path):
    """
    The log dates a request when its first line was read, the server charges it when it has all of it, some milliseconds
    later: at each of the window's steps a request or two may fall on the other side.
    """
    plan = confs.plan("small", "short 60/2s")
    (tmp_path / "try.conf").write_text(plan)
    keys.tenant("acme", plan="small")
    key = keys.add("acme")
    web = server(plan + confs.location("/v1") + LOGGED_MS, keys=keys)
    with web.session() as session:
        real = [session.get("/v1/item.json", key=key).status for _ in range(1500)]
    web.stop()
    answer = simulate(tmp_path, "--conf", "try.conf", "--key-file", web.root.keys_file,
                      "--format", "%h %l %u %{msec}t \"%r\" %>s %b", replayed_log(web))
    passed = answer["plans"][0]["requests"] - answer["plans"][0]["refused"]
    assert real.count(429) > 0
    assert abs(passed - real.count(200)) <= max(3, real.count(200) // 20)


# ---- sections ------------------------------------------------------------------------------------

def test_a_sections_limits_are_shown_with_it_and_what_is_left_out_is_named(folder):
    (folder / "try.conf").write_text(
        confs.plan("small", "minute 3/minute", "here 9/minute per=endpoint")
        + "<Location /v1>\nAPIQuotaLimit own 2/minute per=tenant+endpoint\nAPIQuotaCost 2\n</Location>\n"
        + '<LocationMatch "^/v2">\nAPIQuotaLimit own 5/minute\n</LocationMatch>\n')
    log = "".join(log_line(i, "k_1") for i in range(3)) + log_line(3, "k_1").replace("/v1/item", "/v2")
    answer = simulate(folder, "--conf", "try.conf", "--plan", "small", stdin=log.encode())
    own, = (row for row in answer["limits"] if row["limit"] == "own")
    assert (own["section"], own["requests"], own["refused"], own["peak"]) == ("/v1", 3, 2, 6)
    assert own["limit_for"]["1 %"] == {"limit": 6, "is_exact": False}  # each costs two
    assert [(row["subject"], row["section"]) for row in answer["subjects"] if row["limit"] == "own"] == [
        ("k_1 /v1", "/v1")]
    match, here = answer["notes"]
    assert match.endswith("try.conf:10: the limit \"own\" is left out: it stands in <LocationMatch> (try.conf:9), of which a "
                          "log does not tell which requests it is for")
    assert here == 'plan "small", limit "here" (per=endpoint): left out, since no <Location> is known that requests came to'
    text = run(folder, "--conf", "try.conf", "--plan", "small", stdin=log.encode()).stdout.decode()
    assert re.search(r"^small  own of /v1 +2/1m +tenant\+endpoint +2 ", text, re.M), text


def test_a_format_without_a_path_is_noted_where_sections_have_limits(folder):
    (folder / "try.conf").write_text(confs.plan("small", "minute 3/minute")
                                     + "<Location /v1>\nAPIQuotaLimit own 2/minute\n</Location>\n")
    answer = simulate(folder, "--conf", "try.conf", "--plan", "small", "--format", '%h %l %u %t "%x" %>s %b',
                      stdin=log_line(0, "k").encode())
    assert [row["limit"] for row in answer["limits"]] == ["minute"]
    assert answer["notes"] == ["some lines tell no path (the one in %r): no <Location> holds for them"]


# ---- any input -----------------------------------------------------------------------------------

def test_malformed_lines_are_counted_and_shown_and_the_rest_goes_on(folder):
    good = log_line(1, "k_1").encode()
    random.seed(9)
    noise = [bytes(random.randrange(256) for _ in range(random.randrange(1, 300))).replace(b"\n", b"") + b"\x01\n"
             for _ in range(300)]
    cut = [good[:size] + b"\n" for size in range(1, good.index(b"GET"))]
    bad = [b"\0" * 100 + b"\n", b"x" * (1 << 20) + b"\n", good.replace(b"Nov", b"Nox"), good.replace(b" 200 ", b" 2000 "),
           b'"' * 5000 + b"\n", b"[" * 5000 + b"\n"] + noise + cut
    data = b"\n\r\n" + good + b"".join(line + good for line in bad) + good.rstrip(b"\n")
    answer = simulate(folder, "--conf", "try.conf", "--plan", "small", stdin=data)
    assert answer["lines"]["malformed"] == len(bad)
    assert answer["lines"]["replayed"] == len(bad) + 2
    examples = answer["lines"]["malformed_examples"]
    assert [row["line"] for row in examples] == [4, 6, 8, 10, 12]
    assert "longer than 256 kB" in examples[1]["reason"] and "time" in examples[2]["reason"]


def test_changed_bytes_crash_nothing(folder):
    with (folder / "try.conf").open("a") as conf:
        conf.write("<Location /v1>\nAPIQuotaLimit own 5/minute per=endpoint\n</Location>\n")
    random.seed(11)
    lines = [log_line(1).replace("/v1/item", target).encode() for target in ("/v1\0/x", "\0", "", "/%00", "http://", "/..")]
    for _ in range(5000):
        line = bytearray(log_line(random.randrange(9), random.choice(("k_1", "-", 'q\\"', "\x7f"))).encode())
        for _ in range(random.randrange(4)):
            line[random.randrange(len(line))] = random.randrange(256)
        lines.append(bytes(line))
    data = b"".join(lines)
    for words in ((), ("--format", '%h %l %u [%{%d/%b/%Y:%H:%M:%S %z}t] "%r" %s %b'), ("--key-field", "1")):
        for use_json in ([], ["--json"]):
            done = run(folder, *use_json, "--conf", "try.conf", "--plan", "small", *words, stdin=data)
            assert done.returncode in (0, 1), done.stderr
            assert not re.search(rb"[\x00-\x09\x0b-\x1f]", done.stdout)
            assert use_json or b"\x7f" not in done.stdout


@pytest.mark.parametrize("words,code,said", [
    (("access.log",), 2, "--conf FILE is missing"),
    (("--conf", "none.conf", "--plan", "small"), 1, "none.conf: "),
    (("--conf", "try.conf"), 2, "whose plan is whose"),
    (("--conf", "try.conf", "--plan", "gold", "/dev/null"), 1, 'there is no plan "gold"'),
    (("--conf", "try.conf", "--plan", "small", "none.log"), 1, "none.log: "),
    (("--conf", "try.conf", "--plan", "small", "/dev/null"), 1, "no line could be replayed"),
    (("--conf", "try.conf", "--plan", "small", "--format", "%h"), 2, "no %t"),
    (("--conf", "try.conf", "--plan", "small", "--key-field", "x"), 2, "--key-field x"),
    (("--conf", "/dev/null", "--plan", "small"), 1, "no <APIQuotaPlan>"),
])
def test_what_cannot_be_done_is_said(folder, words, code, said):
    done = run(folder, *words)
    assert done.returncode == code and said in done.stderr.decode(), done.stderr


def test_memory_does_not_grow_with_lines(folder):
    """Sixteen times the lines of the same callers take no more memory, but for the heap's own whims."""
    code = ("import resource, subprocess, sys\n"
            "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)\n"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n")

    def most_kb(lines):
        (folder / "access.log").write_text("".join(log_line(i // 20, f"k_{i % 50}") for i in range(lines)))
        done = subprocess.run(["/usr/bin/python3", "-c", code, str(paths.CTL), "simulate", "--conf", "try.conf",
                               "--plan", "small", "access.log"], cwd=folder, timeout=60, capture_output=True, check=True)
        return int(done.stdout)
    assert most_kb(160000) < most_kb(10000) * 1.1 + 512
