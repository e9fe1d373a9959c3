/* SPDX-License-Identifier: Apache-2.0 */
/* Limits as a directive says them, plans, overrides, and what makes two counters the same. */
#include "limit/plan.h"
#include "unit/fixture.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

static const aq_hash_secret_t SECRET = {"one secret"};

/* Parses words separated by spaces; a "_" in them stands for a space. */
static apr_status_t parse(const char *text, aq_limit_t **limit, const char **error)
{
    const char *arguments[8];
    char *rest = apr_pstrdup(fixture_pool, text);
    int count = 0;

    for (char *word; (word = apr_strtok(rest, " ", &rest)) != NULL; count++) {
        for (char *at = word; *at != '\0'; at++) {
            *at = *at == '_' ? ' ' : *at;
        }
        arguments[count] = word;
    }
    return aq_limit_parse(fixture_pool, arguments, count, limit, error);
}

static aq_limit_t *limit_of(const char *text)
{
    const char *error;
    aq_limit_t *limit;

    ck_assert_msg(parse(text, &limit, &error) == APR_SUCCESS, "%s: %s", text, error);
    ck_assert_ptr_null(error);
    aq_limit_identify(limit, &SECRET);
    return limit;
}

static const struct {
    const char *text;
    aq_algorithm_t algorithm;
    aq_per_t per;
    aq_shown_t shown;
    const char *suffix, *message;
} GOOD[] = {
    {"second 5/second", AQ_ALGORITHM_SLIDING, AQ_PER_KEY, AQ_SHOWN_AUTO, NULL, NULL},
    {"minute 300/minute", AQ_ALGORITHM_SLIDING, AQ_PER_KEY, AQ_SHOWN_AUTO, NULL, NULL},
    {"m 300/60s", AQ_ALGORITHM_SLIDING, AQ_PER_KEY, AQ_SHOWN_AUTO, NULL, NULL},
    {"m 300/61s", AQ_ALGORITHM_FIXED, AQ_PER_KEY, AQ_SHOWN_AUTO, NULL, NULL},
    {"day 10000/day", AQ_ALGORITHM_FIXED, AQ_PER_KEY, AQ_SHOWN_AUTO, NULL, NULL},
    {"month 1/month", AQ_ALGORITHM_FIXED, AQ_PER_KEY, AQ_SHOWN_AUTO, NULL, NULL},
    {"all 1/total", AQ_ALGORITHM_TOTAL, AQ_PER_KEY, AQ_SHOWN_AUTO, NULL, NULL},
    {"a-1 1/day algorithm=sliding per=tenant headers=primary", AQ_ALGORITHM_SLIDING, AQ_PER_TENANT, AQ_SHOWN_PRIMARY,
     NULL, NULL},
    {"a 1/minute per=key algorithm=fixed", AQ_ALGORITHM_FIXED, AQ_PER_KEY, AQ_SHOWN_AUTO, NULL, NULL},
    {"day 1/day headers=suffix:Daily", AQ_ALGORITHM_FIXED, AQ_PER_KEY, AQ_SHOWN_SUFFIX, "Daily", NULL},
    {"day 1/day headers=none message=Buy_more=better", AQ_ALGORITHM_FIXED, AQ_PER_KEY, AQ_SHOWN_NONE, NULL,
     "Buy more=better"},
    {"a 1/minute per=ip phase=early", AQ_ALGORITHM_SLIDING, AQ_PER_IP, AQ_SHOWN_AUTO, NULL, NULL},
    {"a 1/minute per=user", AQ_ALGORITHM_SLIDING, AQ_PER_USER, AQ_SHOWN_AUTO, NULL, NULL},
    {"a 1/minute per=endpoint", AQ_ALGORITHM_SLIDING, AQ_PER_ENDPOINT, AQ_SHOWN_AUTO, NULL, NULL},
    {"a 1/minute per=tenant+endpoint", AQ_ALGORITHM_SLIDING, AQ_PER_TENANT_ENDPOINT, AQ_SHOWN_AUTO, NULL, NULL},
    {"a 1/minute per=expr=%{QUERY_STRING}=x", AQ_ALGORITHM_SLIDING, AQ_PER_EXPR, AQ_SHOWN_AUTO, NULL, NULL},
    {"a 10/second burst=50", AQ_ALGORITHM_TOKEN_BUCKET, AQ_PER_KEY, AQ_SHOWN_AUTO, NULL, NULL},
    {"a 10/day burst=50 algorithm=token-bucket", AQ_ALGORITHM_TOKEN_BUCKET, AQ_PER_KEY, AQ_SHOWN_AUTO, NULL, NULL},
    {"a 99999/second burst=1", AQ_ALGORITHM_TOKEN_BUCKET, AQ_PER_KEY, AQ_SHOWN_AUTO, NULL, NULL},
    {"a 1/366d burst=1", AQ_ALGORITHM_TOKEN_BUCKET, AQ_PER_KEY, AQ_SHOWN_AUTO, NULL, NULL},
    {"a 5/month anchor=31", AQ_ALGORITHM_FIXED, AQ_PER_KEY, AQ_SHOWN_AUTO, NULL, NULL},
    {"a 5/month anchor=tenant", AQ_ALGORITHM_FIXED, AQ_PER_KEY, AQ_SHOWN_AUTO, NULL, NULL},
    {"a 1000/concurrent per=tenant", AQ_ALGORITHM_CONCURRENT, AQ_PER_TENANT, AQ_SHOWN_AUTO, NULL, NULL},
    {"abcdefghijklmnopqrstuvwxyz012345 1/day", AQ_ALGORITHM_FIXED, AQ_PER_KEY, AQ_SHOWN_AUTO, NULL, NULL},
};

