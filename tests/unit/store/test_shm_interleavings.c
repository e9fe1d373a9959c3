/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock-free table and its charges under every kind of interleaving: three callers take turns at each single access
 * to shared memory, in an order drawn at random; some sleep for long, some die. The code under test is compiled into
 * this file with its atomic operations made to hand over to the next caller, so that what hardware does once in a
 * million runs happens in each. A run that fails names its number, which draws the same order again.
 */
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

static void turn_over(void);

#undef atomic_load
#undef atomic_store
#undef atomic_fetch_add
#undef atomic_compare_exchange_strong
#undef atomic_compare_exchange_weak
#define atomic_load(at) (turn_over(), atomic_load_explicit((at), memory_order_seq_cst))
#define atomic_store(at, value) (turn_over(), atomic_store_explicit((at), (value), memory_order_seq_cst))
#define atomic_fetch_add(at, value) (turn_over(), atomic_fetch_add_explicit((at), (value), memory_order_seq_cst))
#define atomic_compare_exchange_strong(at, expected, desired)                                                          \
    (turn_over(),                                                                                                      \
     atomic_compare_exchange_strong_explicit((at), (expected), (desired), memory_order_seq_cst, memory_order_seq_cst))
#define atomic_compare_exchange_weak atomic_compare_exchange_strong
#define sched_yield() (turn_over(), 0)

#include "store/shm_table.c"
#include "store/shm_take.c"
#include "store/shm_counters.c"

#include "contract/counter_fixture.h"

#define CALLERS 3
#define SLOTS 256
/* A test; AQ_RUNS asks for another number. */
#ifndef __has_feature
#    define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#    define RUNS 0
#elif defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#    define RUNS 300
#else
#    define RUNS 1500
#endif
#define TURNS_MAX 200000
#define STACK_SIZE (256 * 1024)

typedef struct {
    ucontext_t context;
    char *stack;
    aq_counter_t counters[2];
    aq_time_ms_t now_ms;
    int takes; /* still to be done */
    int is_over, is_dead;
    unsigned sleeps;  /* turns for which it is passed by */
    unsigned quantum; /* accesses that it may do before the next one has its turn */
    unsigned admitted, given_back;
} caller_t;

static struct {
    uint64_t random;
    ucontext_t scheduler;
    caller_t callers[CALLERS];
    caller_t *running; /* NULL: outside of the callers, no turns are taken */
    aq_counter_store_t *store;
    aq_shm_file_t file;
    unsigned counter_count;
    int gives_back, may_die, is_crowded;
} world;

static uint64_t draw(uint64_t below)
{
    world.random ^= world.random << 13;
    world.random ^= world.random >> 7;
    world.random ^= world.random << 17;
    return (world.random * UINT64_C(0x2545f4914f6cdd1d) >> 32) % below;
}

static void turn_over(void)
{
    if (world.running != NULL && world.running->quantum-- == 0) {
        ck_assert_int_eq(swapcontext(&world.running->context, &world.scheduler), 0);
    }
}

static void caller_run(void)
{
    caller_t *self = world.running;

    for (; self->takes > 0; self->takes--) {
        int is_denied = -1;
        apr_status_t rv =
            aq_counter_store_take(world.store, self->counters, world.counter_count, 1, self->now_ms, &is_denied);

        ck_assert(rv == APR_SUCCESS || (world.is_crowded && APR_STATUS_IS_ENOSPC(rv)));
        if (rv == APR_SUCCESS && !is_denied) {
            self->admitted++;
        }
        if (!is_denied && world.gives_back && draw(2) == 0) {
            rv = aq_counter_store_give_back(world.store, self->counters, world.counter_count, self->now_ms);
            ck_assert_int_eq(rv, APR_SUCCESS);
            self->given_back++;
        }
    }
    self->is_over = 1;
    self->quantum = 0;
    turn_over();
}

static void caller_start(caller_t *caller)
{
    ck_assert_int_eq(getcontext(&caller->context), 0);
    caller->context.uc_stack.ss_sp = caller->stack;
    caller->context.uc_stack.ss_size = STACK_SIZE;
    caller->context.uc_link = NULL;
    makecontext(&caller->context, caller_run, 0);
}

/* Gives turns at random until all are over. Asleep is only who others can go on without. */
static void callers_run(void)
{
    unsigned turns = 0;

    for (unsigned left = CALLERS; left > 0;) {
        caller_t *next = &world.callers[draw(CALLERS)];

        ck_assert_uint_lt(turns++, TURNS_MAX);
        if (next->is_over || (next->sleeps > 0 && next->sleeps--)) {
            continue;
        }
        if (world.may_die && draw(400) == 0) {
            next->is_over = next->is_dead = 1;
        } else {
            next->sleeps = draw(40) == 0 ? (unsigned)draw(600) : 0;
            next->quantum = draw(3) == 0 ? (unsigned)draw(16) : 0;
            world.running = next;
            ck_assert_int_eq(swapcontext(&world.scheduler, &next->context), 0);
            world.running = NULL;
        }
        left -= (unsigned)next->is_over;
    }
}

