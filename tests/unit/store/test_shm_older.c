/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counter files of older layouts are carried over.
 *
 * A file of version 1 is written here as the first layout had it: a counter lies at home or in one of the 127 slots right
 * behind (and not some steps away), the header knows no owners. Tags and words are made by today's code, since they are
 * the same.
 */
#include "unit/store/shm_file_fixture.h"

#include "store/shm_layout.h"
#include "store/shm_table.h"

#include <apr_strings.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_UPGRADED 470
#define COUNTERS 600
#define FIRST_MADE_AT INT64_C(1700000000000)

typedef struct {
    aq_shm_header_t header;
    aq_shm_slot_t slots[(SIZE_SMALL - AQ_SHM_HEADER_SIZE) / AQ_SHM_SLOT_SIZE];
} first_file_t;

static_assert(sizeof(first_file_t) == SIZE_SMALL, "the file of version 1");

static first_file_t first;

static void first_begin(void)
{
    memset((void *)&first, 0, sizeof(first));
    memcpy(first.header.magic, AQ_SHM_MAGIC, sizeof(first.header.magic));
    first.header.version = 1;
    first.header.byte_order = AQ_SHM_BYTE_ORDER;
    first.header.header_size = AQ_SHM_HEADER_SIZE;
    first.header.slot_size = AQ_SHM_SLOT_SIZE;
    first.header.slot_count = sizeof(first.slots) / sizeof(first.slots[0]);
    first.header.size_bytes = sizeof(first);
    first.header.made_at_ms = FIRST_MADE_AT;
    memset(&first.header.secret, 7, sizeof(first.header.secret));
    atomic_store(&first.header.overflows, 3);
    ck_assert_int_eq(aq_hash_sha256(&first.header, AQ_SHM_CHECKED_SIZE, first.header.checksum), APR_SUCCESS);
}

/* Lays a counter with one word where version 1 had it. */
static void first_lay(uint64_t tag, uint64_t word)
{
    const aq_shm_table_t table = aq_shm_table(first.slots, first.header.slot_count);
    uint64_t index = aq_shm_home(&table, tag);

    while (atomic_load(&first.slots[index].tag) != 0) {
        index = index + 1 < first.header.slot_count ? index + 1 : 0;
    }
    atomic_store(&first.slots[index].tag, tag);
    atomic_store(&first.slots[index].words[0], word);
}

static void first_write(void)
{
    int fd = open(shm_file_path(), O_WRONLY | O_CREAT | O_TRUNC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, (void *)&first, sizeof(first)), sizeof(first));
    ck_assert_int_eq(close(fd), 0);
}

/* The limit of the tests, and a counter of it, as a server with the secret of `first` has them. */
static const aq_limit_t *first_limit(void)
{
    const aq_counter_store_t store = {.secret = first.header.secret};

    return counter_limit(&store, "day", "100/day", NULL);
}

static aq_counter_t first_counter(const aq_limit_t *limit, uint64_t number)
{
    const aq_counter_store_t store = {.secret = first.header.secret};

    return counter_numbered(&store, limit, number);
}

static uint64_t first_word(const aq_limit_t *limit, uint32_t used)
{
    return (uint64_t)aq_window_locate(&limit->window, NOON).start << 32 | used;
}

/* A file of version 1 with COUNTERS counters, number i of which has used i modulo 100. */
static const aq_limit_t *first_make(void)
{
    first_begin();
    const aq_limit_t *limit = first_limit();
    for (uint32_t i = 0; i < COUNTERS; i++) {
        const aq_counter_t counter = first_counter(limit, i);
        first_lay(aq_shm_tag(&counter.key, limit->life, 0), first_word(limit, i % 100));
    }
    first_write();
    return limit;
}

static void counters_check(aq_counter_store_t *store, const aq_limit_t *limit)
{
    ck_assert_mem_eq(&store->secret, &first.header.secret, sizeof(store->secret));
    for (uint32_t i = 0; i < COUNTERS; i++) {
        ck_assert_uint_eq(counter_used(store, first_counter(limit, i), NOON), i % 100);
    }
}

START_TEST(counters_of_version_1_are_carried_over)
{
    static const uint64_t sizes[] = {SIZE_SMALL, SIZE_LARGE};
    const char *kept = apr_pstrcat(fixture_pool, shm_file_path(), ".version-1", NULL);
    struct stat info;

    shm_file_fresh();
    const aq_limit_t *limit = first_make();
    aq_counter_store_t *store = shm_file_open(fixture_pool, sizes[_i], NOON);
    const aq_counter_store_info_t told = counters_info(store, NOON);

    counters_check(store, limit);
    ck_assert_uint_eq(told.size_bytes, sizes[_i]);
    ck_assert_uint_eq(told.overflows, 3);
    ck_assert_int_eq(fixture_log_count(LOG_UPGRADED), 1);
    ck_assert_uint_eq(shm_file_aside(), 0);
    ck_assert_int_eq(stat(kept, &info), 0);
    ck_assert_int_eq(info.st_size, SIZE_SMALL);
    ck_assert_int_eq(unlink(kept), 0);
}
END_TEST

