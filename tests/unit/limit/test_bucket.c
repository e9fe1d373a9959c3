/* SPDX-License-Identifier: Apache-2.0 */
/* Token buckets: the arithmetic of their words; what a rate that changes does; months on another day; overrides. */
#include "limit/bucket.h"
#include "limit/plan.h"
#include "unit/fixture.h"

#include <apr_strings.h>

#define NOON INT64_C(1795350050000)

static const aq_hash_secret_t SECRET = {.bytes = {1, 2, 3}};

/* A bucket's two words, as a store keeps them. */
typedef struct {
    uint64_t words[AQ_BUCKET_WORDS];
} kept_t;

static uint64_t used(const aq_bucket_t *bucket, kept_t kept, aq_time_ms_t now_ms)
{
    return aq_bucket_look(bucket, kept.words, now_ms).used;
}

/* Charges as a store does; word 0 is then what a receipt holds. */
static uint64_t charge(const aq_bucket_t *bucket, kept_t *kept, uint32_t cost, aq_time_ms_t now_ms)
{
    const uint64_t charged = aq_bucket_add(bucket, kept->words, cost, now_ms);

    kept->words[0] = charged;
    kept->words[1] = aq_bucket_count_word(bucket, kept->words[1]);
    return charged;
}

static kept_t given_back(const aq_bucket_t *bucket, kept_t kept, uint64_t after, uint32_t cost, aq_time_ms_t now_ms)
{
    kept.words[0] = aq_bucket_give_back(bucket, kept.words, after, cost, now_ms);
    return kept;
}

/* COUNT tokens take PERIOD: to the unit where COUNT allows, else rounded up. */
START_TEST(token_is_as_long_as_the_rate_says)
{
    static const struct {
        uint64_t count;
        uint32_t period_s;
        int is_exact;
    } rates[] = {{1, 1, 1},     {6, 1, 1},           {7, 1, 1},       {1000, 1, 1},        {8389, 1, 1},
                 {10007, 1, 1}, {99999, 1, 1},       {99991, 1, 1},   {1, 86400 * 366, 1}, {60, 3600, 1},
                 {11, 3600, 1}, {9999991, 86400, 0}, {999983, 60, 1}, {1000, 60, 1},       {5999993, 60, 0}};

    for (unsigned i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        const aq_bucket_t bucket = aq_bucket(rates[i].count, rates[i].period_s, 1);
        const uint64_t period = (uint64_t)rates[i].period_s * 6 * bucket.fraction;

        ck_assert_uint_ge((uint64_t)bucket.token * rates[i].count, period);
        ck_assert_uint_lt((uint64_t)(bucket.token - 1) * rates[i].count, period);
        ck_assert_int_eq((uint64_t)bucket.token * rates[i].count == period, rates[i].is_exact);
        ck_assert_uint_le(bucket.fraction, 1u << 22);
        ck_assert_uint_gt(bucket.fraction, 1u << 21);
    }
}
END_TEST

START_TEST(burst_comes_at_once_and_the_rest_evenly)
{
    const aq_bucket_t bucket = aq_bucket(10, 1, 4);
    kept_t kept = {{0}};

    for (unsigned i = 0; i < 4; i++) {
        ck_assert_uint_eq(used(&bucket, kept, NOON), i);
        (void)charge(&bucket, &kept, 1, NOON);
    }
    ck_assert_uint_eq(used(&bucket, kept, NOON), 4);
    ck_assert_int_eq(aq_bucket_fits_at(&bucket, kept.words, NOON, 4, 1), NOON + 100);
    ck_assert_uint_eq(used(&bucket, kept, NOON + 99), 4);
    ck_assert_uint_eq(used(&bucket, kept, NOON + 100), 3);
    ck_assert_int_eq(aq_bucket_fits_at(&bucket, kept.words, NOON, 4, 4), NOON + 400);
    ck_assert_int_eq(aq_bucket_fits_at(&bucket, kept.words, NOON, 0, 0), NOON + 400);
    ck_assert_uint_eq(used(&bucket, kept, NOON + 400), 0);
    ck_assert_int_eq(aq_bucket_fill_s(&bucket), 1);
}
END_TEST

