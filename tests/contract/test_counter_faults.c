/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Catalogue lines 1 and 2 over the shared store: processes that are killed or stopped anywhere in a charge. The others
 * go on, and the count is wrong by the requests in flight at most.
 */
#include "contract/counter_fixture.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 4096
#define SUBJECTS 1500
#define KILLS 120
#define STOPS 40
/* Far more than a charge needs, far less than a hang. */
#define HANG_S 50

typedef struct {
    aq_counter_store_t *store;
    const aq_limit_t *minute, *day;
    _Atomic uint64_t counted[SUBJECTS]; /* charges less what was given back, each noted after it was done */
    _Atomic uint64_t done;              /* by all */
} load_t;

/* Charges one subject after the other, again and again, and gives one in four back. Ends only by a signal. */
static int load_run(void *data)
{
    load_t *load = data;

    for (uint64_t i = (uint64_t)getpid();; i += 7) {
        const uint64_t subject = i % SUBJECTS;
        aq_counter_t both[2] = {counter_numbered(load->store, load->minute, subject),
                                counter_numbered(load->store, load->day, subject)};
        int is_denied;

        if (aq_counter_store_take(load->store, both, 2, 1, NOON, &is_denied) != APR_SUCCESS || is_denied) {
            return 1;
        }
        if (i % 4 == 0 && aq_counter_store_give_back(load->store, both, 2, NOON) != APR_SUCCESS) {
            return 1;
        }
        if (i % 4 != 0) {
            atomic_fetch_add(&load->counted[subject], 1);
        }
        atomic_fetch_add(&load->done, 1);
    }
}

static load_t *load_make(void)
{
    load_t *load = memory_shared(sizeof(*load));

    load->store = counters_open_shm(SLOTS);
    load->minute = counter_limit(load->store, "minute", "4000000000/minute", NULL);
    load->day = counter_limit(load->store, "day", "4000000000/day", NULL);
    return load;
}

/* Lets the others work for some microseconds more than `us`. */
static void let_work(unsigned us)
{
    const struct timespec pause = {.tv_nsec = (long)us * 1000};

    (void)nanosleep(&pause, NULL);
}

/* Waits until `count` more charges are done; fails where they are not in HANG_S. */
static void progress_wait(load_t *load, uint64_t count)
{
    const uint64_t wanted = atomic_load(&load->done) + count;
    const time_t began = time(NULL);

    while (atomic_load(&load->done) < wanted) {
        ck_assert_msg(time(NULL) - began < HANG_S, "no progress");
        (void)sched_yield();
    }
}

static void child_end(pid_t pid)
{
    int status;

    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFSIGNALED(status), "a charge failed");
}

/* Each counter holds what was noted, and of each process that was killed at most one charge more or one less. */
static void counts_check(load_t *load, uint64_t killed)
{
    const aq_limit_t *const limits[2] = {load->minute, load->day};

    for (int l = 0; l < 2; l++) {
        uint64_t apart = 0;

        for (uint64_t i = 0; i < SUBJECTS; i++) {
            const uint64_t held = counter_used(load->store, counter_numbered(load->store, limits[l], i), NOON);
            const uint64_t noted = load->counted[i];

            apart += held > noted ? held - noted : noted - held;
        }
        ck_assert_uint_le(apart, killed);
    }
}

START_TEST(killed_anywhere_in_a_charge)
{
    load_t *load = load_make();
    pid_t steady = child_start(load_run, load);

    for (unsigned i = 0; i < KILLS; i++) {
        pid_t pid = child_start(load_run, load);

        let_work(100 + i * 37 % 2000);
        child_end(pid);
        progress_wait(load, 20);
    }
    child_end(steady);
    counts_check(load, KILLS + 1);
    for (uint64_t i = 0; i < SUBJECTS; i++) {
        aq_counter_t counter = counter_numbered(load->store, load->day, i);

        ck_assert(counter_take(load->store, &counter, 1, NOON));
    }
    ck_assert_uint_le(counters_info(load->store, NOON).live, 2 * SUBJECTS);
}
END_TEST