/* Such as the first layout had, and the second one could not find: the test above would be no test without them. */
START_TEST(version_1_has_counters_where_version_2_does_not_look)
{
    first_begin();
    const aq_limit_t *limit = first_limit();
    unsigned lost = 0;

    for (uint32_t i = 0; i < COUNTERS; i++) {
        const aq_counter_t counter = first_counter(limit, i);
        first_lay(aq_shm_tag(&counter.key, limit->life, 0), first_word(limit, 1));
    }
    const aq_shm_table_t table = aq_shm_table(first.slots, first.header.slot_count);
    for (uint32_t i = 0; i < COUNTERS; i++) {
        const aq_counter_t counter = first_counter(limit, i);
        lost += aq_shm_table_find(&table, aq_shm_tag(&counter.key, limit->life, 0)).slot == NULL;
    }
    ck_assert_uint_gt(lost, 0);
}
END_TEST

START_TEST(upgraded_file_is_upgraded_once)
{
    apr_pool_t *p = shm_file_pool();

    shm_file_fresh();
    const aq_limit_t *limit = first_make();
    aq_counter_t counter = first_counter(limit, 0);
    ck_assert(counter_take(shm_file_open(p, SIZE_SMALL, NOON), &counter, 5, NOON));
    apr_pool_destroy(p);
    ck_assert_uint_eq(counter_used(shm_file_open(fixture_pool, SIZE_SMALL, NOON), counter, NOON), 5);
    ck_assert_int_eq(fixture_log_count(LOG_UPGRADED), 1);
}
END_TEST

/* What ran at a full stop runs no more; in version 1 that life was a window of seventeen years and more. */
START_TEST(life_that_changed_its_meaning_is_left_behind)
{
    shm_file_fresh();
    first_begin();
    const aq_limit_t *limit = first_limit();
    const aq_counter_t counter = first_counter(limit, 0);
    first_lay(aq_shm_tag(&counter.key, AQ_LIFE_MEMBERS, 0), first_word(limit, 9));
    first_write();
    ck_assert_uint_eq(counters_info(shm_file_open(fixture_pool, SIZE_SMALL, NOON), NOON).live, 0);
}
END_TEST

START_TEST(older_file_to_look_at_says_what_it_is)
{
    aq_counter_store_t *store;
    const char *error;

    shm_file_fresh();
    (void)first_make();
    ck_assert_int_ne(aq_shm_counters_open_readonly(fixture_pool, shm_file_path(), &store, &error), APR_SUCCESS);
    ck_assert_ptr_nonnull(strstr(error, "older version"));
}
END_TEST

/* A reload after an upgrade of the package: what runs counts in the old file, which must stay. */
START_TEST(older_file_that_a_server_uses_stays)
{
    const char *lock_path = apr_pstrcat(fixture_pool, shm_file_path(), ".lock", NULL);
    struct flock shared = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    aq_counter_store_t *store;
    const char *error;

    shm_file_fresh();
    (void)first_make();
    int lock = open(lock_path, O_RDWR | O_CREAT, 0600);
    ck_assert_int_eq(fcntl(lock, F_OFD_SETLK, &shared), 0);
    ck_assert_int_ne(shm_file_try(fixture_pool, SIZE_SMALL, 0, &store, &error), APR_SUCCESS);
    ck_assert_ptr_nonnull(strstr(error, "full stop and start"));
    (void)close(lock);
    counters_check(shm_file_open(fixture_pool, SIZE_SMALL, NOON), first_limit());
}
END_TEST

START_TEST(spoiled_older_file_is_set_aside)
{
    shm_file_fresh();
    (void)first_make();
    ck_assert_int_eq(truncate(shm_file_path(), SIZE_SMALL / 2), 0);
    ck_assert_uint_eq(counters_info(shm_file_open(fixture_pool, SIZE_SMALL, NOON), NOON).live, 0);
    ck_assert_uint_eq(shm_file_aside(), 1);
    ck_assert_int_eq(fixture_log_count(LOG_UPGRADED), 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_loop_test(tests, counters_of_version_1_are_carried_over, 0, 2);
    tcase_add_test(tests, version_1_has_counters_where_version_2_does_not_look);
    tcase_add_test(tests, upgraded_file_is_upgraded_once);
    tcase_add_test(tests, life_that_changed_its_meaning_is_left_behind);
    tcase_add_test(tests, older_file_to_look_at_says_what_it_is);
    tcase_add_test(tests, older_file_that_a_server_uses_stays);
    tcase_add_test(tests, spoiled_older_file_is_set_aside);
}

int main(void)
{
    return fixture_run("older counter files", add);
}
