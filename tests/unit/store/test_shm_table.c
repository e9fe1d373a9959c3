/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of slots: what is left by processes that died or stopped while inserting, dead slots, a full table, and the
 * part of it that invented subjects may fill (catalogue lines 8 and 59).
 */
#include "store/shm_table.h"
#include "contract/counter_fixture.h"
#include "store/shm_counters.h"

#include <string.h>

#define SLOTS 4096
#define FLOOD 20000
#define LOG_SHARED 303
#define LOG_FULL 304

/* A table in memory of its own, empty. */
static aq_shm_table_t table_make(uint64_t slot_count)
{
    void *memory = memory_shared(slot_count * sizeof(aq_shm_slot_t));

    return aq_shm_table(memory, slot_count);
}

static uint64_t tag_numbered(uint64_t number, unsigned life, int is_invented)
{
    const aq_hash128_t key = aq_hash_keyed(&(aq_hash_secret_t){"table"}, &number, sizeof(number));

    return aq_shm_tag(&key, life, is_invented);
}

static uint64_t birth_at(aq_time_ms_t at_ms)
{
    return (uint64_t)(uint32_t)(at_ms / 1000 * 6) << 32;
}

static aq_shm_place_t insert(const aq_shm_table_t *table, uint64_t tag, aq_time_ms_t now_ms)
{
    aq_shm_place_t place;

    ck_assert_int_eq(aq_shm_table_insert(table, tag, birth_at(now_ms), now_ms, &place), APR_SUCCESS);
    ck_assert(aq_shm_tag_is_same(place.tag, tag));
    ck_assert_uint_eq(atomic_load(&place.slot->tag), place.tag);
    return place;
}

START_TEST(inserted_counter_is_found_and_inserted_once)
{
    const aq_shm_table_t table = table_make(SLOTS);

    for (uint64_t i = 0; i < SLOTS * 7 / 10; i++) {
        const uint64_t tag = tag_numbered(i, 17, 0);
        const aq_shm_place_t place = insert(&table, tag, NOON);

        ck_assert_ptr_eq(insert(&table, tag, NOON).slot, place.slot);
    }
    for (uint64_t i = 0; i < SLOTS; i++) {
        const aq_shm_place_t found = aq_shm_table_find(&table, tag_numbered(i, 17, 0));

        ck_assert((found.slot != NULL) == (i < SLOTS * 7 / 10));
    }
    ck_assert_ptr_null(aq_shm_table_find(&table, tag_numbered(1, 18, 0)).slot);
    ck_assert_ptr_null(aq_shm_table_find(&table, tag_numbered(1, 17, 1)).slot);
    ck_assert_uint_eq(aq_shm_table_count(&table, NOON).live, SLOTS * 7 / 10);
}
END_TEST

START_TEST(slot_dies_after_its_life_and_a_margin)
{
    const aq_shm_table_t table = table_make(SLOTS);
    const aq_shm_place_t place = insert(&table, tag_numbered(1, 7, 0), NOON);
    const aq_time_ms_t over_ms = NOON + 128 * SECOND;

    ck_assert(!aq_shm_slot_is_dead(place.slot, place.tag, over_ms, 0));
    ck_assert(aq_shm_slot_is_dead(place.slot, place.tag, over_ms + SECOND, 0));
    ck_assert(!aq_shm_slot_is_dead(place.slot, place.tag, over_ms + 60 * SECOND, 60));
    ck_assert(aq_shm_slot_is_dead(place.slot, place.tag, over_ms + 61 * SECOND, 60));
    ck_assert(!aq_shm_slot_is_dead(place.slot, place.tag, NOON - DAY, 0));
    ck_assert(
        !aq_shm_slot_is_dead(place.slot, aq_shm_tag(&(aq_hash128_t){1, 2}, AQ_LIFE_ENDLESS, 0), NOON + 3650 * DAY, 0));
    /* The newest word counts, wherever it lies. */
    atomic_store(&place.slot->words[5], birth_at(NOON + 100 * SECOND) | 1);
    ck_assert(!aq_shm_slot_is_dead(place.slot, place.tag, over_ms + 100 * SECOND, 0));
}
END_TEST