/* What lies on the counter's way from home: slots of others, live, dead, freed, and left while pending. */
static void way_litter(const aq_counter_t *counter)
{
    const uint64_t tag = aq_shm_counter_tag(counter);

    for (unsigned i = 0; i < AQ_SHM_PROBES && draw(8) != 0; i++) {
        aq_shm_slot_t *slot = slot_at(&world.file.table, tag, i);
        const uint64_t other = (tag ^ (draw(UINT32_MAX) << 20 | UINT64_C(1) << 60)) & ~AQ_SHM_STATE_MASK;
        const uint64_t ticks = (uint64_t)(NOON / SECOND) * 6;
        const uint64_t states[] = {AQ_SHM_LIVE, AQ_SHM_LIVE, AQ_SHM_FREED, AQ_SHM_PENDING};
        const unsigned kind = (unsigned)draw(4);

        if (atomic_load(&slot->tag) == 0) {
            /* Kind 0 is live, the others are over since three days. */
            const uint64_t start = kind == 0 ? ticks : ticks - 3 * 86400 * 6;

            atomic_store(&slot->tag, other | states[kind]);
            for (unsigned word = 0; word < AQ_WINDOW_WORDS; word++) {
                atomic_store(&slot->words[word], start << 32 | draw(3));
            }
        }
    }
}

/* The counter's own slot, dead since long. */
static void own_dead_slot_leave(const aq_counter_t *counter)
{
    const uint64_t start = (uint64_t)(NOON / SECOND) * 6 - 90 * 86400 * 6;
    aq_shm_place_t place;

    ck_assert_int_eq(
        aq_shm_table_insert(&world.file.table, aq_shm_counter_tag(counter), start << 32, NOON - 90 * DAY, &place),
        APR_SUCCESS);
    atomic_store(&place.slot->words[0], start << 32 | 2);
}

static unsigned live_slots(const aq_counter_t *counter)
{
    unsigned count = 0;

    for (uint64_t i = 0; i < world.file.table.slot_count; i++) {
        count += (unsigned)aq_shm_tag_is_same(atomic_load(&world.file.table.slots[i].tag), aq_shm_counter_tag(counter));
    }
    return count;
}

static void world_make(void)
{
    aq_shm_header_t *header = memory_shared(sizeof(*header) + SLOTS * sizeof(aq_shm_slot_t));

    memcpy(header->secret.bytes, "what is drawn is the same again.", sizeof(header->secret.bytes));
    world.file.path = "none";
    world.file.header = header;
    world.file.table = aq_shm_table((aq_shm_slot_t *)(void *)(header + 1), SLOTS);
    world.store = store_create(fixture_pool, &shm_ops, &world.file);
    for (int i = 0; i < CALLERS; i++) {
        world.callers[i].stack = malloc(STACK_SIZE);
        ck_assert_ptr_nonnull(world.callers[i].stack);
    }
}

/* One run. Two callers may have moments on either side of a sub-window's edge. */
static void run_prepare(uint64_t run, const aq_limit_t *const limits[2], unsigned takes)
{
    static const aq_time_ms_t edge_ms = NOON / MINUTE * MINUTE + 50 * SECOND;

    world.random = (run + 1) * UINT64_C(0x9e3779b97f4a7c15);
    memset(world.file.table.slots, 0, SLOTS * sizeof(aq_shm_slot_t));
    for (int i = 0; i < CALLERS; i++) {
        caller_t *caller = &world.callers[i];

        *caller = (caller_t){.stack = caller->stack, .takes = (int)takes, .now_ms = edge_ms - (aq_time_ms_t)draw(2)};
        for (unsigned c = 0; c < world.counter_count; c++) {
            caller->counters[c] = counter_numbered(world.store, limits[c], run);
        }
        caller_start(caller);
    }
    for (unsigned c = 0; c < world.counter_count; c++) {
        if (draw(3) == 0) {
            own_dead_slot_leave(&world.callers[0].counters[c]);
        }
        if (draw(4) != 0) {
            way_litter(&world.callers[0].counters[c]);
        }
    }
}

/* After a run: one slot a counter, never above the limit, and wrong by one at most for each caller that died. */
static void run_check(uint64_t run, unsigned takes)
{
    uint64_t admitted = 0;
    uint64_t given_back = 0;
    uint64_t dead = 0;

    for (int i = 0; i < CALLERS; i++) {
        admitted += world.callers[i].admitted;
        given_back += world.callers[i].given_back;
        dead += (uint64_t)world.callers[i].is_dead;
    }
    for (unsigned c = 0; c < world.counter_count; c++) {
        const aq_counter_t *counter = &world.callers[0].counters[c];
        const uint64_t held = counter_used(world.store, *counter, NOON / MINUTE * MINUTE + 50 * SECOND);
        const uint64_t kept = admitted - given_back;
        const uint64_t limit = counter->limit->rate.count;

        ck_assert_msg(live_slots(counter) <= 1, "run %lu: %u slots", (unsigned long)run, live_slots(counter));
        ck_assert_msg(held <= limit + dead, "run %lu: %lu of %lu", (unsigned long)run, (unsigned long)held,
                      (unsigned long)limit);
        ck_assert_msg(held <= kept + dead && kept <= held + dead, "run %lu: %lu held, %lu kept", (unsigned long)run,
                      (unsigned long)held, (unsigned long)kept);
    }
    if (!world.gives_back && dead == 0 && world.counter_count == 1) {
        const aq_limit_t *limit = world.callers[0].counters[0].limit;
        const uint64_t wanted = CALLERS * takes < limit->rate.count ? CALLERS * takes : limit->rate.count;

        /* In a sliding window two that meet at the edge of a sub-window may both be refused. */
        ck_assert_msg(limit->window.algorithm == AQ_ALGORITHM_SLIDING || admitted == wanted, "run %lu: %lu admitted",
                      (unsigned long)run, (unsigned long)admitted);
    }
}

