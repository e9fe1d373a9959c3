/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/redis_keys_fixture.h"

#include "store/redis_keys_edit.h"
#include "unit/identity/keys_fixture.h"

typedef struct {
    aq_keyedit_place_t base;
    const aq_keyedit_place_t *redis;
} mirror_t;

static aq_redis_link_t *shared_link;

aq_redis_link_t *redis_keys_link(const redis_fixture_t *server)
{
    aq_redis_link_t *opened;
    const char *error;

    ck_assert_int_eq(aq_redis_link_open(fixture_pool, server->address, &opened, &error), APR_SUCCESS);
    return opened;
}

/* What Redis holds, and else what `file` says. */
static json_t *merged(json_t *file)
{
    const char *error = "";
    json_t *held;
    const apr_status_t rv = aq_redis_keys_read_all(fixture_pool, shared_link, &held, NULL, &error);

    ck_assert_msg(rv == APR_SUCCESS, "%s", error);
    ck_assert_int_eq(json_object_update(file, held), 0);
    json_decref(held);
    return file;
}

static apr_status_t mirror_begin(const aq_keyedit_place_t *base, apr_pool_t *p, int may_create, json_t **document,
                                 void **held, const char **error)
{
    const mirror_t *mirror = (const mirror_t *)base;
    json_t *file, *before;

    ck_assert_int_eq(aq_json_file_load(p, base->name, AQ_JSON_FILE_MAX_BYTES, &file, error), APR_SUCCESS);
    ck_assert_int_eq(aq_redis_keys_read_all(p, shared_link, &before, NULL, error), APR_SUCCESS);
    const apr_status_t rv = aq_redis_keys_write(p, shared_link, "", before, file, error);
    ck_assert_msg(rv == APR_SUCCESS, "%s", *error);
    json_decref(file);
    json_decref(before);
    return mirror->redis->begin(mirror->redis, p, may_create, document, held, error);
}

static apr_status_t mirror_end(const aq_keyedit_place_t *base, apr_pool_t *p, json_t *document, void *held, int is_kept,
                               const char **error)
{
    const mirror_t *mirror = (const mirror_t *)base;
    const apr_status_t rv = mirror->redis->end(mirror->redis, p, document, held, is_kept, error);
    json_t *file;

    if (is_kept && rv == APR_SUCCESS) {
        ck_assert_int_eq(aq_json_file_load(p, base->name, AQ_JSON_FILE_MAX_BYTES, &file, error), APR_SUCCESS);
        ck_assert_int_eq(aq_json_file_replace(base->name, merged(file), 0640, p), APR_SUCCESS);
        json_decref(file);
    }
    return rv;
}

static const aq_keyedit_place_t *mirror_make(const char *path)
{
    mirror_t *mirror = apr_palloc(fixture_pool, sizeof(*mirror));

    *mirror = (mirror_t){.base = {.name = path, .begin = mirror_begin, .end = mirror_end},
                         .redis = aq_redis_keys_place(fixture_pool, shared_link)};
    return &mirror->base;
}

void redis_keys_begin(void)
{
    const redis_fixture_t server = redis_fixture_start(NULL);

    shared_link = redis_keys_link(&server);
    keys_place_set(mirror_make);
}