START_TEST(dead_slot_of_another_is_taken_and_cleared)
{
    const aq_shm_table_t table = table_make(AQ_SHM_PROBES);
    uint64_t taken = 0;

    for (uint64_t i = 0; i < AQ_SHM_PROBES; i++) {
        const aq_shm_place_t place = insert(&table, tag_numbered(i, 7, 0), NOON);

        for (unsigned word = 0; word < AQ_WINDOW_WORDS; word++) {
            atomic_store(&place.slot->words[word], birth_at(NOON) | 9);
        }
    }
    for (uint64_t i = 0; i < AQ_SHM_PROBES; i++, taken++) {
        const aq_shm_place_t place = insert(&table, tag_numbered(1000 + i, 17, 0), NOON + HOUR);

        for (unsigned word = 0; word < AQ_WINDOW_WORDS; word++) {
            ck_assert_uint_eq(atomic_load(&place.slot->words[word]), birth_at(NOON + HOUR));
        }
    }
    ck_assert_uint_eq(taken, AQ_SHM_PROBES);
    for (uint64_t i = 0; i < AQ_SHM_PROBES; i++) {
        ck_assert_ptr_null(aq_shm_table_find(&table, tag_numbered(i, 7, 0)).slot);
    }
}
END_TEST

START_TEST(own_dead_slot_is_begun_anew_in_its_place)
{
    const aq_shm_table_t table = table_make(SLOTS);
    const uint64_t tag = tag_numbered(1, 7, 0);
    const aq_shm_place_t old = insert(&table, tag, NOON);
    aq_shm_place_t fresh;

    atomic_store(&old.slot->words[0], birth_at(NOON) | 9);
    ck_assert_ptr_eq(insert(&table, tag, NOON + MINUTE).slot, old.slot);
    ck_assert_uint_eq(atomic_load(&old.slot->tag), old.tag);
    fresh = insert(&table, tag, NOON + HOUR);
    ck_assert_ptr_eq(fresh.slot, old.slot);
    ck_assert_uint_ne(fresh.tag, old.tag);
    ck_assert_uint_eq(atomic_load(&fresh.slot->words[0]), birth_at(NOON + HOUR));
}
END_TEST

/* What a process leaves that died, or sleeps, between claiming a slot and confirming it. */
static aq_shm_slot_t *pending_leave(const aq_shm_table_t *table, uint64_t tag, unsigned steps)
{
    const uint64_t index = aq_shm_home(table, tag) + steps * aq_shm_step(table, tag);
    aq_shm_slot_t *slot = &table->slots[index % table->slot_count];

    for (unsigned i = 0; i < steps; i++) {
        const uint64_t before = aq_shm_home(table, tag) + i * aq_shm_step(table, tag);

        atomic_store(&table->slots[before % table->slot_count].tag, UINT64_C(1) << 40 | AQ_SHM_FREED);
    }
    atomic_store(&slot->tag, (tag & ~AQ_SHM_STATE_MASK) | AQ_SHM_PENDING | 3);
    return slot;
}

START_TEST(pending_slot_of_the_same_counter_holds_nobody_up)
{
    for (unsigned steps = 0; steps < 5; steps++) {
        const aq_shm_table_t table = table_make(SLOTS);
        const uint64_t tag = tag_numbered(steps, 17, 0);
        aq_shm_slot_t *left = pending_leave(&table, tag, steps);
        const uint64_t mine = atomic_load(&left->tag);
        aq_shm_place_t place = insert(&table, tag, NOON);
        uint64_t expected = mine;

        /* Who wakes up cannot confirm any more. */
        ck_assert(!atomic_compare_exchange_strong(&left->tag, &expected, (mine & ~AQ_SHM_STATE_MASK) | AQ_SHM_LIVE));
        ck_assert_ptr_eq(aq_shm_table_find(&table, tag).slot, place.slot);
    }
}
END_TEST

START_TEST(pending_slots_of_others_are_used_when_nothing_else_is_free)
{
    const aq_shm_table_t table = table_make(AQ_SHM_PROBES);
    uint64_t found = 0;

    for (uint64_t i = 0; i < AQ_SHM_PROBES; i++) {
        const uint64_t tag = tag_numbered(i, 17, 0);
        const uint64_t state = i % 4 == 0 ? AQ_SHM_PENDING : AQ_SHM_LIVE;

        atomic_store(&table.slots[i].tag, (tag & ~AQ_SHM_STATE_MASK) | state);
        atomic_store(&table.slots[i].words[0], birth_at(NOON));
    }
    for (uint64_t i = 0; i < AQ_SHM_PROBES / 4; i++) {
        (void)insert(&table, tag_numbered(1000 + i, 17, 0), NOON);
    }
    for (uint64_t i = 0; i < AQ_SHM_PROBES; i++) {
        found += aq_shm_table_find(&table, tag_numbered(1000 + i, 17, 0)).slot != NULL;
        ck_assert(i % 4 == 0 || aq_shm_tag_is_same(atomic_load(&table.slots[i].tag), tag_numbered(i, 17, 0)));
    }
    ck_assert_uint_eq(found, AQ_SHM_PROBES / 4);
}
END_TEST