/* The same with nothing but new counters, so that many are killed while a slot is being given. */
#define BIRTHS 300
#define CHILDREN 3

typedef struct {
    aq_counter_store_t *store;
    const aq_limit_t *limit;
    uint64_t first; /* number of the first counter of this round */
    aq_time_ms_t now_ms;
    _Atomic uint64_t next;
    _Atomic uint64_t admitted[BIRTHS];
} births_t;

static int births_run(void *data)
{
    births_t *births = data;

    for (;;) {
        /* Who is next to each other in time meets at one counter. */
        const uint64_t number = atomic_fetch_add(&births->next, 1) / CHILDREN;
        int is_denied;

        if (number >= BIRTHS) {
            (void)pause();
            continue;
        }
        aq_counter_t counter = counter_numbered(births->store, births->limit, births->first + number);
        if (aq_counter_store_take(births->store, &counter, 1, 1, births->now_ms, &is_denied) != APR_SUCCESS) {
            return 1;
        }
        if (!is_denied) {
            atomic_fetch_add(&births->admitted[number], 1);
        }
    }
}

/* One round: children race for new counters until they are killed; the slots of earlier rounds are dead. */
static uint64_t births_round(births_t *births, unsigned round)
{
    pid_t pids[CHILDREN];
    uint64_t born = 0;

    births->first = (uint64_t)round * BIRTHS;
    births->now_ms = NOON + round * 10 * MINUTE;
    births->next = 0;
    for (int i = 0; i < BIRTHS; i++) {
        births->admitted[i] = 0;
    }
    for (int i = 0; i < CHILDREN; i++) {
        pids[i] = child_start(births_run, births);
    }
    let_work(round * 41 % 400);
    for (int i = 0; i < CHILDREN; i++) {
        child_end(pids[i]);
    }
    for (uint64_t i = 0; i < BIRTHS; i++) {
        const aq_counter_t counter = counter_numbered(births->store, births->limit, births->first + i);
        const uint64_t held = counter_used(births->store, counter, births->now_ms);

        ck_assert_uint_le(births->admitted[i], held);
        ck_assert_uint_le(held, 2);
        born += held != 0;
    }
    return born;
}

START_TEST(killed_while_a_slot_is_given)
{
    births_t *births = memory_shared(sizeof(*births));
    uint64_t born = 0;

    births->store = counters_open_shm(SMALL_SLOTS);
    births->limit = counter_limit(births->store, "minute", "2/minute", NULL);
    for (unsigned round = 0; round < KILLS; round++) {
        born += births_round(births, round);
    }
    ck_assert_uint_gt(born, KILLS);
    /* Nothing that was left behind takes a place away for good. */
    for (uint64_t i = 0; i < SMALL_SLOTS * 6 / 10; i++) {
        aq_counter_t counter = counter_numbered(births->store, births->limit, 10000000 + i);

        ck_assert(counter_take(births->store, &counter, 2, NOON + 2 * DAY));
    }
}
END_TEST

START_TEST(stopped_anywhere_in_a_charge)
{
    load_t *load = load_make();
    pid_t stopped = child_start(load_run, load);
    pid_t steady = child_start(load_run, load);

    for (unsigned i = 0; i < STOPS; i++) {
        let_work(100 + i * 53 % 2000);
        ck_assert_int_eq(kill(stopped, SIGSTOP), 0);
        progress_wait(load, 3000);
        ck_assert_int_eq(kill(stopped, SIGCONT), 0);
        progress_wait(load, 10);
    }
    child_end(stopped);
    child_end(steady);
    counts_check(load, 2);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, killed_anywhere_in_a_charge);
    tcase_add_test(tests, killed_while_a_slot_is_given);
    tcase_add_test(tests, stopped_anywhere_in_a_charge);
}

int main(void)
{
    return fixture_run("counters of processes that die or stop", add);
}
