/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A commit that cannot be synced: who sees the batch, now and after a crash. The disk that fails is a VFS between SQLite
 * and its own.
 */
#include "contract/queue_fixture.h"

#include <apr_strings.h>
#include <sqlite3.h>
#include <stdio.h>

static sqlite3_vfs *disk, failing_disk;
static const sqlite3_io_methods *disk_methods;
static sqlite3_io_methods failing_methods;
static int sync_fails;

static int wal_sync(sqlite3_file *file, int flags)
{
    return sync_fails ? SQLITE_IOERR_FSYNC : disk_methods->xSync(file, flags);
}

static int disk_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *flags_out)
{
    (void)vfs;
    int rc = disk->xOpen(disk, name, file, flags, flags_out);
    if (rc == SQLITE_OK && (flags & SQLITE_OPEN_WAL) != 0) {
        disk_methods = file->pMethods;
        failing_methods = *disk_methods;
        failing_methods.xSync = wal_sync;
        file->pMethods = &failing_methods;
    }
    return rc;
}

static void setup(void)
{
    disk = sqlite3_vfs_find(NULL);
    failing_disk = *disk;
    failing_disk.zName = "failing";
    failing_disk.xOpen = disk_open;
    ck_assert_int_eq(sqlite3_vfs_register(&failing_disk, 1), SQLITE_OK);
}

static void teardown(void)
{
    sync_fails = 0;
    ck_assert_int_eq(sqlite3_vfs_unregister(&failing_disk), SQLITE_OK);
}

static void file_copy(const char *from, const char *to)
{
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    char buffer[4096];
    size_t got;

    ck_assert(in != NULL && out != NULL);
    while ((got = fread(buffer, 1, sizeof buffer, in)) > 0) {
        ck_assert_uint_eq(fwrite(buffer, 1, got, out), got);
    }
    ck_assert_int_eq(fclose(in), 0);
    ck_assert_int_eq(fclose(out), 0);
}

/* 1 where a recovery finds the batch: in a copy of database and WAL, as a crash of all processes would leave them. */
static int is_there_after_a_crash(const char *path, const char *id)
{
    const char *copy = queue_path_new();
    aq_batch_t *batch;

    file_copy(path, copy);
    file_copy(apr_pstrcat(fixture_pool, path, "-wal", NULL), apr_pstrcat(fixture_pool, copy, "-wal", NULL));
    aq_queue_t *q = queue_open(copy);
    apr_status_t rv = aq_queue_find(q, fixture_pool, id, &batch);
    aq_queue_close(q);
    return rv == APR_SUCCESS;
}

static aq_batch_t submit_unsynced(aq_queue_t *q, int n)
{
    aq_batch_t batch = queue_batch("acme", n), *found;

    sync_fails = 1;
    ck_assert_int_eq(aq_queue_submit(q, &batch, NULL, fixture_pool), APR_INCOMPLETE);
    sync_fails = 0;
    ck_assert_int_eq(aq_queue_find(q, fixture_pool, batch.id, &found), APR_NOTFOUND);
    return batch;
}

START_TEST(what_could_not_be_synced_is_not_there_and_is_written_over)
{
    const char *path = queue_path_new();
    aq_queue_t *q = queue_open(path);

    const char *before = queue_submit(q, "acme", 1);
    aq_batch_t batch = submit_unsynced(q, 2);
    queue_claim(q, "w", queue_at(10)); /* the one before, and no other */
    queue_claim_none(q, queue_at(10));
    aq_queue_close(q);
    ck_assert(is_there_after_a_crash(path, before));
    ck_assert(!is_there_after_a_crash(path, batch.id)); /* the claim was written over it */
}
END_TEST

START_TEST(what_could_not_be_synced_is_there_after_a_crash_unless_something_else_was_written)
{
    const char *path = queue_path_new();
    aq_queue_t *q = queue_open(path);

    (void)queue_submit(q, "acme", 1);
    aq_batch_t batch = submit_unsynced(q, 2);
    ck_assert(is_there_after_a_crash(path, batch.id));
    const char *after = queue_submit(q, "acme", 3);
    ck_assert(!is_there_after_a_crash(path, batch.id));
    ck_assert(is_there_after_a_crash(path, after));
    aq_queue_close(q);
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, what_could_not_be_synced_is_not_there_and_is_written_over);
    tcase_add_test(tests, what_could_not_be_synced_is_there_after_a_crash_unless_something_else_was_written);
}

int main(void)
{
    return fixture_run("sqlite_commit", add_tests);
}