START_TEST(full_table_takes_no_more_and_loses_none)
{
    const aq_shm_table_t table = table_make(SLOTS);
    aq_shm_place_t place;
    uint64_t inserted = 0;

    while (aq_shm_table_insert(&table, tag_numbered(inserted, 17, 0), birth_at(NOON), NOON, &place) == APR_SUCCESS) {
        inserted++;
    }
    ck_assert_uint_ge(inserted, SLOTS * 7 / 10);
    for (uint64_t i = 0; i < inserted; i++) {
        ck_assert_ptr_nonnull(aq_shm_table_find(&table, tag_numbered(i, 17, 0)).slot);
    }
}
END_TEST

START_TEST(invented_counters_leave_a_quarter_of_each_block)
{
    const aq_shm_table_t table = table_make(SLOTS);
    aq_shm_place_t place;
    unsigned named = 0;

    for (uint64_t i = 0; i < 4 * SLOTS; i++) {
        (void)aq_shm_table_insert(&table, tag_numbered(i, 17, 1), birth_at(NOON), NOON, &place);
    }
    for (uint64_t block = 0; block < SLOTS; block += AQ_SHM_BLOCK) {
        unsigned invented = 0;

        for (uint64_t i = block; i < block + AQ_SHM_BLOCK; i++) {
            invented += (atomic_load(&table.slots[i].tag) & AQ_SHM_INVENTED) != 0;
        }
        ck_assert_uint_eq(invented, AQ_SHM_BLOCK_INVENTED_MAX);
    }
    for (uint64_t i = 0; i < SLOTS / 16; i++) {
        named += aq_shm_table_insert(&table, tag_numbered(i, 17, 0), birth_at(NOON), NOON, &place) == APR_SUCCESS;
    }
    ck_assert_uint_eq(named, SLOTS / 16);
}
END_TEST

/* Lines 8 and 59, over the store: a flood of addresses. */
START_TEST(flood_of_invented_subjects_leaves_keys_their_counters)
{
    aq_counter_store_t *store = counters_open_shm(SLOTS);
    const aq_limit_t *day = counter_limit(store, "day", "10/day", NULL);
    aq_limit_t *address = counter_limit(store, "address", "10/hour", NULL);
    aq_counter_t victim = counter_of(store, day, "victim");
    unsigned denied = 0;

    address->per = AQ_PER_IP;
    fixture_log_keep();
    ck_assert(counter_take(store, &victim, 7, NOON));
    for (uint64_t i = 0; i < FLOOD; i++) {
        aq_counter_t counter = counter_numbered(store, address, i);

        denied += (unsigned)!counter_take(store, &counter, 1, NOON);
    }
    /* New ones share: stricter for them, never free. */
    ck_assert_uint_ge(denied, FLOOD - SLOTS);
    ck_assert_uint_eq(counter_used(store, victim, NOON), 7);
    ck_assert_uint_gt(counters_info(store, NOON).overflows, 0);
    ck_assert_int_eq(fixture_log_count(LOG_SHARED), 1);
    ck_assert_int_eq(fixture_log_count(LOG_FULL), 0);
    for (uint64_t i = 0; i < SLOTS / 16; i++) {
        aq_counter_t counter = counter_numbered(store, day, 100000 + i);

        ck_assert(counter_take(store, &counter, 10, NOON));
        ck_assert(!counter_take(store, &counter, 1, NOON));
    }
}
END_TEST

