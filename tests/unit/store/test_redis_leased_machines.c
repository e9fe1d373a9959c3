/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leased counters, whatever happens: random machines take, give back, sleep, return slices and die, on one real Redis, and
 * what was admitted is counted beside them by the windows of the true time. No window may ever hold more than its limit.
 * And processes of one machine, which race.
 *
 * AQ_SEED=N begins with another random script, AQ_SCRIPTS=N runs so many; AQ_LONG=1 twenty.
 */
#include "contract/counter_fixture.h"
#include "store/redis_leased.h"
#include "unit/redis_fixture.h"

#include <apr_strings.h>
#include <string.h>

#define MACHINES 4
#define LIMITS 4
#define STEPS 1500
#define SCRIPTS 1
#define SCRIPTS_LONG 20
#define SUB (MINUTE / 6)
/* Sub-windows, and other windows, from the beginning of a script on. */
#define WINDOWS 512
#define KEPT 64

static aq_time_ms_t present_ms;
static int64_t ahead_ms; /* of the boot clock of the machine whose turn it is */

static aq_time_ms_t boot_clock(void)
{
    return present_ms + ahead_ms;
}

static const struct {
    const char *name, *rate;
    uint64_t limit;
    aq_time_ms_t window_ms; /* 0: it never ends */
    int is_sliding;
} rows[LIMITS] = {
    {"minute", "3200/minute", 3200, SUB, 1},
    {"ten", "960/10s", 960, 10 * SECOND, 0},
    {"hour", "20000/hour", 20000, HOUR, 0},
    {"all", "60000/total", 60000, 0, 0},
};

typedef struct {
    unsigned machine;
    uint32_t cost;
    aq_time_ms_t at_ms;
    unsigned count;
    aq_counter_t counters[LIMITS + 1];
} charge_t;

typedef struct {
    redis_fixture_t server;
    aq_counter_store_t *machines[MACHINES];
    const aq_limit_t *limits[LIMITS + 1];
    aq_time_ms_t began_ms;
    int64_t admitted[LIMITS][WINDOWS];
    charge_t kept[KEPT];
    unsigned kept_count;
    uint64_t random;
    uint64_t total, refused;
    int is_hot; /* demand is above the limits; else it is below them, so that windows end with slices unspent */
} world_t;

static uint64_t random_below(world_t *world, uint64_t below)
{
    world->random ^= world->random << 13;
    world->random ^= world->random >> 7;
    world->random ^= world->random << 17;
    return world->random % below;
}

static aq_counter_store_t *machine_make(const world_t *world)
{
    fixture_log_keep();
    return redis_fixture_store_with(
        &world->server, &(aq_redis_counters_options_t){.is_clock_given = 1, .is_leased = 1, .boot_clock = boot_clock});
}

static void turn_of(unsigned machine)
{
    ahead_ms = (int64_t)machine * 7 * HOUR;
}

static uint64_t window_of(const world_t *world, unsigned row, aq_time_ms_t at_ms)
{
    const aq_time_ms_t length_ms = rows[row].window_ms;
    const uint64_t number =
        length_ms != 0 ? (uint64_t)(at_ms / length_ms - world->began_ms / length_ms) + AQ_WINDOW_SUBS : 0;

    ck_assert_uint_lt(number, WINDOWS);
    return number;
}

/* What a window of that row holds of what was admitted, as the limit counts it. */
static uint64_t held(const world_t *world, unsigned row)
{
    const int64_t *admitted = world->admitted[row];
    const uint64_t now = window_of(world, row, present_ms);
    const int64_t into_ms = present_ms % SUB;
    int64_t sum = 0;

    if (!rows[row].is_sliding) {
        return (uint64_t)admitted[now];
    }
    for (unsigned age = 0; age < AQ_WINDOW_SUBS; age++) {
        sum += admitted[now - age];
    }
    return (uint64_t)(sum + (admitted[now - AQ_WINDOW_SUBS] * (SUB - into_ms) + SUB - 1) / SUB);
}

static void admitted_note(world_t *world, const charge_t *charge, int sign)
{
    for (unsigned i = 0; i < charge->count; i++) {
        for (unsigned row = 0; row < LIMITS; row++) {
            if (charge->counters[i].limit == world->limits[row]) {
                world->admitted[row][window_of(world, row, charge->at_ms)] += sign * (int64_t)charge->cost;
                ck_assert_msg(sign < 0 || held(world, row) <= rows[row].limit, "%s: %lu of %lu", rows[row].rate,
                              (unsigned long)held(world, row), (unsigned long)rows[row].limit);
            }
        }
    }
}

/* One request at one machine, of some of the limits and at times of one that is strict. */
static void step_take(world_t *world, unsigned machine)
{
    charge_t charge = {
        .machine = machine, .cost = 1 + (uint32_t)(random_below(world, 4) == 0) * 3, .at_ms = present_ms};
    aq_counter_store_t *store = world->machines[machine];
    const unsigned chosen = 1 + (unsigned)random_below(world, (1u << (LIMITS + 1)) - 1);

    for (unsigned row = 0; row <= LIMITS; row++) {
        if ((chosen >> row & 1) != 0 && (row != LIMITS || random_below(world, 8) == 0)) {
            charge.counters[charge.count++] = counter_of(store, world->limits[row], "a");
        }
    }
    if (charge.count == 0) {
        return;
    }
    if (!counters_take(store, charge.counters, charge.count, charge.cost, present_ms)) {
        world->refused++;
        return;
    }
    world->total += charge.cost;
    admitted_note(world, &charge, 1);
    world->kept[world->kept_count++ % KEPT] = charge;
}

