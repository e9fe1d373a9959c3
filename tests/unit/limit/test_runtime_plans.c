/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans as JSON: what was written is read back the same, and what is none is refused with its plan.
 */
#include "limit/runtime_plans.h"
#include "unit/fixture.h"

#include <stdlib.h>
#include <string.h>

static const aq_hash_secret_t SECRET = {{3}};

static const char *const LIMITS[][6] = {
    {"minute", "300/minute", "message=Too \"fast\"\\ \xc3\xbc"},
    {"quarter", "900/15m", "algorithm=sliding", "per=tenant", "headers=suffix:Quarter", "store=leased"},
    {"burst", "10/second", "algorithm=fixed", "headers=none"},
    {"month", "unlimited/month"},
    {"ever", "4000000000/total", "per=tenant"},
    {"day", "10000/day", "headers=primary"},
};
#define LIMIT_COUNT (int)(sizeof(LIMITS) / sizeof(LIMITS[0]))

static apr_hash_t *plans_make(void)
{
    apr_hash_t *plans = apr_hash_make(fixture_pool);
    const char *error;
    aq_plan_t *plan, *empty;

    ck_assert_int_eq(aq_plan_create(fixture_pool, "Plan-1.a", &plan, &error), APR_SUCCESS);
    for (int i = 0; i < LIMIT_COUNT; i++) {
        aq_limit_t *limit;
        int count = 0;
        while (count < 6 && LIMITS[i][count]) {
            count++;
        }
        apr_status_t rv = aq_limit_parse(fixture_pool, LIMITS[i], count, &limit, &error);
        ck_assert_msg(rv == APR_SUCCESS, "%s", error);
        aq_limit_identify(limit, &SECRET);
        ck_assert_int_eq(aq_plan_limit_add(fixture_pool, plan, limit, &error), APR_SUCCESS);
    }
    aq_plan_seal(plan);
    apr_hash_set(plans, plan->name, APR_HASH_KEY_STRING, plan);
    ck_assert_int_eq(aq_plan_create(fixture_pool, "empty", &empty, &error), APR_SUCCESS);
    apr_hash_set(plans, empty->name, APR_HASH_KEY_STRING, empty);
    return plans;
}

static int texts_equal(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

START_TEST(plans_that_were_written_are_read_back)
{
    apr_hash_t *plans = plans_make(), *again;
    json_t *json = aq_runtime_plans_write(plans);
    const char *error;

    ck_assert_ptr_nonnull(json);
    apr_status_t rv = aq_runtime_plans_read(fixture_pool, json, &SECRET, &again, &error);
    ck_assert_msg(rv == APR_SUCCESS, "%s", error);
    json_decref(json);
    ck_assert_uint_eq(apr_hash_count(again), 2);
    const aq_plan_t *old = apr_hash_get(plans, "Plan-1.a", APR_HASH_KEY_STRING);
    const aq_plan_t *read = apr_hash_get(again, "Plan-1.a", APR_HASH_KEY_STRING);
    ck_assert_ptr_nonnull(apr_hash_get(again, "empty", APR_HASH_KEY_STRING));
    ck_assert_int_eq(read->limits->nelts, LIMIT_COUNT);
    for (int i = 0; i < LIMIT_COUNT; i++) {
        const aq_limit_t *a = APR_ARRAY_IDX(old->limits, i, const aq_limit_t *);
        const aq_limit_t *b = APR_ARRAY_IDX(read->limits, i, const aq_limit_t *);
        ck_assert_str_eq(a->name, b->name);
        ck_assert_uint_eq(a->rate.count, b->rate.count);
        ck_assert_int_eq(a->rate.is_unlimited, b->rate.is_unlimited);
        ck_assert_int_eq(a->rate.period, b->rate.period);
        ck_assert_uint_eq(a->rate.period_s, b->rate.period_s);
        ck_assert_int_eq(a->window.algorithm, b->window.algorithm);
        ck_assert_int_eq(a->per, b->per);
        ck_assert_int_eq(a->shown, b->shown);
        ck_assert_int_eq(a->mode, b->mode);
        ck_assert(texts_equal(a->header_suffix, b->header_suffix));
        ck_assert(texts_equal(a->message, b->message));
        ck_assert_mem_eq(&a->identity, &b->identity, sizeof(a->identity));
    }
}
END_TEST

static const struct {
    const char *json, *said;
} NO_PLANS[] = {
    {"[]", "\"plans\" is no object"},
    {"{\"a\": {}}", "plan \"a\": \"limits\" is no array"},
    {"{\"a\": 7}", "plan \"a\": \"limits\" is no array"},
    {"{\"a b\": {\"limits\": []}}", "plan \"a b\": "},
    {"{\"a\": {\"limits\": [7]}}", "plan \"a\": a limit needs \"name\" and \"rate\""},
    {"{\"a\": {\"limits\": [{\"name\": \"x\"}]}}", "plan \"a\": a limit needs"},
    {"{\"a\": {\"limits\": [{\"name\": \"x\", \"rate\": \"300x\"}]}}", "plan \"a\": "},
    {"{\"a\": {\"limits\": [{\"name\": \"x\", \"rate\": \"1/day\", \"per\": \"nobody\"}]}}", "plan \"a\": "},
    {"{\"a\": {\"limits\": [{\"name\": \"x\", \"rate\": \"1/day\"}, {\"name\": \"x\", \"rate\": \"1/day\"}]}}",
     "plan \"a\": "},
};

START_TEST(what_is_no_plan_is_refused_by_name)
{
    json_t *json = json_loads(NO_PLANS[_i].json, 0, NULL);
    const char *error;
    apr_hash_t *plans;

    ck_assert_ptr_nonnull(json);
    ck_assert_int_eq(aq_runtime_plans_read(fixture_pool, json, NULL, &plans, &error), APR_EGENERAL);
    ck_assert_msg(strstr(error, NO_PLANS[_i].said) == error, "%s", error);
    json_decref(json);
    ck_assert_int_eq(aq_runtime_plans_read(fixture_pool, NULL, NULL, &plans, &error), APR_EGENERAL);
}
END_TEST

START_TEST(plans_are_written_in_the_order_of_their_names)
{
    static const char *const NAMES[] = {"basic", "gold", "pro", "tiny"};

    for (int round = 0; round < 20; round++) {
        apr_hash_t *plans = apr_hash_make(fixture_pool);
        const char *error, *name;
        json_t *json, *json_plan;
        int at = 0;

        for (int i = 3; i >= 0; i--) {
            aq_plan_t *plan;

            ck_assert_int_eq(aq_plan_create(fixture_pool, NAMES[i], &plan, &error), APR_SUCCESS);
            apr_hash_set(plans, plan->name, APR_HASH_KEY_STRING, plan);
        }
        json = aq_runtime_plans_write(plans);
        json_object_foreach(json, name, json_plan)
        {
            ck_assert_str_eq(name, NAMES[at++]);
        }
        ck_assert_int_eq(at, 4);
        json_decref(json);
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, plans_are_written_in_the_order_of_their_names);
    tcase_add_test(tests, plans_that_were_written_are_read_back);
    tcase_add_loop_test(tests, what_is_no_plan_is_refused_by_name, 0, sizeof(NO_PLANS) / sizeof(NO_PLANS[0]));
}

int main(void)
{
    return fixture_run("runtime plans", add);
}
