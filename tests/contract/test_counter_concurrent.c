/* SPDX-License-Identifier: Apache-2.0 */
/* Limits on what runs at once: over each kind of store; and, in shared memory, with processes that die. */
#include "contract/counter_fixture.h"

#include "store/shm_counters.h"

#include <apr_strings.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

START_TEST(as_many_run_at_once_as_the_limit_says)
{
    static const unsigned limits[] = {1, 6, 7, 8, 20, 1000};

    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);

    for (unsigned l = 0; l < sizeof(limits) / sizeof(limits[0]); l++) {
        const char *rate = apr_psprintf(fixture_pool, "%u/concurrent", limits[l]);
        aq_counter_t *counters = apr_palloc(fixture_pool, (limits[l] + 1) * sizeof(*counters));

        for (unsigned i = 0; i <= limits[l]; i++) {
            counters[i] = counter_of(store, counter_limit(store, "jobs", rate, NULL), rate);
            ck_assert_int_eq(counter_take(store, &counters[i], 5, NOON), i < limits[l]);
            ck_assert_uint_eq(counters[i].used, i < limits[l] ? i + 1 : limits[l]);
            ck_assert_uint_eq(counters[i].remaining, limits[l] - counters[i].used);
            ck_assert_int_eq(counters[i].reset_at_ms, AQ_TIME_NEVER);
        }
        ck_assert_int_eq(counters[limits[l]].fits_at_ms, NOON + SECOND);
        counter_give_back(store, &counters[limits[l] / 2], NOON + SECOND);
        ck_assert_uint_eq(counter_used(store, counters[0], NOON + SECOND), limits[l] - 1);
        counter_give_back(store, &counters[limits[l] / 2], NOON + SECOND);
        ck_assert_uint_eq(counter_used(store, counters[0], NOON + SECOND), limits[l] - 1);
        ck_assert(counter_take(store, &counters[limits[l]], 1, NOON + SECOND));
        ck_assert(!counter_take(store, &counters[limits[l] / 2], 1, NOON + DAY));
    }
}
END_TEST

START_TEST(lowered_limit_counts_those_that_run_already)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    aq_counter_t counters[20];
    aq_counter_t late = counter_of(store, counter_limit(store, "jobs", "10/concurrent", NULL), "a");

    for (unsigned i = 0; i < 20; i++) {
        counters[i] = counter_of(store, counter_limit(store, "jobs", "20/concurrent", NULL), "a");
        ck_assert(counter_take(store, &counters[i], 1, NOON));
    }
    for (unsigned i = 0; i < 11; i++) {
        ck_assert(!counter_take(store, &late, 1, NOON));
        ck_assert_uint_eq(late.remaining, 0);
        counter_give_back(store, &counters[i], NOON);
    }
    ck_assert(counter_take(store, &late, 1, NOON));
    ck_assert_uint_eq(late.used, 10);
}
END_TEST

START_TEST(what_runs_is_released_once_and_the_rest_stays_charged)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    const aq_limit_t *day = counter_limit(store, "day", "9/day", NULL);
    const aq_limit_t *jobs = counter_limit(store, "jobs", "2/concurrent", NULL);
    const aq_hash128_t subject = aq_subject_hash(&store->secret, AQ_PER_KEY, "a");
    aq_charge_t *charge = aq_charge_create(fixture_pool, 2);

    aq_charge_counter_set(charge, 0, day, &subject);
    aq_charge_counter_set(charge, 1, jobs, &subject);
    ck_assert_int_eq(aq_charge_take(charge, store, 3, NOON), APR_SUCCESS);
    ck_assert(aq_charge_is_held(charge));
    ck_assert_int_eq(aq_charge_settle(charge, store, 0, NOON), APR_SUCCESS);
    ck_assert_uint_eq(counter_used(store, counter_of(store, jobs, "a"), NOON), 1);
    ck_assert_int_eq(aq_charge_release(charge, store, NOON), APR_SUCCESS);
    ck_assert_uint_eq(counter_used(store, counter_of(store, jobs, "a"), NOON), 0);
    ck_assert_uint_eq(counter_used(store, counter_of(store, day, "a"), NOON), 3);
    ck_assert_int_eq(aq_charge_release(charge, store, NOON), APR_SUCCESS);
    ck_assert_int_eq(aq_charge_settle(charge, store, 1, NOON), APR_SUCCESS);
    ck_assert_uint_eq(counter_used(store, counter_of(store, day, "a"), NOON), 0);
    ck_assert(!aq_charge_is_held(charge));
}
END_TEST

