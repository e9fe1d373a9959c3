/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members in Redis, in a hash table: of a limit by address each caller is another, and all that came since the last renewal
 * are in it. See redis_members.h.
 */
#include "store/redis_members.h"

#include <apr_hash.h>
#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOME_SIZE 64

/* Allocated with malloc: they come and go for as long as the process lives. */
typedef struct {
    aq_hash128_t key;
    char home[HOME_SIZE];
    uint64_t *ids;
    unsigned count, room;
} held_t;

struct aq_redis_members_t {
    apr_thread_mutex_t *lock;
    pid_t pid; /* whose this is */
    char owner[AQ_REDIS_OWNER_SIZE];
    uint64_t newest;
    apr_pool_t *pool; /* of the table, which keeps the room of what goes; NULL: there is none yet */
    apr_hash_t *all;  /* key -> held_t */
};

static void held_free(held_t *held)
{
    free(held->ids);
    free(held);
}

static apr_status_t members_free(void *data)
{
    aq_redis_members_t *members = data;

    if (members->pool == NULL) {
        return APR_SUCCESS;
    }
    for (apr_hash_index_t *i = apr_hash_first(NULL, members->all); i != NULL; i = apr_hash_next(i)) {
        held_free(apr_hash_this_val(i));
    }
    apr_pool_destroy(members->pool);
    members->pool = NULL;
    return APR_SUCCESS;
}

apr_status_t aq_redis_members_create(apr_pool_t *p, aq_redis_members_t **members)
{
    apr_status_t rv;

    *members = apr_pcalloc(p, sizeof(**members));
    rv = apr_thread_mutex_create(&(*members)->lock, APR_THREAD_MUTEX_DEFAULT, p);
    apr_pool_cleanup_register(p, *members, members_free, apr_pool_cleanup_null);
    return rv;
}

/* What a parent holds is no matter of its child. 0: no name could be made. */
static int own(aq_redis_members_t *members)
{
    unsigned char name[AQ_REDIS_OWNER_SIZE / 2];

    if (members->pid == getpid()) {
        return 1;
    }
    if (aq_hash_random(name, sizeof(name)) != APR_SUCCESS) {
        return 0;
    }
    (void)members_free(members);
    if (apr_pool_create_unmanaged_ex(&members->pool, NULL, NULL) != APR_SUCCESS) {
        members->pool = NULL;
        return 0;
    }
    members->all = apr_hash_make(members->pool);
    members->pid = getpid();
    aq_hash_hex_write(members->owner, name, sizeof(name));
    return 1;
}

static held_t *held_find(const aq_redis_members_t *members, const aq_hash128_t *key)
{
    return apr_hash_get(members->all, key, sizeof(*key));
}

static held_t *held_get(aq_redis_members_t *members, const aq_hash128_t *key, const char *home)
{
    held_t *held = held_find(members, key);

    if (held == NULL && (held = calloc(1, sizeof(*held))) != NULL) {
        held->key = *key;
        apr_cpystrn(held->home, home, sizeof(held->home));
        apr_hash_set(members->all, &held->key, sizeof(held->key), held);
    }
    return held;
}

/* Makes room for one ID more. 0: no memory. */
static int room_make(held_t *held)
{
    const unsigned wanted = held->room != 0 ? 2 * held->room : 8;
    uint64_t *grown;

    if (held->count < held->room) {
        return 1;
    }
    grown = realloc(held->ids, wanted * sizeof(*grown));
    if (grown == NULL) {
        return 0;
    }
    held->ids = grown;
    held->room = wanted;
    return 1;
}

static uint64_t begin_locked(aq_redis_members_t *members, const aq_hash128_t *key, const char *home)
{
    held_t *held = own(members) ? held_get(members, key, home) : NULL;

    if (held == NULL || !room_make(held)) {
        return 0;
    }
    held->ids[held->count++] = ++members->newest;
    return members->newest;
}

uint64_t aq_redis_members_begin(aq_redis_members_t *members, const aq_hash128_t *key, const char *home,
                                char owner[AQ_REDIS_OWNER_SIZE])
{
    uint64_t id;

    if (apr_thread_mutex_lock(members->lock) != APR_SUCCESS) {
        return 0;
    }
    id = begin_locked(members, key, home);
    (void)memcpy(owner, members->owner, AQ_REDIS_OWNER_SIZE);
    (void)apr_thread_mutex_unlock(members->lock);
    return id;
}

void aq_redis_members_end(aq_redis_members_t *members, const aq_hash128_t *key, uint64_t id)
{
    held_t *held;

    if (apr_thread_mutex_lock(members->lock) != APR_SUCCESS) {
        return;
    }
    held = own(members) ? held_find(members, key) : NULL;
    for (unsigned i = 0; held != NULL && i < held->count; i++) {
        if (held->ids[i] == id) {
            held->ids[i] = held->ids[--held->count];
            break;
        }
    }
    (void)apr_thread_mutex_unlock(members->lock);
}

void aq_redis_members_owner(aq_redis_members_t *members, char owner[AQ_REDIS_OWNER_SIZE])
{
    (void)apr_thread_mutex_lock(members->lock);
    (void)own(members);
    (void)memcpy(owner, members->owner, AQ_REDIS_OWNER_SIZE);
    (void)apr_thread_mutex_unlock(members->lock);
}

static const char *list_write(const held_t *held, uint64_t newest, apr_pool_t *p)
{
    apr_array_header_t *parts = apr_array_make(p, (int)held->count + 1, sizeof(const char *));

    for (unsigned i = 0; i < held->count; i++) {
        APR_ARRAY_PUSH(parts, const char *) = apr_psprintf(p, "%" PRIu64, held->ids[i]);
    }
    return apr_psprintf(p, "%" PRIu64 ":%s", newest, apr_array_pstrcat(p, parts, ','));
}

apr_array_header_t *aq_redis_members_list(aq_redis_members_t *members, apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, 8, sizeof(aq_redis_held_t));
    apr_hash_index_t *i = NULL;

    (void)apr_thread_mutex_lock(members->lock);
    if (own(members)) {
        i = apr_hash_first(p, members->all);
    }
    for (; i != NULL; i = apr_hash_next(i)) {
        held_t *held = apr_hash_this_val(i);

        APR_ARRAY_PUSH(list, aq_redis_held_t) = (aq_redis_held_t){
            .key = held->key, .home = apr_pstrdup(p, held->home), .list = list_write(held, members->newest, p)};
        if (held->count == 0) {
            apr_hash_set(members->all, &held->key, sizeof(held->key), NULL);
            held_free(held);
        }
    }
    (void)apr_thread_mutex_unlock(members->lock);
    return list;
}