START_TEST(limit_is_read)
{
    const aq_limit_t *limit = limit_of(GOOD[_i].text);

    ck_assert_int_eq(limit->window.algorithm, GOOD[_i].algorithm);
    ck_assert_int_eq(limit->per, GOOD[_i].per);
    ck_assert_int_eq(limit->shown, GOOD[_i].shown);
    ck_assert_pstr_eq(limit->header_suffix, GOOD[_i].suffix);
    ck_assert_pstr_eq(limit->message, GOOD[_i].message);
    ck_assert_int_eq(limit->window.period, limit->rate.period);
    ck_assert_uint_eq(limit->window.period_s, limit->rate.period_s);
}
END_TEST

/* What is refused, and what the sentence must name. */
static const struct {
    const char *text, *named;
} BAD[] = {
    {"minute", "a name and a rate"},
    {"Minute 300/minute", "\"Minute\""},
    {"a.b 300/minute", "\"a.b\""},
    {"abcdefghijklmnopqrstuvwxyz0123456 1/day", "32"},
    {"minute 300x", "\"300x\""},
    {"minute 0/minute", "\"0/minute\""},
    {"jobs 1001/concurrent", "1000"},
    {"jobs 5/concurrent algorithm=fixed", "takes no algorithm"},
    {"jobs 5/concurrent burst=5", "burst="},
    {"minute 5/minute algorithm=leaky", "fixed, sliding and token-bucket"},
    {"minute 5/minute algorithm=token-bucket", "needs burst="},
    {"minute 5/minute algorithm=fixed burst=5", "burst="},
    {"minute 5/minute burst=0", "burst="},
    {"minute 5/minute burst=-1", "\"-1\""},
    {"minute 5/minute burst=5x", "\"5x\""},
    {"minute 5/minute burst=4000000001", "4000000000"},
    {"day 1/day burst=367", "366 days"},
    {"fast 100000/second burst=5", "less than 100000 a second"},
    {"minute unlimited/minute burst=5", "unlimited"},
    {"month 5/month burst=5", "30d"},
    {"all 5/total burst=5", "burst="},
    {"month 5/month anchor=0", "1 to 31 and tenant"},
    {"month 5/month anchor=32", "\"32\""},
    {"month 5/month anchor=last", "\"last\""},
    {"day 5/day anchor=15", "only a month"},
    {"all 5/total per=ip", "per=ip takes no total"},
    {"minute 5/minute phase=late", "\"late\""},
    {"minute 5/minute phase=early", "needs per=ip"},
    {"minute 5/minute phase=early per=user", "needs per=ip"},
    {"minute 5/minute per=expr", "expr=EXPRESSION"},
    {"minute 5/minute per=expr=", "expr=EXPRESSION"},
    {"month 5/month algorithm=sliding", "30d"},
    {"all 5/total algorithm=fixed", "total"},
    {"minute 5/minute per=address", "key, tenant, ip, user, endpoint, tenant+endpoint"},
    {"minute 5/minute per=", "key, tenant, ip"},
    {"minute 5/minute headers=all", "suffix:NAME"},
    {"minute 5/minute headers=suffix:", "suffix:NAME"},
    {"minute 5/minute headers=suffix:A_b", "suffix:NAME"},
    {"minute 5/minute headers=suffix:A:b", "suffix:NAME"},
    {"minute 5/minute message=", "message="},
    {"minute 5/minute store=shared", "\"shared\" is no way to count: allowed are strict and leased"},
    {"minute 5/minute fixed", "\"fixed\""},
    {"minute 5/minute per=key per=key", "twice"},
};