START_TEST(refused_by_another_limit_holds_no_place)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    const aq_limit_t *day = counter_limit(store, "day", "1/day", NULL);
    const aq_limit_t *jobs = counter_limit(store, "jobs", "9/concurrent", NULL);
    aq_counter_t both[2] = {counter_of(store, jobs, "a"), counter_of(store, day, "a")};
    aq_counter_t again[2] = {both[0], both[1]};

    ck_assert(counters_take(store, both, 2, 1, NOON));
    ck_assert(!counters_take(store, again, 2, 1, NOON));
    ck_assert_uint_eq(counter_used(store, both[0], NOON), 1);
}
END_TEST

START_TEST(idle_limit_leaves_no_counter)
{
    aq_counter_store_t *store = counters_open(_i, SMALL_SLOTS);
    aq_counter_t counter = counter_of(store, counter_limit(store, "jobs", "9/concurrent", NULL), "a");

    ck_assert(counter_take(store, &counter, 1, NOON));
    ck_assert_uint_eq(counters_info(store, NOON + DAY).live, 1);
    counter_give_back(store, &counter, NOON + DAY);
    ck_assert_uint_eq(counters_info(store, NOON + DAY + 5 * MINUTE).live, 0);
    ck_assert(counter_take(store, &counter, 1, NOON + 2 * DAY));
    ck_assert_uint_eq(counter_used(store, counter, NOON + 2 * DAY), 1);
}
END_TEST

typedef struct {
    aq_counter_store_t *store;
    unsigned number;
    int ready[2]; /* a pipe */
} worker_t;

/* Takes as many places as it is told, says so and sleeps until it is killed. */
static int places_hold(void *data)
{
    const worker_t *worker = data;
    const char said = 'x';

    for (unsigned i = 0; i < worker->number; i++) {
        aq_counter_t counter =
            counter_of(worker->store, counter_limit(worker->store, "jobs", "10/concurrent", NULL), "a");

        if (!counter_take(worker->store, &counter, 1, NOON)) {
            return 1;
        }
    }
    if (write(worker->ready[1], &said, 1) != 1) {
        return 1;
    }
    for (;;) {
        (void)pause();
    }
}

static pid_t holder_start(aq_counter_store_t *store, unsigned number)
{
    worker_t worker = {.store = store, .number = number};
    char said;
    pid_t pid;

    ck_assert_int_eq(pipe(worker.ready), 0);
    pid = child_start(places_hold, &worker);
    ck_assert_int_eq(close(worker.ready[1]), 0);
    ck_assert_int_eq(read(worker.ready[0], &said, 1), 1);
    ck_assert_int_eq(close(worker.ready[0]), 0);
    return pid;
}

static void holder_kill(pid_t pid)
{
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert(!child_join(pid));
}

START_TEST(places_of_a_killed_process_come_back)
{
    aq_counter_store_t *store = counters_open_shm(SMALL_SLOTS);
    aq_counter_t counter = counter_of(store, counter_limit(store, "jobs", "10/concurrent", NULL), "a");
    const pid_t first = holder_start(store, 6);
    const pid_t second = holder_start(store, 4);

    ck_assert(!counter_take(store, &counter, 1, NOON));
    ck_assert_uint_eq(counter.used, 10);
    holder_kill(first);
    ck_assert(counter_take(store, &counter, 1, NOON + SECOND));
    ck_assert_uint_eq(counter.used, 5);
    holder_kill(second);
    ck_assert_uint_eq(counter_used(store, counter, NOON + 2 * SECOND), 1);
}
END_TEST