/* What is asked for again as soon as it fits is COUNT a period, for ever: no rounding adds up. */
START_TEST(a_million_tokens_come_in_their_time)
{
    static const uint64_t counts[] = {7, 997, 1000, 8389, 10007};

    for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        const aq_bucket_t bucket = aq_bucket(counts[i], 1, counts[i]);
        aq_time_ms_t now_ms = NOON;
        kept_t kept = {{0}};

        for (uint64_t taken = 0; taken < 1000000; taken += counts[i]) {
            now_ms = aq_bucket_fits_at(&bucket, kept.words, now_ms, counts[i], (uint32_t)counts[i]);
            ck_assert_int_eq(now_ms, NOON + (int64_t)(taken / counts[i]) * 1000);
            (void)charge(&bucket, &kept, (uint32_t)counts[i], now_ms);
        }
    }
}
END_TEST

START_TEST(given_back_is_what_has_not_drained)
{
    const aq_bucket_t bucket = aq_bucket(6, 1, 12);
    kept_t kept = {{0}};
    const uint64_t first = charge(&bucket, &kept, 6, NOON);
    const kept_t one = kept;
    const uint64_t second = charge(&bucket, &kept, 6, NOON + 500);

    /* Half of the first charge has drained by then, all of it after a second. */
    ck_assert_uint_eq(used(&bucket, kept, NOON + 500), 9);
    ck_assert_uint_eq(used(&bucket, given_back(&bucket, kept, first, 6, NOON + 500), NOON + 500), 6);
    ck_assert_uint_eq(used(&bucket, given_back(&bucket, kept, first, 6, NOON + 1000), NOON + 1000), 6);
    ck_assert_uint_eq(used(&bucket, given_back(&bucket, kept, second, 6, NOON + 500), NOON + 500), 3);
    ck_assert_uint_eq(given_back(&bucket, one, first, 6, NOON + 1000).words[0], first);
}
END_TEST

static const struct {
    uint64_t from, to;
} changes[] = {{60, 6000}, {6000, 60}, {60, 120}, {100, 1}, {7, 997}, {100, 103}, {103, 100}};

#define CHANGES (int)(sizeof(changes) / sizeof(changes[0]))

/* Design/3: without rescaling, 60 an hour and then 6,000 locks a caller who used all up out for an hour. */
START_TEST(another_rate_rescales_what_is_used_exactly)
{
    const aq_bucket_t old = aq_bucket(changes[_i].from, 3600, 1000);
    const aq_bucket_t fresh = aq_bucket(changes[_i].to, 3600, 1000);
    kept_t kept = {{0}};
    const uint64_t after = charge(&old, &kept, 320, NOON);
    aq_bucket_look_t look = aq_bucket_look(&fresh, kept.words, NOON);

    ck_assert_uint_eq(look.mended, 3);
    ck_assert_uint_eq(look.used, 320);
    look = aq_bucket_look(&fresh, kept.words, NOON);
    ck_assert_uint_eq(look.mended, 0);
    ck_assert_uint_eq(look.used, 320);
    /* A token of the new rate later, exactly. */
    ck_assert_int_eq(aq_bucket_fits_at(&fresh, kept.words, NOON, 320, 1),
                     NOON + (INT64_C(3600000) + (int64_t)changes[_i].to - 1) / (int64_t)changes[_i].to);
    /* Who was charged by the old rate gets as many tokens back. */
    ck_assert_uint_eq(used(&fresh, given_back(&old, kept, after, 320, NOON), NOON), 0);
}
END_TEST

/* A process that was killed between the two words, whichever it wrote first. */
START_TEST(words_that_do_not_belong_together_are_taken_for_what_the_code_says)
{
    const aq_bucket_t old = aq_bucket(changes[_i].from, 3600, 1000);
    const aq_bucket_t fresh = aq_bucket(changes[_i].to, 3600, 1000);
    kept_t kept = {{0}};
    kept_t torn;
    aq_bucket_look_t look;

    (void)charge(&old, &kept, 320, NOON);
    torn = kept;
    torn.words[1] = aq_bucket_count_word(&fresh, kept.words[1]);
    look = aq_bucket_look(&fresh, torn.words, NOON);
    ck_assert_uint_le(look.used, 342);
    ck_assert(look.used >= 320 || old.code == fresh.code);
    (void)aq_bucket_look(&fresh, kept.words, NOON);
    kept.words[1] = aq_bucket_count_word(&old, kept.words[1]);
    look = aq_bucket_look(&fresh, kept.words, NOON);
    ck_assert_uint_le(look.used, 342);
    ck_assert(look.used >= 320 || old.code == fresh.code);
    ck_assert_uint_eq(aq_bucket_look(&fresh, kept.words, NOON).mended, 0);
}
END_TEST