START_TEST(bad_limit_is_refused_by_name)
{
    const char *error = NULL;
    aq_limit_t *limit;

    ck_assert_msg(parse(BAD[_i].text, &limit, &error) == APR_EGENERAL, "%s", BAD[_i].text);
    ck_assert_ptr_null(limit);
    ck_assert_msg(error != NULL && strstr(error, BAD[_i].named) != NULL, "%s: %s", BAD[_i].text, error);
}
END_TEST

START_TEST(identity_is_name_algorithm_and_period_alone)
{
    const aq_limit_t *limit = limit_of("minute 300/minute");
    const aq_limit_t *const same[] = {limit_of("minute 5/60s"), limit_of("minute 300/1m per=tenant"),
                                      limit_of("minute unlimited/minute headers=none")};
    const aq_limit_t *const others[] = {limit_of("minut 300/minute"), limit_of("minute 300/hour"),
                                        limit_of("minute 300/minute algorithm=fixed"), limit_of("minute 300/month"),
                                        limit_of("minute 300/total")};

    for (unsigned i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        ck_assert_mem_eq(&same[i]->identity, &limit->identity, sizeof(limit->identity));
    }
    for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        ck_assert_mem_ne(&others[i]->identity, &limit->identity, sizeof(limit->identity));
    }
}
END_TEST

START_TEST(subjects_of_different_kinds_never_meet)
{
    const char *shorter = apr_psprintf(fixture_pool, "%0600d", 1);
    const char *longer = apr_psprintf(fixture_pool, "%0600d", 2);
    const aq_hash128_t hashes[] = {
        aq_subject_hash(&SECRET, AQ_PER_KEY, "a"),     aq_subject_hash(&SECRET, AQ_PER_TENANT, "a"),
        aq_subject_hash(&SECRET, AQ_PER_IP, "a"),      aq_subject_hash(&SECRET, AQ_PER_KEY, "b"),
        aq_subject_hash(&SECRET, AQ_PER_KEY, ""),      aq_subject_hash(&SECRET, AQ_PER_KEY, shorter),
        aq_subject_hash(&SECRET, AQ_PER_KEY, longer),  aq_subject_hash(&(aq_hash_secret_t){"x"}, AQ_PER_KEY, "a"),
        aq_subject_hash(&SECRET, AQ_PER_KEY, "a:key"), aq_subject_hash(&SECRET, AQ_PER_KEY, "tenant:a"),
    };
    const unsigned count = sizeof(hashes) / sizeof(hashes[0]);

    for (unsigned i = 0; i < count; i++) {
        for (unsigned j = i + 1; j < count; j++) {
            ck_assert_mem_ne(&hashes[i], &hashes[j], sizeof(hashes[i]));
        }
    }
}
END_TEST

START_TEST(invented_subjects_are_told)
{
    ck_assert(!aq_per_is_invented(AQ_PER_KEY));
    ck_assert(!aq_per_is_invented(AQ_PER_TENANT));
    ck_assert(aq_per_is_invented(AQ_PER_IP));
    ck_assert_str_eq(aq_per_name(AQ_PER_TENANT), "tenant");
    ck_assert_str_eq(aq_algorithm_name(AQ_ALGORITHM_SLIDING), "sliding");
}
END_TEST

static aq_plan_t *plan_of(const char *const *limits, int count)
{
    const char *error;
    aq_plan_t *plan;

    ck_assert_int_eq(aq_plan_create(fixture_pool, "pro", &plan, &error), APR_SUCCESS);
    for (int i = 0; i < count; i++) {
        ck_assert_msg(aq_plan_limit_add(fixture_pool, plan, limit_of(limits[i]), &error) == APR_SUCCESS, "%s", error);
    }
    aq_plan_seal(plan);
    return plan;
}

START_TEST(first_limit_is_primary_unless_one_is_marked)
{
    const aq_plan_t *plain = plan_of((const char *const[]){"a 1/minute", "b 1/day"}, 2);
    const aq_plan_t *marked = plan_of((const char *const[]){"a 1/minute", "b 1/day headers=primary"}, 2);
    const aq_plan_t *suffixed = plan_of((const char *const[]){"a 1/minute headers=none", "b 1/day"}, 2);

    ck_assert_int_eq(aq_plan_limit_find(plain, "a")->shown, AQ_SHOWN_PRIMARY);
    ck_assert_int_eq(aq_plan_limit_find(plain, "b")->shown, AQ_SHOWN_LISTED);
    ck_assert_int_eq(aq_plan_limit_find(marked, "a")->shown, AQ_SHOWN_LISTED);
    ck_assert_int_eq(aq_plan_limit_find(marked, "b")->shown, AQ_SHOWN_PRIMARY);
    ck_assert_int_eq(aq_plan_limit_find(suffixed, "b")->shown, AQ_SHOWN_PRIMARY);
    ck_assert_ptr_null(aq_plan_limit_find(plain, "c"));
}
END_TEST

