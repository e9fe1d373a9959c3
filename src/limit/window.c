/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows: the arithmetic of counters. See window.h for the words and design of the windows.
 *
 * Sliding windows are computed in sixths of a millisecond, in which a sub-window of P seconds / 6 has the whole length
 * 1,000 * P: so that no rounding but the one written down takes place. Sub-window k begins at k * 1,000 * P of them.
 */
#include "limit/window.h"

#include <stddef.h>

#define TICKS_PER_S 6
#define SIXTHS_PER_MS 6

/* What only a clock that stepped back leads to is kept out of the way of the rest. */
#define RARE __attribute__((cold, noinline))
/* Kept apart from others, so that each pays for the registers that it needs itself. */
#define APART __attribute__((noinline))

__extension__ typedef unsigned __int128 uint128;

static uint32_t word_start(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static uint32_t word_count(uint64_t word)
{
    return (uint32_t)word;
}

static uint64_t word_make(uint32_t start, uint64_t count)
{
    return (uint64_t)start << 32 | (count < UINT32_MAX ? count : UINT32_MAX);
}

/* How far `start` lies ahead of `now` (both in ticks); negative: behind. Serial number arithmetic. */
static int32_t ticks_ahead(uint32_t start, uint32_t now)
{
    return (int32_t)(start - now);
}

/* ceil(a * b / c), also where a * b has more than 64 bits. */
static uint64_t scale_up(uint64_t a, uint64_t b, uint64_t c)
{
    if (((a | b | c) >> 32) == 0) {
        return (a * b + c - 1) / c;
    }
    return (uint64_t)(((uint128)a * b + c - 1) / c);
}

/* The length of a sub-window in sixths of a millisecond. */
static uint64_t sub_length(const aq_window_t *window)
{
    return (uint64_t)window->period_s * AQ_MS_PER_S;
}

/* The number of the sub-window that holds `now_ms`. */
static uint64_t sub_number(const aq_window_t *window, aq_time_ms_t now_ms)
{
    return (uint64_t)now_ms * SIXTHS_PER_MS / sub_length(window);
}

/* The first whole millisecond that lies in sub-window `number`, or `into` sixths of a millisecond behind its start. */
static aq_time_ms_t sub_time_ms(const aq_window_t *window, uint64_t number, uint64_t into)
{
    return (aq_time_ms_t)((number * sub_length(window) + into + SIXTHS_PER_MS - 1) / SIXTHS_PER_MS);
}

static aq_window_place_t sub_place(const aq_window_t *window, uint64_t number, aq_time_ms_t now_ms)
{
    return (aq_window_place_t){
        .start = (uint32_t)(number * window->period_s),
        .length = window->period_s,
        .index = (unsigned)(number % AQ_WINDOW_WORDS),
        .now_ms = now_ms,
    };
}

/* The count of sub-window `number`, 0 where its word holds another one. */
static uint32_t sub_count(const aq_window_t *window, const uint64_t words[AQ_WINDOW_WORDS], uint64_t number)
{
    uint64_t word = words[number % AQ_WINDOW_WORDS];

    return word_start(word) == (uint32_t)(number * window->period_s) ? word_count(word) : 0;
}

/* What the words of a sliding window hold, seen from one of its sub-windows. */
typedef struct {
    uint64_t used;
    uint32_t behind_any; /* negative, taken as signed, where a word may name a sub-window of the future */
    uint32_t due;        /* so many ticks behind the present the next word must be */
} sliding_sum_t;

static inline void word_sum(sliding_sum_t *sum, const aq_window_place_t *place, uint64_t word)
{
    const uint32_t behind = place->start - word_start(word);

    sum->used += behind == sum->due ? word_count(word) : 0;
    sum->behind_any |= behind;
    sum->due = sum->due != 0 ? sum->due - place->length : AQ_WINDOW_SUBS * place->length;
}

/* What is used at `place`, `into` sixths of a millisecond after the start of its sub-window. Each word has one due age. */
static inline sliding_sum_t sliding_sum(const uint64_t words[AQ_WINDOW_WORDS], const aq_window_place_t *place,
                                        uint64_t length, uint64_t into)
{
    const uint64_t oldest = words[place->index + 1 < AQ_WINDOW_WORDS ? place->index + 1 : 0];
    sliding_sum_t sum = {.due = place->index * place->length};

    word_sum(&sum, place, words[0]);
    word_sum(&sum, place, words[1]);
    word_sum(&sum, place, words[2]);
    word_sum(&sum, place, words[3]);
    word_sum(&sum, place, words[4]);
    word_sum(&sum, place, words[5]);
    word_sum(&sum, place, words[6]);
    if (place->start - word_start(oldest) == AQ_WINDOW_SUBS * place->length && word_count(oldest) != 0) {
        sum.used -= word_count(oldest) - scale_up(word_count(oldest), length - into, length);
    }
    return sum;
}

/*
 * A word that lies more than one period ahead becomes the sub-window from `place` on that its index stands for: it then
 * counts for a whole period at least, so that nothing is given away. A start that no such word can have stays.
 */
static uint64_t sliding_mend(const aq_window_place_t *place, unsigned index, uint64_t word)
{
    const int32_t ahead = ticks_ahead(word_start(word), place->start);
    const int32_t length = (int32_t)place->length;
    const unsigned later = (index + AQ_WINDOW_WORDS - place->index) % AQ_WINDOW_WORDS;

    if (word_count(word) == 0 || ahead / length <= AQ_WINDOW_SUBS || ahead % length != 0 ||
        (unsigned)(ahead / length) % AQ_WINDOW_WORDS != later) {
        return word;
    }
    return word_make(place->start + later * place->length, word_count(word));
}

/* Goes on with a look where words lie ahead: the newest of them, once they are mended, is the present. */
RARE static void sliding_look_ahead(const aq_window_t *window, uint64_t words[AQ_WINDOW_WORDS], uint64_t number,
                                    aq_window_look_t *look)
{
    const aq_window_place_t present = look->place;
    const uint64_t length = sub_length(window);
    uint64_t newest = number;
    uint64_t into;

    for (unsigned i = 0; i < AQ_WINDOW_WORDS; i++) {
        const uint64_t mended = sliding_mend(&present, i, words[i]);

        look->mended |= (unsigned)(mended != words[i]) << i;
        words[i] = mended;
    }
    for (uint64_t n = number + 1; n <= number + AQ_WINDOW_SUBS; n++) {
        if (sub_count(window, words, n) != 0) {
            newest = n;
        }
    }
    if (newest != number) {
        look->place = sub_place(window, newest, sub_time_ms(window, newest, 0));
    }
    look->used = 0;
    for (unsigned age = 0; age < AQ_WINDOW_SUBS; age++) {
        look->used += sub_count(window, words, newest - age);
    }
    into = (uint64_t)look->place.now_ms * SIXTHS_PER_MS - newest * length;
    look->used += scale_up(sub_count(window, words, newest - AQ_WINDOW_SUBS), length - into, length);
}

APART static void sliding_look(const aq_window_t *window, uint64_t words[AQ_WINDOW_WORDS], aq_time_ms_t now_ms,
                               aq_window_look_t *look)
{
    const uint64_t length = sub_length(window);
    const uint64_t sixths = (uint64_t)now_ms * SIXTHS_PER_MS;
    const uint64_t number = sixths / length;
    sliding_sum_t sum;

    look->place = sub_place(window, number, now_ms);
    look->mended = 0;
    sum = sliding_sum(words, &look->place, length, sixths % length);
    look->used = sum.used;
    if ((int32_t)sum.behind_any < 0) {
        sliding_look_ahead(window, words, number, look);
    }
}

/*
 * The walk of design/3: ask sub-window after sub-window. In the one that is `later` from now, `out` slides out and
 * `whole` counts in full; the rest of the room is what may be left of `out`.
 */
static aq_time_ms_t sliding_fits_at(const aq_window_t *window, const uint64_t words[AQ_WINDOW_WORDS],
                                    aq_time_ms_t now_ms, uint64_t room)
{
    const uint64_t number = sub_number(window, now_ms);
    uint64_t whole = 0;

    for (unsigned age = 0; age < AQ_WINDOW_SUBS; age++) {
        whole += sub_count(window, words, number - age);
    }
    for (uint64_t later = 0; later <= AQ_WINDOW_SUBS; later++) {
        uint64_t out = sub_count(window, words, number + later - AQ_WINDOW_SUBS);

        whole -= later != 0 ? out : 0;
        if (whole <= room) {
            uint64_t left = room - whole;
            uint64_t into = left < out ? scale_up(sub_length(window), out - left, out) : 0;
            aq_time_ms_t at_ms = sub_time_ms(window, number + later, into);

            return at_ms > now_ms ? at_ms : now_ms;
        }
    }
    return AQ_TIME_NEVER;
}

static uint32_t ticks_at(aq_time_ms_t time_ms)
{
    return (uint32_t)((uint64_t)(time_ms / AQ_MS_PER_S) * TICKS_PER_S);
}

/* The first millisecond of the fixed window that lies `later` (0 or 1) windows behind the one that holds `now_ms`. */
static aq_time_ms_t fixed_start_ms(const aq_window_t *window, aq_time_ms_t now_ms, int later)
{
    const aq_time_ms_t period_ms = (aq_time_ms_t)window->period_s * AQ_MS_PER_S;

    if (window->period == AQ_PERIOD_MONTH) {
        return aq_clock_anchored_month_start_ms(now_ms, later, aq_window_first_day(window));
    }
    return now_ms - now_ms % period_ms + later * period_ms;
}

static aq_window_place_t month_place(const aq_window_t *window, aq_time_ms_t now_ms)
{
    const uint32_t start = ticks_at(fixed_start_ms(window, now_ms, 0));

    return (aq_window_place_t){
        .start = start,
        .length = ticks_at(fixed_start_ms(window, now_ms, 1)) - start,
        .now_ms = now_ms,
    };
}

static inline aq_window_place_t seconds_place(const aq_window_t *window, aq_time_ms_t now_ms)
{
    const uint64_t now_s = (uint64_t)now_ms / AQ_MS_PER_S;

    return (aq_window_place_t){
        .start = (uint32_t)((now_s - now_s % window->period_s) * TICKS_PER_S),
        .length = window->period_s * TICKS_PER_S,
        .now_ms = now_ms,
    };
}

static aq_window_place_t fixed_place(const aq_window_t *window, aq_time_ms_t now_ms)
{
    return window->period == AQ_PERIOD_MONTH ? month_place(window, now_ms) : seconds_place(window, now_ms);
}

/* 1 where `start` is a window's start, given that `place` is one. */
static int fixed_start_is_valid(const aq_window_t *window, const aq_window_place_t *place, uint32_t start)
{
    const int32_t ahead = ticks_ahead(start, place->start);
    aq_time_ms_t start_ms;

    if (window->period != AQ_PERIOD_MONTH) {
        return ahead % (int32_t)place->length == 0;
    }
    start_ms = fixed_start_ms(window, place->now_ms, 0) + ahead / TICKS_PER_S * AQ_MS_PER_S;
    return ahead % TICKS_PER_S == 0 && fixed_start_ms(window, start_ms, 0) == start_ms;
}

/* Goes on with a look where the word lies ahead: in the next window, which is then the present; or further: mended. */
RARE static void fixed_look_ahead(const aq_window_t *window, uint64_t *word, aq_window_look_t *look)
{
    const aq_window_place_t present = look->place;

    if (word_start(*word) == present.start + present.length) {
        look->place = fixed_place(window, fixed_start_ms(window, present.now_ms, 1));
    } else if (fixed_start_is_valid(window, &present, word_start(*word))) {
        *word = word_make(present.start, word_count(*word));
        look->mended = 1;
    } else {
        return;
    }
    look->used = word_count(*word);
}

/* The look at the word of a fixed window, given its place. */
static inline void fixed_look(const aq_window_t *window, uint64_t *word, aq_window_look_t *look)
{
    look->mended = 0;
    look->used = word_start(*word) == look->place.start ? word_count(*word) : 0;
    if (look->used == 0 && word_count(*word) != 0 && ticks_ahead(word_start(*word), look->place.start) > 0) {
        fixed_look_ahead(window, word, look);
    }
}

APART static void month_look(const aq_window_t *window, uint64_t *word, aq_time_ms_t now_ms, aq_window_look_t *look)
{
    look->place = month_place(window, now_ms);
    fixed_look(window, word, look);
}

aq_window_place_t aq_window_locate(const aq_window_t *window, aq_time_ms_t now_ms)
{
    switch (window->algorithm) {
    case AQ_ALGORITHM_SLIDING:
        return sub_place(window, sub_number(window, now_ms), now_ms);
    case AQ_ALGORITHM_FIXED:
        return fixed_place(window, now_ms);
    case AQ_ALGORITHM_TOKEN_BUCKET:
    case AQ_ALGORITHM_CONCURRENT:
        return (aq_window_place_t){.start = ticks_at(now_ms), .now_ms = now_ms};
    case AQ_ALGORITHM_TOTAL:
        break;
    }
    return (aq_window_place_t){.now_ms = now_ms};
}

static void bucket_look(const aq_window_t *window, uint64_t *words, aq_time_ms_t now_ms, aq_window_look_t *look)
{
    const aq_bucket_look_t seen = aq_bucket_look(&window->bucket, words, now_ms);

    look->used = seen.used;
    look->mended = seen.mended;
    look->place = aq_window_locate(window, now_ms);
}

static void count_look(const aq_window_t *window, const uint64_t *word, aq_time_ms_t now_ms, aq_window_look_t *look)
{
    const int is_total = window->algorithm == AQ_ALGORITHM_TOTAL;

    look->used = is_total && word_start(*word) != 0 ? 0 : word_count(*word);
    look->mended = is_total ? 0 : AQ_LOOK_MEMBERS;
    look->place = aq_window_locate(window, now_ms);
}

/* The look at what has no window that ends. Apart, so that the others do not pay for it. */
APART static void endless_look(const aq_window_t *window, uint64_t *words, aq_time_ms_t now_ms, aq_window_look_t *look)
{
    if (window->algorithm == AQ_ALGORITHM_TOKEN_BUCKET) {
        bucket_look(window, words, now_ms, look);
    } else {
        count_look(window, words, now_ms, look);
    }
}

void aq_window_look(const aq_window_t *window, uint64_t words[AQ_WINDOW_WORDS], aq_time_ms_t now_ms,
                    aq_window_look_t *look)
{
    if (window->algorithm == AQ_ALGORITHM_SLIDING) {
        sliding_look(window, words, now_ms, look);
    } else if (window->algorithm != AQ_ALGORITHM_FIXED) {
        endless_look(window, words, now_ms, look);
    } else if (window->period == AQ_PERIOD_MONTH) {
        month_look(window, words, now_ms, look);
    } else {
        look->place = seconds_place(window, now_ms);
        fixed_look(window, words, look);
    }
}

uint64_t aq_window_word_charge(const aq_window_t *window, const aq_window_place_t *place,
                               const uint64_t words[AQ_WINDOW_WORDS], uint32_t cost)
{
    const uint64_t word = words[place->index];

    switch (window->algorithm) {
    case AQ_ALGORITHM_TOKEN_BUCKET:
        return aq_bucket_add(&window->bucket, words, cost, place->now_ms);
    case AQ_ALGORITHM_CONCURRENT:
        return word_make(place->start, (uint64_t)word_count(word) + 1);
    case AQ_ALGORITHM_FIXED:
    case AQ_ALGORITHM_SLIDING:
    case AQ_ALGORITHM_TOTAL:
        break;
    }
    return aq_window_word_add(place, word, cost);
}

uint64_t aq_window_word_give_back(uint64_t word, uint32_t start, uint32_t cost)
{
    uint32_t count = word_count(word);

    if (word_start(word) != start) {
        return word;
    }
    return word_make(start, count > cost ? count - cost : 0);
}

uint64_t aq_window_word_uncharge(const aq_window_t *window, uint64_t word, uint64_t second, uint64_t after,
                                 uint32_t cost, aq_time_ms_t now_ms)
{
    if (window->algorithm == AQ_ALGORITHM_TOKEN_BUCKET) {
        const uint64_t words[AQ_BUCKET_WORDS] = {word, second};

        return aq_bucket_give_back(&window->bucket, words, after, cost, now_ms);
    }
    if (window->algorithm == AQ_ALGORITHM_CONCURRENT) {
        return aq_window_word_give_back(word, word_start(word), 1);
    }
    return aq_window_word_give_back(word, word_start(after), cost);
}

aq_time_ms_t aq_window_fits_at(const aq_window_t *window, const uint64_t words[AQ_WINDOW_WORDS],
                               const aq_window_look_t *look, uint64_t limit, uint32_t cost)
{
    const aq_time_ms_t now_ms = look->place.now_ms;

    if (window->algorithm == AQ_ALGORITHM_CONCURRENT) {
        return look->used < limit ? now_ms : now_ms + AQ_CONCURRENT_RETRY_MS;
    }
    if (cost > limit) {
        return AQ_TIME_NEVER;
    }
    if (look->used + cost <= limit) {
        return now_ms;
    }
    switch (window->algorithm) {
    case AQ_ALGORITHM_SLIDING:
        return sliding_fits_at(window, words, now_ms, limit - cost);
    case AQ_ALGORITHM_FIXED:
        return fixed_start_ms(window, now_ms, 1);
    case AQ_ALGORITHM_TOKEN_BUCKET:
        return aq_bucket_fits_at(&window->bucket, words, now_ms, limit, cost);
    case AQ_ALGORITHM_TOTAL:
    case AQ_ALGORITHM_CONCURRENT:
        break;
    }
    return AQ_TIME_NEVER;
}

aq_time_ms_t aq_window_full_ms(const aq_window_t *window, const uint64_t words[AQ_WINDOW_WORDS],
                               const aq_window_look_t *look)
{
    return window->algorithm == AQ_ALGORITHM_TOKEN_BUCKET
               ? aq_bucket_fits_at(&window->bucket, words, look->place.now_ms, 0, 0)
               : AQ_TIME_NEVER;
}

int64_t aq_window_length_s(const aq_window_t *window, aq_time_ms_t now_ms)
{
    switch (window->algorithm) {
    case AQ_ALGORITHM_FIXED:
    case AQ_ALGORITHM_SLIDING:
        return (fixed_start_ms(window, now_ms, 1) - fixed_start_ms(window, now_ms, 0)) / AQ_MS_PER_S;
    case AQ_ALGORITHM_TOKEN_BUCKET:
        return aq_bucket_fill_s(&window->bucket);
    case AQ_ALGORITHM_TOTAL:
    case AQ_ALGORITHM_CONCURRENT:
        break;
    }
    return 0;
}

int64_t aq_window_life_s(const aq_window_t *window)
{
    static const int64_t month_s = 31 * AQ_S_PER_DAY;

    switch (window->algorithm) {
    case AQ_ALGORITHM_SLIDING:
        return ((int64_t)window->period_s * AQ_WINDOW_WORDS + AQ_WINDOW_SUBS - 1) / AQ_WINDOW_SUBS;
    case AQ_ALGORITHM_FIXED:
        return window->period == AQ_PERIOD_MONTH ? month_s : (int64_t)window->period_s;
    case AQ_ALGORITHM_TOKEN_BUCKET:
        return 1;
    case AQ_ALGORITHM_TOTAL:
    case AQ_ALGORITHM_CONCURRENT:
        break;
    }
    return INT64_MAX;
}
