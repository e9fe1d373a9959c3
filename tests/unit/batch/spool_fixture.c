/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/batch/spool_fixture.h"

#include <apr_strings.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

const char *spool_folder;
aq_spool_t *fixture_spool;

aq_spool_t *spool_open_at(const char *path, int64_t max_bytes)
{
    aq_spool_t *opened;
    const char *error;

    ck_assert_msg(aq_spool_prepare(path, (uid_t)-1, (gid_t)-1, fixture_pool, &error) == APR_SUCCESS, "%s", error);
    ck_assert_msg(aq_spool_open(fixture_pool, path, max_bytes, &opened, &error) == APR_SUCCESS, "%s", error);
    return opened;
}

void spool_setup_bounded(int64_t max_bytes)
{
    char *made = apr_pstrdup(fixture_pool, fixture_path("spool-XXXXXX"));

    ck_assert_ptr_nonnull(mkdtemp(made));
    spool_folder = made;
    fixture_spool = spool_open_at(spool_folder, max_bytes);
}

void spool_setup(void)
{
    spool_setup_bounded(0);
}

apr_pool_t *spool_pool_make(void)
{
    apr_pool_t *pool;

    ck_assert_int_eq(apr_pool_create(&pool, fixture_pool), APR_SUCCESS);
    return pool;
}

unsigned spool_count_in(const char *name)
{
    DIR *walk = opendir(apr_pstrcat(fixture_pool, spool_folder, "/", name, NULL));
    unsigned count = 0;

    ck_assert_ptr_nonnull(walk);
    for (const struct dirent *entry; (entry = readdir(walk)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    (void)closedir(walk);
    return count;
}

aq_batch_body_t spool_store(const char *id, const char *text)
{
    aq_batch_body_t body = {.content_type = "text/plain"};
    aq_spool_file_t *file;

    ck_assert_int_eq(aq_spool_body_begin(fixture_spool, fixture_pool, NULL, -1, &file), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_write(file, text, strlen(text)), APR_SUCCESS);
    ck_assert_int_eq(aq_spool_body_commit(file, id, &body), APR_SUCCESS);
    return body;
}

int64_t spool_used(void)
{
    int64_t bytes;

    ck_assert_int_eq(aq_spool_used(fixture_spool, fixture_pool, &bytes), APR_SUCCESS);
    return bytes;
}