START_TEST(plan_refuses_what_clashes)
{
    static const char *const clashes[][2] = {
        {"a 1/minute", "a 1/day"},
        {"a 1/minute headers=primary", "b 1/day headers=primary"},
        {"a 1/minute headers=suffix:Daily", "b 1/day headers=suffix:daily"},
    };

    for (unsigned i = 0; i < sizeof(clashes) / sizeof(clashes[0]); i++) {
        aq_plan_t *plan = plan_of(&clashes[i][0], 1);
        const char *error = NULL;

        ck_assert_int_eq(aq_plan_limit_add(fixture_pool, plan, limit_of(clashes[i][1]), &error), APR_EGENERAL);
        ck_assert_ptr_nonnull(error);
        ck_assert_int_eq(plan->limits->nelts, 1);
    }
}
END_TEST

START_TEST(plan_holds_sixteen_limits_and_no_more)
{
    aq_plan_t *plan = plan_of(NULL, 0);
    const char *error;

    for (int i = 0; i < AQ_LIMITS_MAX; i++) {
        aq_limit_t *limit = limit_of(apr_psprintf(fixture_pool, "l%d 1/day", i));

        ck_assert_int_eq(aq_plan_limit_add(fixture_pool, plan, limit, &error), APR_SUCCESS);
    }
    ck_assert_int_eq(aq_plan_limit_add(fixture_pool, plan, limit_of("more 1/day"), &error), APR_EGENERAL);
    ck_assert_ptr_nonnull(strstr(error, "16"));
}
END_TEST

START_TEST(plan_name_is_checked)
{
    static const char *const bad[] = {"", "a b", "a/b", "a:b", "\xc3\xa9", "{}", NULL};
    const char *error;
    aq_plan_t *plan;

    for (unsigned i = 0; bad[i] != NULL; i++) {
        ck_assert_int_eq(aq_plan_create(fixture_pool, bad[i], &plan, &error), APR_EGENERAL);
        ck_assert_ptr_null(plan);
        ck_assert_ptr_nonnull(strstr(error, bad[i]));
    }
    ck_assert_int_eq(aq_plan_create(fixture_pool, apr_psprintf(fixture_pool, "%065d", 1), &plan, &error), APR_EGENERAL);
    ck_assert_int_eq(aq_plan_create(fixture_pool, "Pro-2.1_x", &plan, &error), APR_SUCCESS);
}
END_TEST

static const aq_limit_t *overridden(const apr_array_header_t *limits, int index)
{
    return APR_ARRAY_IDX(limits, index, const aq_limit_t *);
}

START_TEST(override_changes_the_count_and_keeps_the_counter)
{
    const aq_plan_t *plan = plan_of((const char *const[]){"m 5/minute", "day 100/day algorithm=sliding per=tenant"}, 2);
    apr_hash_t *overrides = apr_hash_make(fixture_pool);
    const aq_limit_t *before = aq_plan_limit_find(plan, "day");
    apr_array_header_t *result;
    const char *error;

    apr_hash_set(overrides, "day", APR_HASH_KEY_STRING, "20000/day");
    ck_assert_int_eq(aq_limits_override(fixture_pool, plan->limits, overrides, AQ_PER_KEY, &SECRET, &result, &error),
                     APR_SUCCESS);
    ck_assert_int_eq(result->nelts, 2);
    ck_assert_ptr_eq(overridden(result, 0), aq_plan_limit_find(plan, "m"));
    ck_assert_uint_eq(overridden(result, 1)->rate.count, 20000);
    ck_assert_int_eq(overridden(result, 1)->window.algorithm, AQ_ALGORITHM_SLIDING);
    ck_assert_int_eq(overridden(result, 1)->per, AQ_PER_TENANT);
    ck_assert_mem_eq(&overridden(result, 1)->identity, &before->identity, sizeof(before->identity));
    ck_assert_uint_eq(before->rate.count, 100);
}
END_TEST