START_TEST(smaller_bucket_is_full_and_drains)
{
    const aq_bucket_t large = aq_bucket(1, 1, 3600);
    const aq_bucket_t small = aq_bucket(1, 1, 10);
    kept_t kept = {{0}};

    (void)charge(&large, &kept, 3000, NOON);
    ck_assert_uint_eq(aq_bucket_look(&small, kept.words, NOON).used, 10);
    ck_assert_int_eq(aq_bucket_fits_at(&small, kept.words, NOON, 10, 1), NOON + 1000);
    ck_assert_uint_eq(used(&small, kept, NOON + 10000), 0);
}
END_TEST

START_TEST(step_back_neither_gives_nor_locks_out)
{
    const aq_bucket_t bucket = aq_bucket(1, 1, 5);

    for (aq_time_ms_t back_ms = 1; back_ms < INT64_C(40000000000); back_ms *= 7) {
        kept_t kept = {{0}};

        (void)charge(&bucket, &kept, 5, NOON);
        ck_assert_uint_eq(aq_bucket_look(&bucket, kept.words, NOON - back_ms).used, 5);
        ck_assert_int_le(aq_bucket_fits_at(&bucket, kept.words, NOON - back_ms, 5, 1),
                         NOON - back_ms + 1000 + AQ_BUCKET_SKEW_S * INT64_C(1000));
    }
}
END_TEST

START_TEST(arithmetic_goes_on_where_the_word_wraps)
{
    /* 3 * 2^32 sixths of a second are 2^31 seconds. */
    const aq_time_ms_t wrap_ms = (INT64_C(1) << 31) * 1000;
    const aq_bucket_t bucket = aq_bucket(6, 1, 60);
    kept_t kept = {{0}};

    (void)charge(&bucket, &kept, 60, wrap_ms - 5000);
    for (aq_time_ms_t later_ms = 0; later_ms <= 10000; later_ms += 500) {
        ck_assert_uint_eq(used(&bucket, kept, wrap_ms - 5000 + later_ms), 60 - (uint64_t)later_ms * 6 / 1000);
    }
}
END_TEST

static aq_limit_t *limit_of(const char *text)
{
    char *rest;
    const char *words[] = {"x", NULL, NULL, NULL};
    char *word = apr_strtok(apr_pstrdup(fixture_pool, text), " ", &rest);
    const char *error;
    aq_limit_t *limit;
    int count = 1;

    for (; word != NULL; word = apr_strtok(NULL, " ", &rest)) {
        words[count++] = word;
    }
    ck_assert_msg(aq_limit_parse(fixture_pool, words, count, &limit, &error) == APR_SUCCESS, "%s", error);
    aq_limit_identify(limit, &SECRET);
    return limit;
}

static const aq_limit_t *overridden(const char *text, const char *override)
{
    apr_array_header_t *limits = apr_array_make(fixture_pool, 1, sizeof(const aq_limit_t *));
    apr_hash_t *overrides = apr_hash_make(fixture_pool);
    apr_array_header_t *result;
    const char *error;

    APR_ARRAY_PUSH(limits, const aq_limit_t *) = limit_of(text);
    apr_hash_set(overrides, "x", APR_HASH_KEY_STRING, override);
    ck_assert_msg(aq_limits_override(fixture_pool, limits, overrides, AQ_PER_KEY, &SECRET, &result, &error) ==
                      APR_SUCCESS,
                  "%s", error);
    return APR_ARRAY_IDX(result, 0, const aq_limit_t *);
}

