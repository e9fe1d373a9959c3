# SPDX-License-Identifier: Apache-2.0
"""The calendar and clocks that step, seen through a real httpd whose clock is moved (libfaketime)."""

import calendar

import pytest

from harness import checks, confs

PLAN = confs.plan("basic", "minute 3/minute headers=none", "day 5/day headers=primary", "month 9/month headers=suffix:Monthly")
ROOMY = confs.plan("basic", "day 5/day headers=primary", "month 9/month headers=suffix:Monthly")


def at(*moment):
    return calendar.timegm(moment)


@pytest.fixture
def serve(server, keys):
    """serve(moment, plan) -> a server whose clock stands there, and a key of it."""
    def make(moment, plan=ROOMY):
        key = keys.add("acme")
        web = server(plan + confs.location("/v1"), keys=keys, faketime="+0")
        web.clock.freeze(moment)
        return web, key
    return make


def ask(web, key):
    return web.get("/v1/item.json", key=key)


# (the last second of a day, what the next day's day and month have left after one request; 5 and 3 were made before)
ENDS = [
    ((2026, 1, 30, 23, 59, 59), 5 - 1, 9 - 4),
    ((2026, 1, 31, 23, 59, 59), 5 - 1, 9 - 1),
    ((2026, 2, 28, 23, 59, 59), 5 - 1, 9 - 1),
    ((2028, 2, 28, 23, 59, 59), 5 - 1, 9 - 4),
    ((2028, 2, 29, 23, 59, 59), 5 - 1, 9 - 1),
    ((2026, 12, 31, 23, 59, 59), 5 - 1, 9 - 1),
    ((2038, 1, 31, 23, 59, 59), 5 - 1, 9 - 1),
]


@pytest.mark.parametrize("last, day_left, month_left", ENDS, ids=lambda value: "-".join(map(str, value[:3]))
                         if isinstance(value, tuple) else "")
def test_f52_days_and_months_end_as_the_calendar_says(serve, last, day_left, month_left):
    web, key = serve(at(*last))
    next_day = at(*last) + 1
    for made in range(1, 4):
        answer = ask(web, key)
        assert checks.trio(answer) == (5, 5 - made, next_day)
        assert checks.trio(answer, "-Monthly")[:2] == (9, 9 - made)
    web.clock.freeze(next_day)
    answer = ask(web, key)
    assert checks.trio(answer)[:2] == (5, day_left)
    assert checks.trio(answer, "-Monthly")[:2] == (9, month_left)


@pytest.mark.parametrize("before, reset", [((2026, 2, 10), (2026, 3, 1)), ((2028, 2, 10), (2028, 3, 1)),
                                           ((2028, 2, 29), (2028, 3, 1)), ((2026, 12, 31), (2027, 1, 1))])
def test_f52_month_is_as_long_as_it_is(serve, before, reset):
    web, key = serve(at(*before, 12, 0, 0), confs.plan("basic", "month 1/month headers=primary"))
    assert checks.trio(ask(web, key)) == (1, 0, at(*reset, 0, 0, 0))
    refused = ask(web, key)
    assert refused.status == 429
    assert checks.retry_after(refused) == at(*reset, 0, 0, 0) - at(*before, 12, 0, 0)
    web.clock.freeze(at(*reset, 0, 0, 0) - 1)
    assert checks.retry_after(ask(web, key)) == 1
    web.clock.freeze(at(*reset, 0, 0, 0))
    assert ask(web, key).status == 200


def test_f52_clock_an_hour_back_gives_nothing_and_locks_nobody_out(serve):
    noon = at(2026, 5, 5, 12, 0, 0)
    web, key = serve(noon, PLAN)
    assert [ask(web, key).status for _ in range(4)] == [200, 200, 200, 429]
    web.clock.freeze(noon - 3600)
    refused = ask(web, key)
    assert refused.status == 429 and checks.retry_after(refused) <= 2 * 70
    web.clock.advance(checks.retry_after(refused))
    answer = ask(web, key)
    assert answer.status == 200 and checks.trio(answer).remaining == 1, "the day forgot what was counted"


def test_f52_clock_an_hour_back_over_midnight_is_still_the_new_day(serve):
    midnight = at(2026, 5, 6, 0, 0, 0)
    web, key = serve(midnight + 600)
    for _ in range(3):
        ask(web, key)
    web.clock.freeze(midnight - 3000)
    assert checks.trio(ask(web, key)).remaining == 1
    web.clock.freeze(midnight + 700)
    assert checks.trio(ask(web, key))[:2] == (5, 0)
    assert ask(web, key).status == 429


def test_f52_clock_an_hour_forth_ends_windows_and_no_more(serve):
    noon = at(2026, 5, 5, 12, 0, 0)
    web, key = serve(noon, PLAN)
    assert [ask(web, key).status for _ in range(4)] == [200, 200, 200, 429]
    web.clock.freeze(noon + 3600)
    answers = [ask(web, key) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    checks.assert_problem(answers[2], 429, **{"violated-policies": ["day"]})


def test_f52_leap_second_that_a_clock_repeats_is_one_second_twice(serve):
    """23:59:60 has no number of its own: the kernel shows 23:59:59 twice, after it showed the next day or not."""
    last = at(2016, 12, 31, 23, 59, 59)
    web, key = serve(last)
    assert [checks.trio(ask(web, key)).remaining for _ in range(2)] == [4, 3]
    web.clock.freeze(last)  # once more
    assert [checks.trio(ask(web, key)).remaining for _ in range(2)] == [2, 1]
    web.clock.freeze(last + 1)
    assert checks.trio(ask(web, key)) == (5, 4, last + 1 + 86400)
    web.clock.freeze(last)  # stepped back from the new year
    answer = ask(web, key)
    assert checks.trio(answer).remaining == 3 and checks.trio(answer, "-Monthly").remaining == 9 - 2
    web.clock.freeze(last + 1)
    assert checks.trio(ask(web, key))[:2] == (5, 2)


def test_f52_2038_is_a_year_like_others(serve):
    end = 1 << 31  # 2038-01-19 03:14:08 UTC
    web, key = serve(end - 1)
    day_end = at(2038, 1, 20, 0, 0, 0)
    assert checks.trio(ask(web, key)) == (5, 4, day_end)
    web.clock.freeze(end)
    assert checks.trio(ask(web, key)) == (5, 3, day_end)
    web.restart()
    web.clock.freeze(end + 1)
    answer = ask(web, key)
    assert checks.trio(answer) == (5, 2, day_end)
    assert checks.trio(answer, "-Monthly") == (9, 6, at(2038, 2, 1, 0, 0, 0))