START_TEST(overflow_counter_is_exact_and_given_back)
{
    aq_counter_store_t *store = counters_open_shm(SMALL_SLOTS);
    aq_limit_t *flood = counter_limit(store, "flood", "10/hour", NULL);
    aq_limit_t *address = counter_limit(store, "address", "10/hour", NULL);
    unsigned admitted = 0;

    flood->per = AQ_PER_IP;
    address->per = AQ_PER_IP;
    for (uint64_t i = 0; i < 20 * SMALL_SLOTS; i++) {
        aq_counter_t counter = counter_numbered(store, flood, i);

        (void)counter_take(store, &counter, 10, NOON);
    }
    for (uint64_t i = 10000; i < 10050; i++) {
        aq_counter_t counter = counter_numbered(store, address, i);

        if (counter_take(store, &counter, 1, NOON) && ++admitted == 10) {
            ck_assert_uint_eq(counter.remaining, 0);
            counter_give_back(store, &counter, NOON);
            ck_assert_uint_eq(counter.remaining, 1);
            ck_assert_uint_eq(counter_used(store, counter, NOON), 9);
        }
    }
    /* Ten, and one for the tenth, which was given back. */
    ck_assert_uint_eq(admitted, 11);
}
END_TEST

START_TEST(full_store_says_so_once_a_second)
{
    aq_counter_store_t *store = counters_open_shm(SMALL_SLOTS);
    const aq_limit_t *day = counter_limit(store, "day", "10/day", NULL);
    apr_status_t rv = APR_SUCCESS;
    uint64_t taken = 0;

    fixture_log_keep();
    for (uint64_t i = 0; i < 2000; i++) {
        aq_counter_t counter = counter_numbered(store, day, i);
        int is_denied;

        rv = aq_counter_store_take(store, &counter, 1, 1, NOON + (i < 1500 ? 0 : SECOND), &is_denied);
        taken += rv == APR_SUCCESS;
        ck_assert(rv == APR_SUCCESS || APR_STATUS_IS_ENOSPC(rv));
    }
    ck_assert_uint_ge(taken, SMALL_SLOTS * 6 / 10);
    ck_assert_int_eq(fixture_log_count(LOG_FULL), 2);
    ck_assert_uint_eq(counters_info(store, NOON).live, taken);
    /* A day later all are dead, and there is room again. */
    for (uint64_t i = 3000; i < 3000 + SMALL_SLOTS * 6 / 10; i++) {
        aq_counter_t counter = counter_numbered(store, day, i);

        ck_assert(counter_take(store, &counter, 1, NOON + 3 * DAY));
    }
}
END_TEST

/* A charge that found no place for its second counter leaves nothing in its first. */
START_TEST(charge_without_a_place_takes_nothing)
{
    aq_counter_store_t *store = counters_open_shm(SMALL_SLOTS);
    const aq_limit_t *day = counter_limit(store, "day", "10/day", NULL);
    const aq_limit_t *hour = counter_limit(store, "hour", "10/hour", NULL);
    unsigned failed = 0;

    for (uint64_t i = 0; i < 3 * SMALL_SLOTS; i++) {
        aq_counter_t filler = counter_numbered(store, day, 100 + i);
        int is_denied;

        (void)aq_counter_store_take(store, &filler, 1, 1, NOON, &is_denied);
    }
    for (uint64_t i = 0; i < 100; i++) {
        aq_counter_t both[2] = {counter_numbered(store, day, 100 + i), counter_numbered(store, hour, i)};
        const uint64_t before = counter_used(store, both[0], NOON);
        int is_denied;
        apr_status_t rv = aq_counter_store_take(store, both, 2, 1, NOON, &is_denied);

        failed += rv != APR_SUCCESS;
        ck_assert_uint_eq(counter_used(store, both[0], NOON), before + (rv == APR_SUCCESS));
    }
    ck_assert_uint_gt(failed, 90);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, inserted_counter_is_found_and_inserted_once);
    tcase_add_test(tests, slot_dies_after_its_life_and_a_margin);
    tcase_add_test(tests, dead_slot_of_another_is_taken_and_cleared);
    tcase_add_test(tests, own_dead_slot_is_begun_anew_in_its_place);
    tcase_add_test(tests, pending_slot_of_the_same_counter_holds_nobody_up);
    tcase_add_test(tests, pending_slots_of_others_are_used_when_nothing_else_is_free);
    tcase_add_test(tests, full_table_takes_no_more_and_loses_none);
    tcase_add_test(tests, invented_counters_leave_a_quarter_of_each_block);
    tcase_add_test(tests, flood_of_invented_subjects_leaves_keys_their_counters);
    tcase_add_test(tests, overflow_counter_is_exact_and_given_back);
    tcase_add_test(tests, full_store_says_so_once_a_second);
    tcase_add_test(tests, charge_without_a_place_takes_nothing);
}

int main(void)
{
    return fixture_run("slots", add);
}
