/* SPDX-License-Identifier: Apache-2.0 */
/* What a process holds of limits on what runs at once: how it is kept, listed and forgotten. */
#include "store/redis_members.h"
#include "unit/fixture.h"

#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FEW 2000
#define MANY 100000

static aq_redis_members_t *members;

static void setup(void)
{
    ck_assert_int_eq(aq_redis_members_create(fixture_pool, &members), APR_SUCCESS);
}

static uint64_t begin(uint64_t n)
{
    const aq_hash128_t key = {.high = n, .low = ~n};
    char owner[AQ_REDIS_OWNER_SIZE];
    const uint64_t id = aq_redis_members_begin(members, &key, "aq:{i:1}", owner);

    ck_assert_uint_ne(id, 0);
    return id;
}

static void end(uint64_t n, uint64_t id)
{
    aq_redis_members_end(members, &(aq_hash128_t){.high = n, .low = ~n}, id);
}

static int listed(void)
{
    return aq_redis_members_list(members, fixture_pool)->nelts;
}

START_TEST(what_has_ended_is_listed_once_more_and_then_forgotten)
{
    const uint64_t first = begin(1), second = begin(1);
    const apr_array_header_t *list;

    end(1, first);
    list = aq_redis_members_list(members, fixture_pool);
    ck_assert_int_eq(list->nelts, 1);
    ck_assert_str_eq(APR_ARRAY_IDX(list, 0, aq_redis_held_t).list, "2:2");
    ck_assert_str_eq(APR_ARRAY_IDX(list, 0, aq_redis_held_t).home, "aq:{i:1}");
    end(1, second);
    list = aq_redis_members_list(members, fixture_pool);
    ck_assert_str_eq(APR_ARRAY_IDX(list, 0, aq_redis_held_t).list, "2:");
    ck_assert_int_eq(listed(), 0);
}
END_TEST

/* Processor time, in ns, that so many more callers take. */
static int64_t cost_of(uint64_t from, uint64_t count)
{
    struct timespec before, after;

    ck_assert_int_eq(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before), 0);
    for (uint64_t n = from; n < from + count; n++) {
        end(n, begin(n));
    }
    ck_assert_int_eq(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after), 0);
    return (after.tv_sec - before.tv_sec) * INT64_C(1000000000) + after.tv_nsec - before.tv_nsec;
}

/* As callers of a limit by address come in a flood. Looking through all of them for each would make the last fifty times dearer. */
START_TEST(the_last_of_many_callers_costs_what_the_first_did)
{
    const int64_t first = cost_of(0, FEW);

    (void)cost_of(FEW, MANY - 2 * FEW);
    ck_assert_int_lt(cost_of(MANY - FEW, FEW), 15 * first);
    ck_assert_int_eq(listed(), MANY);
    ck_assert_int_eq(listed(), 0);
}
END_TEST

START_TEST(a_forked_child_begins_with_nothing_and_another_name)
{
    char ours[AQ_REDIS_OWNER_SIZE], theirs[AQ_REDIS_OWNER_SIZE];
    int status;

    (void)begin(1);
    aq_redis_members_owner(members, ours);
    const pid_t child = fixture_fork();
    if (child == 0) {
        const int is_empty = listed() == 0;
        aq_redis_members_owner(members, theirs);
        _exit(is_empty && strcmp(ours, theirs) != 0 ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(listed(), 1);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, what_has_ended_is_listed_once_more_and_then_forgotten);
    tcase_add_test(tests, the_last_of_many_callers_costs_what_the_first_did);
    tcase_add_test(tests, a_forked_child_begins_with_nothing_and_another_name);
}

int main(void)
{
    return fixture_run("redis_members", add_tests);
}