/* A CGI script that its server's child has forked lives on, and holds nothing. */
static int grandchild_leave(void *data)
{
    const worker_t *worker = data;
    aq_counter_t counter = counter_of(worker->store, counter_limit(worker->store, "jobs", "10/concurrent", NULL), "a");
    char said;

    if (!counter_take(worker->store, &counter, 1, NOON)) {
        return 1;
    }
    if (fork() == 0) {
        (void)close(worker->ready[1]);
        _exit(read(worker->ready[0], &said, 1) == 0 ? 0 : 1);
    }
    return 0;
}

START_TEST(grandchild_holds_no_place)
{
    aq_counter_store_t *store = counters_open_shm(SMALL_SLOTS);
    aq_counter_t counter = counter_of(store, counter_limit(store, "jobs", "10/concurrent", NULL), "a");
    worker_t worker = {.store = store};

    ck_assert_int_eq(pipe(worker.ready), 0);
    ck_assert(child_join(child_start(grandchild_leave, &worker)));
    ck_assert_uint_eq(counter_used(store, counter, NOON + SECOND), 0);
    ck_assert_int_eq(close(worker.ready[1]), 0);
    ck_assert_int_eq(close(worker.ready[0]), 0);
}
END_TEST

/* What one of several processes does that race for places: at no moment more than three run. */
typedef struct {
    aq_counter_store_t *store;
    atomic_int *running;
} racer_t;

static int race(void *data)
{
    const racer_t *racer = data;
    aq_counter_t counter = counter_of(racer->store, counter_limit(racer->store, "jobs", "3/concurrent", NULL), "a");
    aq_counter_t more[4];
    int admitted = 0;

    for (int i = 0; i < 20000; i++) {
        int held = 0;

        for (; held < 4; held++) {
            more[held] = counter;
            if (!counter_take(racer->store, &more[held], 1, NOON + i)) {
                break;
            }
            if (atomic_fetch_add(racer->running, 1) >= 3) {
                return 1;
            }
        }
        admitted += held;
        while (held-- > 0) {
            atomic_fetch_sub(racer->running, 1);
            counter_give_back(racer->store, &more[held], NOON + i);
        }
    }
    return admitted > 0 ? 0 : 1;
}

START_TEST(never_more_at_once_whoever_races)
{
    racer_t racer = {.store = counters_open_shm(SMALL_SLOTS), .running = memory_shared(sizeof(atomic_int))};
    pid_t racers[4];

    for (unsigned i = 0; i < 4; i++) {
        racers[i] = child_start(race, &racer);
    }
    for (unsigned i = 0; i < 4; i++) {
        ck_assert(child_join(racers[i]));
    }
}
END_TEST

/* Invented subjects that find no place share one slot: seven places at most. */
START_TEST(full_table_shares_places_and_gives_none_away)
{
    aq_counter_store_t *store = counters_open_shm(SMALL_SLOTS);
    const aq_limit_t *limit = counter_limit(store, "jobs", "9/concurrent", "per=ip");
    unsigned admitted = 0;

    fixture_log_keep();
    for (uint64_t i = 0; i < 2000; i++) {
        aq_counter_t counter = counter_numbered(store, limit, i);

        admitted += (unsigned)counter_take(store, &counter, 1, NOON);
    }
    ck_assert_uint_le(admitted, SMALL_SLOTS);
    ck_assert_uint_ge(admitted, SMALL_SLOTS / 2);
}
END_TEST

static void add(TCase *tests)
{
    counters_prepare(tests);
    tcase_add_loop_test(tests, as_many_run_at_once_as_the_limit_says, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, lowered_limit_counts_those_that_run_already, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, what_runs_is_released_once_and_the_rest_stays_charged, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, refused_by_another_limit_holds_no_place, 0, COUNTER_KINDS);
    tcase_add_loop_test(tests, idle_limit_leaves_no_counter, 0, COUNTER_KINDS);
    tcase_add_test(tests, places_of_a_killed_process_come_back);
    tcase_add_test(tests, grandchild_holds_no_place);
    tcase_add_test(tests, never_more_at_once_whoever_races);
    tcase_add_test(tests, full_table_shares_places_and_gives_none_away);
}

int main(void)
{
    return fixture_run("what runs at once", add);
}