START_TEST(override_says_the_burst_or_has_it_grow_with_the_rate)
{
    static const struct {
        const char *text, *override;
        aq_algorithm_t algorithm;
        uint64_t capacity;
        int is_same_counter;
    } cases[] = {
        {"100/second burst=200", "200/second burst=300", AQ_ALGORITHM_TOKEN_BUCKET, 300, 1},
        {"100/second burst=200", "200/second", AQ_ALGORITHM_TOKEN_BUCKET, 400, 1},
        {"3/second burst=5", "2/second", AQ_ALGORITHM_TOKEN_BUCKET, 4, 1},
        {"100/second burst=1", "1/second", AQ_ALGORITHM_TOKEN_BUCKET, 1, 1},
        {"100/second burst=200", "200/minute", AQ_ALGORITHM_SLIDING, 200, 0},
        {"100/second burst=200", "unlimited/second", AQ_ALGORITHM_SLIDING, AQ_RATE_COUNT_MAX, 0},
        {"100/second", "100/second burst=5", AQ_ALGORITHM_TOKEN_BUCKET, 5, 0},
        {"100/day algorithm=sliding", "7/day", AQ_ALGORITHM_SLIDING, 7, 1},
        {"5/concurrent", "7/concurrent", AQ_ALGORITHM_CONCURRENT, 7, 1},
        {"5/month anchor=15", "7/month", AQ_ALGORITHM_FIXED, 7, 1},
        {"5/month anchor=15", "7/month anchor=16", AQ_ALGORITHM_FIXED, 7, 0},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const aq_limit_t *limit = overridden(cases[i].text, cases[i].override);
        const aq_limit_t *plain = limit_of(cases[i].text);

        ck_assert_int_eq(limit->window.algorithm, cases[i].algorithm);
        ck_assert_uint_eq(limit->capacity, cases[i].capacity);
        ck_assert_msg((memcmp(&limit->identity, &plain->identity, sizeof(plain->identity)) == 0) ==
                          cases[i].is_same_counter,
                      "%s, %s", cases[i].text, cases[i].override);
    }
}
END_TEST

static aq_time_ms_t time_of(const char *text)
{
    aq_time_ms_t ms;

    ck_assert_int_eq(aq_clock_rfc3339_parse(apr_pstrcat(fixture_pool, text, "T00:00:00Z", NULL), &ms), APR_SUCCESS);
    return ms;
}

START_TEST(anchored_month_begins_on_its_day_or_the_last_of_a_shorter_month)
{
    static const struct {
        int day;
        const char *within, *begins, *ends;
    } months[] = {
        {15, "2026-11-22", "2026-11-15", "2026-12-15"}, {15, "2026-11-15", "2026-11-15", "2026-12-15"},
        {15, "2026-11-14", "2026-10-15", "2026-11-15"}, {1, "2026-11-30", "2026-11-01", "2026-12-01"},
        {31, "2027-02-27", "2027-01-31", "2027-02-28"}, {31, "2027-02-28", "2027-02-28", "2027-03-31"},
        {31, "2027-04-30", "2027-04-30", "2027-05-31"}, {30, "2028-02-29", "2028-02-29", "2028-03-30"},
        {29, "2027-02-28", "2027-02-28", "2027-03-29"}, {31, "2027-01-01", "2026-12-31", "2027-01-31"},
    };

    for (unsigned i = 0; i < sizeof(months) / sizeof(months[0]); i++) {
        const char *text = apr_psprintf(fixture_pool, "5/month anchor=%d", months[i].day);
        const aq_window_t *window = &limit_of(text)->window;
        const aq_time_ms_t now_ms = time_of(months[i].within);
        const aq_time_ms_t begins_ms = time_of(months[i].begins);
        const aq_time_ms_t ends_ms = time_of(months[i].ends);
        const uint32_t start = aq_window_locate(window, now_ms).start;

        ck_assert_int_eq(aq_window_end_ms(window, now_ms), ends_ms);
        ck_assert_int_eq(aq_window_length_s(window, now_ms), (ends_ms - begins_ms) / 1000);
        ck_assert_uint_eq(start, aq_window_locate(window, begins_ms).start);
        ck_assert_uint_eq(start, aq_window_locate(window, ends_ms - 1).start);
        ck_assert_uint_ne(start, aq_window_locate(window, begins_ms - 1).start);
        ck_assert_uint_ne(start, aq_window_locate(window, ends_ms).start);
    }
}
END_TEST

