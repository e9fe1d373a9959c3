/* SPDX-License-Identifier: Apache-2.0 */
/* Members in Redis. See redis_members.h. */
#include "store/redis_members.h"

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
    held_t *all;
    unsigned count, room;
};

static apr_status_t members_free(void *data)
{
    aq_redis_members_t *members = data;

    for (unsigned i = 0; i < members->count; i++) {
        free(members->all[i].ids);
    }
    free(members->all);
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
    members->all = NULL;
    members->count = members->room = 0;
    members->pid = getpid();
    aq_hash_hex_write(members->owner, name, sizeof(name));
    return 1;
}

static held_t *held_find(const aq_redis_members_t *members, const aq_hash128_t *key)
{
    for (unsigned i = 0; i < members->count; i++) {
        if (memcmp(&members->all[i].key, key, sizeof(*key)) == 0) {
            return &members->all[i];
        }
    }
    return NULL;
}

/* Makes room for one element more. 0: no memory. */
static int room_make(void **elements, unsigned count, unsigned *room, size_t size)
{
    const unsigned wanted = *room != 0 ? 2 * *room : 8;
    void *grown;

    if (count < *room) {
        return 1;
    }
    grown = realloc(*elements, wanted * size);
    if (grown == NULL) {
        return 0;
    }
    *elements = grown;
    *room = wanted;
    return 1;
}

static held_t *held_get(aq_redis_members_t *members, const aq_hash128_t *key, const char *home)
{
    void *all = members->all;
    held_t *held = held_find(members, key);

    if (held == NULL && room_make(&all, members->count, &members->room, sizeof(*held))) {
        members->all = all;
        held = &members->all[members->count++];
        *held = (held_t){.key = *key};
        apr_cpystrn(held->home, home, sizeof(held->home));
    }
    return held;
}

static uint64_t begin_locked(aq_redis_members_t *members, const aq_hash128_t *key, const char *home)
{
    held_t *held = own(members) ? held_get(members, key, home) : NULL;
    void *ids;

    if (held == NULL) {
        return 0;
    }
    ids = held->ids;
    if (!room_make(&ids, held->count, &held->room, sizeof(*held->ids))) {
        return 0;
    }
    held->ids = ids;
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

/* The last one takes its place. */
static void held_drop(aq_redis_members_t *members, unsigned i)
{
    const unsigned last = members->count - 1;

    free(members->all[i].ids);
    members->all[i] = members->all[last];
    members->all[last] = (held_t){.ids = NULL};
    members->count = last;
}

apr_array_header_t *aq_redis_members_list(aq_redis_members_t *members, apr_pool_t *p)
{
    apr_array_header_t *list = apr_array_make(p, 8, sizeof(aq_redis_held_t));

    (void)apr_thread_mutex_lock(members->lock);
    (void)own(members);
    for (unsigned i = 0; i < members->count;) {
        const held_t *held = &members->all[i];

        APR_ARRAY_PUSH(list, aq_redis_held_t) = (aq_redis_held_t){
            .key = held->key, .home = apr_pstrdup(p, held->home), .list = list_write(held, members->newest, p)};
        if (held->count == 0) {
            held_drop(members, i);
        } else {
            i++;
        }
    }
    (void)apr_thread_mutex_unlock(members->lock);
    return list;
}