/* A free answer, of now or of long ago. */
static void step_give_back(world_t *world)
{
    charge_t *charge = &world->kept[random_below(world, KEPT)];

    if (charge->count == 0) {
        return;
    }
    turn_of(charge->machine);
    ck_assert_int_eq(
        aq_counter_store_give_back(world->machines[charge->machine], charge->counters, charge->count, present_ms),
        APR_SUCCESS);
    admitted_note(world, charge, -1);
    charge->count = 0;
}

/* A machine dies with all that it holds, and another one comes. Its requests are never given back. */
static void step_die(world_t *world, unsigned machine)
{
    for (unsigned i = 0; i < KEPT; i++) {
        world->kept[i].count = world->kept[i].machine == machine ? 0 : world->kept[i].count;
    }
    aq_redis_link_release(aq_redis_counters_link(world->machines[machine]));
    world->machines[machine] = machine_make(world);
}

static void step(world_t *world)
{
    static const unsigned pauses_ms[2][8] = {{1, 1, 2, 3, 5, 20, 60, 300}, {0, 0, 0, 1, 1, 3, 10, 40}};
    const unsigned machine = (unsigned)random_below(world, MACHINES);
    const uint64_t what = random_below(world, 1000);

    present_ms += pauses_ms[world->is_hot][random_below(world, 8)];
    world->is_hot ^= random_below(world, 40) == 0;
    turn_of(machine);
    if (what < 2) {
        step_die(world, machine);
    } else if (what < 4) {
        present_ms += (aq_time_ms_t)random_below(world, 40 * SECOND);
    } else if (what < 60) {
        step_give_back(world);
    } else if (what < 110) {
        aq_redis_counters_return(world->machines[machine], present_ms, what < 65);
    } else {
        for (uint64_t burst = random_below(world, world->is_hot ? 200 : 12); burst-- != 0;) {
            step_take(world, machine);
        }
    }
}

static void world_begin(world_t *world, uint64_t seed)
{
    memset(world, 0, sizeof(*world));
    world->server = redis_fixture_start(NULL);
    world->random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    present_ms = world->began_ms = NOON;
    for (unsigned i = 0; i < MACHINES; i++) {
        turn_of(i);
        world->machines[i] = machine_make(world);
    }
    for (unsigned row = 0; row < LIMITS; row++) {
        world->limits[row] =
            counter_limit(world->machines[0], rows[row].name, rows[row].rate,
                          rows[row].window_ms != 0 && !rows[row].is_sliding ? "algorithm=fixed" : NULL);
    }
    world->limits[LIMITS] = counter_limit(world->machines[0], "burst", "600/minute", "burst=60");
}

static unsigned long number_of(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? strtoul(text, NULL, 10) : otherwise;
}

START_TEST(no_window_ever_holds_more_than_its_limit_over_any_machines)
{
    static world_t world;
    const unsigned long seed = number_of("AQ_SEED", 1);
    const unsigned long scripts = number_of("AQ_LONG", 0) != 0 ? SCRIPTS_LONG : SCRIPTS;

    for (unsigned long i = 0; i < number_of("AQ_SCRIPTS", scripts); i++) {
        world_begin(&world, seed + i);
        for (unsigned n = 0; n < STEPS; n++) {
            step(&world);
        }
        /* The script must have done what it is for. */
        ck_assert_uint_gt(world.total, 3000);
        ck_assert_uint_gt(world.refused, 300);
        redis_fixture_kill(&world.server);
    }
}
END_TEST

#define PROCESSES 4

typedef struct {
    aq_counter_store_t *store;
    _Atomic uint64_t admitted;
} race_t;

/* Takes until it is refused for a quarter of a second. */
static int race_run(void *data)
{
    race_t *race = data;
    aq_counter_t counter = counter_of(race->store, counter_limit(race->store, "l", "5000/total", NULL), "a");
    const aq_time_ms_t began_ms = aq_clock_boot_ms();
    aq_time_ms_t refused_ms = 0;
    int is_denied;

    while (refused_ms == 0 || aq_clock_boot_ms() - refused_ms < 250) {
        if (aq_counter_store_take(race->store, &counter, 1, 1, aq_clock_now_ms(), &is_denied) != APR_SUCCESS ||
            aq_clock_boot_ms() - began_ms > 60000) {
            return 1;
        }
        if (!is_denied) {
            atomic_fetch_add(&race->admitted, 1);
            refused_ms = 0;
        } else if (refused_ms == 0) {
            refused_ms = aq_clock_boot_ms();
        }
    }
    return 0;
}

START_TEST(processes_of_two_machines_are_admitted_exactly_to_the_limit)
{
    const redis_fixture_t server = redis_fixture_start(NULL);
    race_t *races[2];
    pid_t pids[2 * PROCESSES];

    fixture_log_keep();
    for (unsigned m = 0; m < 2; m++) {
        races[m] = memory_shared(sizeof(*races[m]));
        races[m]->store = redis_fixture_store_with(&server, &(aq_redis_counters_options_t){.is_leased = 1});
    }
    for (unsigned i = 0; i < 2 * PROCESSES; i++) {
        pids[i] = child_start(race_run, races[i % 2]);
    }
    for (unsigned i = 0; i < 2 * PROCESSES; i++) {
        ck_assert(child_join(pids[i]));
    }
    /* Who puts a slice in goes on until it is spent, so nothing is left. */
    ck_assert_uint_eq(races[0]->admitted + races[1]->admitted, 5000);
}
END_TEST

static void add(TCase *tests)
{
    tcase_set_timeout(tests, 600);
    tcase_add_test(tests, no_window_ever_holds_more_than_its_limit_over_any_machines);
    tcase_add_test(tests, processes_of_two_machines_are_admitted_exactly_to_the_limit);
}

int main(void)
{
    return fixture_run("leased counters of several machines", add);
}