static uint64_t run_count(void)
{
    const char *asked = getenv("AQ_RUNS");
    const uint64_t count = asked != NULL ? strtoull(asked, NULL, 10) : RUNS;

    if (count == 0) {
        printf("not run: the thread sanitizer cannot follow callers that are no threads\n");
    }
    return count;
}

static void runs(const char *const rates[2], unsigned takes)
{
    const uint64_t count = run_count();
    const aq_limit_t *limits[2] = {NULL, NULL};

    world_make();
    for (unsigned i = 0; i < 2 && rates[i] != NULL; i++) {
        limits[i] = counter_limit(world.store, i == 0 ? "a" : "b", rates[i], NULL);
        world.counter_count = i + 1;
    }
    for (uint64_t run = 0; run < count; run++) {
        world.gives_back = run % 3 == 1;
        world.may_die = run % 4 == 3;
        run_prepare(run, limits, takes);
        callers_run();
        run_check(run, takes);
    }
    for (int i = 0; i < CALLERS; i++) {
        free(world.callers[i].stack);
    }
}

START_TEST(fixed_counter_is_inserted_once_and_charged_exactly)
{
    runs((const char *const[]){"2/day", NULL}, 1);
}
END_TEST

START_TEST(sliding_counter_is_inserted_once_and_never_exceeded)
{
    runs((const char *const[]){"3/minute", NULL}, 2);
}
END_TEST

START_TEST(two_counters_are_charged_together)
{
    runs((const char *const[]){"3/minute", "4/day"}, 2);
}
END_TEST

/*
 * Three new counters and two slots for them, one freed and one that somebody left while he prepared it, among live ones:
 * nobody gets another's slot, and only who finds none fails.
 */
static void crowd_prepare(uint64_t run, const aq_limit_t *limit)
{
    const uint64_t present = (uint64_t)(NOON / SECOND) * 6 << 32;

    run_prepare(run, (const aq_limit_t *const[2]){limit, NULL}, 1);
    world.file.table = aq_shm_table(world.file.table.slots, AQ_SHM_PROBES);
    ((aq_shm_store_t *)world.store)->table = world.file.table;
    for (uint64_t i = 0; i < AQ_SHM_PROBES; i++) {
        atomic_store(&world.file.table.slots[i].tag,
                     (i + 1) << 50 | AQ_SHM_LIVE | AQ_LIFE_ENDLESS << AQ_SHM_LIFE_SHIFT);
        atomic_store(&world.file.table.slots[i].words[0], present | 1);
    }
    atomic_store(&world.file.table.slots[draw(64)].tag, UINT64_C(1) << 60 | AQ_SHM_FREED);
    atomic_store(&world.file.table.slots[64 + draw(64)].tag, UINT64_C(1) << 61 | AQ_SHM_PENDING);
    for (int i = 0; i < CALLERS; i++) {
        world.callers[i].counters[0] = counter_numbered(world.store, limit, run * CALLERS + (uint64_t)i);
    }
}

START_TEST(last_slots_go_to_one_counter_each)
{
    const uint64_t count = run_count() / 10;
    const aq_limit_t *limit;

    world_make();
    world.is_crowded = 1;
    world.counter_count = 1;
    limit = counter_limit(world.store, "a", "1/day", NULL);
    for (uint64_t run = 0; run < count; run++) {
        unsigned admitted = 0;

        world.may_die = run % 4 == 3;
        crowd_prepare(run, limit);
        callers_run();
        for (int i = 0; i < CALLERS; i++) {
            const caller_t *caller = &world.callers[i];

            admitted += caller->admitted;
            ck_assert_uint_le(live_slots(&caller->counters[0]), 1);
            ck_assert_msg(caller->is_dead || caller->admitted == live_slots(&caller->counters[0]), "run %lu",
                          (unsigned long)run);
        }
        ck_assert_msg(admitted <= 2 && (world.may_die || admitted == 2), "run %lu: %u", (unsigned long)run, admitted);
    }
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, last_slots_go_to_one_counter_each);
    tcase_add_test(tests, fixed_counter_is_inserted_once_and_charged_exactly);
    tcase_add_test(tests, sliding_counter_is_inserted_once_and_never_exceeded);
    tcase_add_test(tests, two_counters_are_charged_together);
}

int main(void)
{
    return fixture_run("interleavings", add);
}