START_TEST(tenants_billing_day_takes_the_place_of_anchor_tenant)
{
    apr_array_header_t *limits = apr_array_make(fixture_pool, 2, sizeof(const aq_limit_t *));
    apr_array_header_t *anchored;

    APR_ARRAY_PUSH(limits, const aq_limit_t *) = limit_of("5/day");
    ck_assert_ptr_eq(aq_limits_anchor(fixture_pool, limits, 15, &SECRET), limits);
    APR_ARRAY_PUSH(limits, const aq_limit_t *) = limit_of("5/month anchor=tenant");
    anchored = aq_limits_anchor(fixture_pool, limits, 15, &SECRET);
    ck_assert_ptr_ne(anchored, limits);
    ck_assert_ptr_eq(APR_ARRAY_IDX(anchored, 0, const aq_limit_t *), APR_ARRAY_IDX(limits, 0, const aq_limit_t *));
    ck_assert_mem_eq(&APR_ARRAY_IDX(anchored, 1, const aq_limit_t *)->identity,
                     &limit_of("5/month anchor=15")->identity, sizeof(aq_hash128_t));
    ck_assert_int_eq(APR_ARRAY_IDX(limits, 1, const aq_limit_t *)->window.anchor, AQ_ANCHOR_TENANT);
    anchored = aq_limits_anchor(fixture_pool, limits, 1, &SECRET);
    ck_assert_mem_eq(&APR_ARRAY_IDX(anchored, 1, const aq_limit_t *)->identity, &limit_of("5/month")->identity,
                     sizeof(aq_hash128_t));
}
END_TEST

START_TEST(subjects_of_two_parts_never_meet)
{
    const aq_hash128_t a = aq_subject_hash(&SECRET, AQ_PER_TENANT, "a");
    const aq_hash128_t ab = aq_subject_hash(&SECRET, AQ_PER_TENANT, "a/b");
    const aq_hash128_t c = aq_subject_hash(&SECRET, AQ_PER_ENDPOINT, "/c");
    const aq_hash128_t bc = aq_subject_hash(&SECRET, AQ_PER_ENDPOINT, "b/c");
    const aq_hash128_t joined = aq_subject_join(&SECRET, AQ_PER_TENANT_ENDPOINT, &a, &bc);
    const aq_hash128_t others[] = {aq_subject_join(&SECRET, AQ_PER_TENANT_ENDPOINT, &ab, &c),
                                   aq_subject_join(&SECRET, AQ_PER_TENANT_ENDPOINT, &bc, &a),
                                   aq_subject_hash(&SECRET, AQ_PER_TENANT, "ab/c"), a, bc};

    for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        ck_assert_mem_ne(&joined, &others[i], sizeof(joined));
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, token_is_as_long_as_the_rate_says);
    tcase_add_test(tests, burst_comes_at_once_and_the_rest_evenly);
    tcase_add_test(tests, a_million_tokens_come_in_their_time);
    tcase_add_test(tests, given_back_is_what_has_not_drained);
    tcase_add_loop_test(tests, another_rate_rescales_what_is_used_exactly, 0, CHANGES);
    tcase_add_loop_test(tests, words_that_do_not_belong_together_are_taken_for_what_the_code_says, 0, CHANGES);
    tcase_add_test(tests, smaller_bucket_is_full_and_drains);
    tcase_add_test(tests, step_back_neither_gives_nor_locks_out);
    tcase_add_test(tests, arithmetic_goes_on_where_the_word_wraps);
    tcase_add_test(tests, override_says_the_burst_or_has_it_grow_with_the_rate);
    tcase_add_test(tests, anchored_month_begins_on_its_day_or_the_last_of_a_shorter_month);
    tcase_add_test(tests, tenants_billing_day_takes_the_place_of_anchor_tenant);
    tcase_add_test(tests, subjects_of_two_parts_never_meet);
}

int main(void)
{
    return fixture_run("buckets and anchors", add);
}