START_TEST(override_to_another_period_starts_another_counter)
{
    const aq_plan_t *plan = plan_of((const char *const[]){"m 5/minute"}, 1);
    apr_hash_t *overrides = apr_hash_make(fixture_pool);
    apr_array_header_t *result;
    const char *error;

    apr_hash_set(overrides, "m", APR_HASH_KEY_STRING, "500/hour");
    ck_assert_int_eq(aq_limits_override(fixture_pool, plan->limits, overrides, AQ_PER_KEY, &SECRET, &result, &error),
                     APR_SUCCESS);
    ck_assert_int_eq(overridden(result, 0)->window.algorithm, AQ_ALGORITHM_FIXED);
    ck_assert_int_eq(overridden(result, 0)->shown, AQ_SHOWN_PRIMARY);
    ck_assert_mem_eq(&overridden(result, 0)->identity, &limit_of("m 1/hour")->identity, sizeof(aq_hash128_t));
}
END_TEST

START_TEST(override_adds_what_the_plan_lacks)
{
    const aq_plan_t *plan = plan_of((const char *const[]){"m 5/minute"}, 1);
    apr_hash_t *overrides = apr_hash_make(fixture_pool);
    apr_array_header_t *result;
    const char *error;

    apr_hash_set(overrides, "month", APR_HASH_KEY_STRING, "9/month");
    apr_hash_set(overrides, "day", APR_HASH_KEY_STRING, "8/day");
    ck_assert_int_eq(aq_limits_override(fixture_pool, plan->limits, overrides, AQ_PER_TENANT, &SECRET, &result, &error),
                     APR_SUCCESS);
    ck_assert_int_eq(result->nelts, 3);
    ck_assert_str_eq(overridden(result, 1)->name, "day");
    ck_assert_str_eq(overridden(result, 2)->name, "month");
    ck_assert_int_eq(overridden(result, 2)->per, AQ_PER_TENANT);
    ck_assert_int_eq(overridden(result, 2)->shown, AQ_SHOWN_NONE);
    ck_assert_mem_eq(&overridden(result, 2)->identity, &limit_of("month 1/month")->identity, sizeof(aq_hash128_t));
    ck_assert_int_eq(plan->limits->nelts, 1);
}
END_TEST

START_TEST(bad_override_is_refused_by_name)
{
    static const char *const bad[][2] = {{"m", "5x"},
                                         {"m", "1001/concurrent"},
                                         {"m", ""},
                                         {"m", "5/minute per=ip"},
                                         {"m", "5/minute burst=x"},
                                         {"Upper", "5/day"},
                                         {"n", "0/day"}};
    const aq_plan_t *plan = plan_of((const char *const[]){"m 5/minute"}, 1);

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        apr_hash_t *overrides = apr_hash_make(fixture_pool);
        apr_array_header_t *result;
        const char *error = NULL;

        apr_hash_set(overrides, bad[i][0], APR_HASH_KEY_STRING, bad[i][1]);
        ck_assert_int_eq(
            aq_limits_override(fixture_pool, plan->limits, overrides, AQ_PER_KEY, &SECRET, &result, &error),
            APR_EGENERAL);
        ck_assert_ptr_null(result);
        ck_assert_ptr_nonnull(strstr(error, bad[i][0]));
    }
}
END_TEST

START_TEST(no_overrides_change_nothing)
{
    const aq_plan_t *plan = plan_of((const char *const[]){"m 5/minute"}, 1);
    apr_array_header_t *result;
    const char *error;

    ck_assert_int_eq(aq_limits_override(fixture_pool, plan->limits, NULL, AQ_PER_KEY, &SECRET, &result, &error),
                     APR_SUCCESS);
    ck_assert_int_eq(result->nelts, 1);
    ck_assert_ptr_eq(overridden(result, 0), overridden(plan->limits, 0));
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_loop_test(tests, limit_is_read, 0, sizeof(GOOD) / sizeof(GOOD[0]));
    tcase_add_loop_test(tests, bad_limit_is_refused_by_name, 0, sizeof(BAD) / sizeof(BAD[0]));
    tcase_add_test(tests, identity_is_name_algorithm_and_period_alone);
    tcase_add_test(tests, subjects_of_different_kinds_never_meet);
    tcase_add_test(tests, invented_subjects_are_told);
    tcase_add_test(tests, first_limit_is_primary_unless_one_is_marked);
    tcase_add_test(tests, plan_refuses_what_clashes);
    tcase_add_test(tests, plan_holds_sixteen_limits_and_no_more);
    tcase_add_test(tests, plan_name_is_checked);
    tcase_add_test(tests, override_changes_the_count_and_keeps_the_counter);
    tcase_add_test(tests, override_to_another_period_starts_another_counter);
    tcase_add_test(tests, override_adds_what_the_plan_lacks);
    tcase_add_test(tests, bad_override_is_refused_by_name);
    tcase_add_test(tests, no_overrides_change_nothing);
}

int main(void)
{
    return fixture_run("plan", add);
}
