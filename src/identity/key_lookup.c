/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking keys up in an origin, and remembering what it said. See key_lookup.h.
 *
 * The memory is a table of buckets of eight places. A text falls into one bucket; a lock is shared by every sixteenth. It is
 * held for a look and a few stores, never while the origin is asked.
 */
#include "identity/key_lookup.h"

#include "base/aq_log.h"
#include "identity/key_set.h"

#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <string.h>

#define PLACES 8
#define UNKNOWN_PLACES 2
#define BUCKETS (AQ_KEY_LOOKUP_ENTRIES / PLACES)
#define LOCKS 16
/* So long the others wait for the one who asks, before another one does. */
#define CLAIM_MS 100
#define LOG_PAUSE_MS INT64_C(1000)
#define LOG_AGAIN_MS INT64_C(60000)
/* No key has it, so that a tenant's name and a key's text never meet. */
#define TENANT_SIGN "\n"

typedef struct {
    aq_hash128_t hash;
    aq_key_set_t *set; /* with a reference of ours; NULL: it led to nothing */
    int is_taken;
    aq_time_ms_t known_at_ms, claimed_at_ms, used_at_ms;
    aq_time_ms_t failed_at_ms; /* the origin could not be asked then */
} place_t;

struct aq_key_lookup_t {
    aq_key_origin_t *origin;
    apr_hash_t *plans;
    const aq_hash_secret_t *secret;
    aq_hash_secret_t cache_secret; /* of this process and its children, nowhere stored */
    place_t (*buckets)[PLACES];
    apr_thread_mutex_t *locks[LOCKS];
    _Atomic int64_t unknown_second; /* the second that is counted */
    atomic_uint unknown_count;
    /* what was complained about last */
    _Atomic int64_t logged_at_ms;
    _Atomic uint64_t logged_hash;
};

/* What is asked for. */
typedef struct {
    aq_key_lookup_t *lookup;
    aq_hash128_t hash;
    const char *text; /* of the key, or the tenant's name */
    size_t size;
    int is_tenant;
    aq_time_ms_t now_ms;
    apr_pool_t *ptemp;
} question_t;

/* ---- making ----------------------------------------------------------------------------------------------------- */

/* Threads are gone by then, so who else holds a set does not matter. */
static apr_status_t lookup_cleanup(void *data)
{
    const aq_key_lookup_t *lookup = data;

    for (int i = 0; i < AQ_KEY_LOOKUP_ENTRIES; i++) {
        const place_t *place = &lookup->buckets[i / PLACES][i % PLACES];
        if (place->set) {
            aq_key_set_destroy(place->set);
        }
    }
    return APR_SUCCESS;
}

apr_status_t aq_key_lookup_create(apr_pool_t *p, aq_key_origin_t *origin, apr_hash_t *plans,
                                  const aq_hash_secret_t *secret, aq_key_lookup_t **lookup)
{
    aq_key_lookup_t *created = apr_pcalloc(p, sizeof(*created));
    apr_status_t rv = aq_hash_random(&created->cache_secret, sizeof(created->cache_secret));

    *lookup = NULL;
    created->origin = origin;
    created->plans = plans;
    created->secret = secret;
    created->buckets = apr_pcalloc(p, BUCKETS * sizeof(*created->buckets));
    for (int i = 0; rv == APR_SUCCESS && i < LOCKS; i++) {
        rv = apr_thread_mutex_create(&created->locks[i], APR_THREAD_MUTEX_DEFAULT, p);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_pool_cleanup_register(p, created, lookup_cleanup, apr_pool_cleanup_null);
    *lookup = created;
    return APR_SUCCESS;
}

/* ---- the memory ------------------------------------------------------------------------------------------------- */

static place_t *bucket_lock(const question_t *question)
{
    const aq_key_lookup_t *lookup = question->lookup;
    const uint64_t number = question->hash.low % BUCKETS;

    (void)apr_thread_mutex_lock(lookup->locks[number % LOCKS]);
    return lookup->buckets[number];
}

static void bucket_unlock(const question_t *question)
{
    (void)apr_thread_mutex_unlock(question->lookup->locks[question->hash.low % BUCKETS % LOCKS]);
}

static place_t *place_find(place_t *bucket, aq_hash128_t hash)
{
    for (int i = 0; i < PLACES; i++) {
        if (bucket[i].is_taken && ((bucket[i].hash.high ^ hash.high) | (bucket[i].hash.low ^ hash.low)) == 0) {
            return &bucket[i];
        }
    }
    return NULL;
}

/* The place for something new: a free one, else one that led to nothing, else for a key the one asked for longest ago. */
static place_t *place_choose(place_t *bucket, int is_unknown)
{
    place_t *empty = NULL, *unknown = NULL, *known = NULL;
    int unknowns = 0;

    for (int i = 0; i < PLACES; i++) {
        place_t *place = &bucket[i];
        place_t **oldest = place->set ? &known : &unknown;

        if (!place->is_taken) {
            empty = place;
            continue;
        }
        unknowns += !place->set;
        if (!*oldest || place->used_at_ms < (*oldest)->used_at_ms) {
            *oldest = place;
        }
    }
    if (is_unknown) {
        return empty && unknowns < UNKNOWN_PLACES ? empty : unknown;
    }
    return empty ? empty : unknown ? unknown : known;
}

/* Remembers `set`, or with NULL that there is nothing. The reference is the memory's from here on; the old one goes. */
static void remember(const question_t *question, aq_key_set_t *set, aq_time_ms_t known_at_ms)
{
    place_t *bucket = bucket_lock(question), *place = place_find(bucket, question->hash);
    const aq_key_set_t *old = set;
    const int is_fresh = aq_key_origin_is_fresh(question->lookup->origin, known_at_ms, question->now_ms);

    if (!place) {
        place = place_choose(bucket, set == NULL);
    }
    if (place) {
        old = place->set;
        *place = (place_t){.hash = question->hash,
                           .set = set,
                           .is_taken = 1,
                           .known_at_ms = known_at_ms,
                           .failed_at_ms = is_fresh ? 0 : question->now_ms,
                           .used_at_ms = question->now_ms};
    }
    bucket_unlock(question);
    aq_key_set_release(old);
}

static aq_key_set_t *set_hold(aq_key_set_t *set)
{
    if (set) {
        (void)atomic_fetch_add_explicit(set->holders, 1, memory_order_relaxed);
    }
    return set;
}

/* 1 where `then` was less than `ms` ago. A clock that was set back makes it longer ago. */
static int is_within(aq_time_ms_t then, aq_time_ms_t now_ms, aq_time_ms_t ms)
{
    return now_ms >= then && now_ms - then < ms;
}

typedef enum {
    ANSWERED,    /* by what is remembered; the set, held, or NULL: there is nothing */
    TO_BE_ASKED, /* what is remembered is no longer fresh */
    NOT_REMEMBERED
} remembered_t;

/*
 * 1 where what was known may stand in for what is asked now. That a text led to nothing may not: its key may have been made
 * since.
 */
static int is_believed(const question_t *question, const place_t *place)
{
    return place->set && aq_key_origin_is_believed(question->lookup->origin, place->known_at_ms, question->now_ms);
}

/* What is remembered. Who gets TO_BE_ASKED asks for all others. */
static remembered_t recall(const question_t *question, aq_key_set_t **set)
{
    const aq_time_ms_t now_ms = question->now_ms;
    place_t *place = place_find(bucket_lock(question), question->hash);
    remembered_t found = NOT_REMEMBERED;

    *set = NULL;
    if (place) {
        place->used_at_ms = now_ms;
        found = TO_BE_ASKED;
        if (aq_key_origin_is_fresh(question->lookup->origin, place->known_at_ms, now_ms) ||
            (is_believed(question, place) && (is_within(place->failed_at_ms, now_ms, AQ_KEY_LOOKUP_RETRY_MS) ||
                                              is_within(place->claimed_at_ms, now_ms, CLAIM_MS)))) {
            *set = set_hold(place->set);
            found = ANSWERED;
        } else {
            place->claimed_at_ms = now_ms;
        }
    }
    bucket_unlock(question);
    return found;
}

/* The origin cannot be asked: what it said before, where that is still believed. 0: nothing. */
static int recall_stale(const question_t *question, aq_key_set_t **set)
{
    place_t *place = place_find(bucket_lock(question), question->hash);
    const int is_found = place && is_believed(question, place);

    if (is_found) {
        place->failed_at_ms = question->now_ms;
        *set = set_hold(place->set);
    }
    bucket_unlock(question);
    return is_found;
}

/* ---- floods ----------------------------------------------------------------------------------------------------- */

/* 1 where so many texts of this second led to nothing that no more are asked for. */
static int is_flooded(aq_key_lookup_t *lookup, aq_time_ms_t now_ms)
{
    const int64_t second = now_ms / AQ_MS_PER_S;

    return atomic_load(&lookup->unknown_second) == second &&
           atomic_load(&lookup->unknown_count) >= AQ_KEY_LOOKUP_UNKNOWN_MAX;
}

static void unknown_count(aq_key_lookup_t *lookup, aq_time_ms_t now_ms)
{
    const int64_t second = now_ms / AQ_MS_PER_S;

    if (atomic_exchange(&lookup->unknown_second, second) != second) {
        atomic_store(&lookup->unknown_count, 0);
    }
    if (atomic_fetch_add(&lookup->unknown_count, 1) + 1 == AQ_KEY_LOOKUP_UNKNOWN_MAX) {
        AQ_LOG(AQ_LOG_WARNING, 205, APR_SUCCESS,
               "%s was asked for %d unknown keys within a second; until it is over, keys that are not known here are "
               "answered 503",
               lookup->origin->name, AQ_KEY_LOOKUP_UNKNOWN_MAX);
    }
}

/* ---- asking ----------------------------------------------------------------------------------------------------- */

/* A client that goes on with a broken record is not to fill the log. */
static void refusal_log(aq_key_lookup_t *lookup, const char *refusal, aq_time_ms_t now_ms)
{
    const uint64_t hash = aq_hash_keyed64(&lookup->cache_secret, refusal, strlen(refusal));
    const int is_again = atomic_exchange(&lookup->logged_hash, hash) == hash;
    const int64_t logged_ms = atomic_load(&lookup->logged_at_ms);

    if (!is_within(logged_ms, now_ms, is_again ? LOG_AGAIN_MS : LOG_PAUSE_MS)) {
        atomic_store(&lookup->logged_at_ms, now_ms);
        AQ_LOG(AQ_LOG_ERROR, 204, APR_SUCCESS, "%s: refused %s", lookup->origin->name, refusal);
    }
}

/* The set that a document makes; NULL where it is refused. With one reference. */
static aq_key_set_t *set_make(const question_t *question, aq_key_record_t *record)
{
    aq_key_lookup_t *lookup = question->lookup;
    const char *error = record->refusal;
    aq_key_set_t *set = NULL;

    if (record->document) {
        (void)aq_key_set_create(question->ptemp, record->document, lookup->plans, lookup->secret, &lookup->cache_secret,
                                &set, &error);
        json_decref(record->document);
    }
    if (!set) {
        refusal_log(lookup, error ? error : "a record", question->now_ms);
        return NULL;
    }
    atomic_store(set->holders, 1);
    for (int i = 0; i < set->report.refusals->nelts; i++) {
        refusal_log(lookup, APR_ARRAY_IDX(set->report.refusals, i, const char *), question->now_ms);
    }
    if (question->is_tenant ? apr_hash_count(set->tenants) == 0 : set->count == 0) {
        aq_key_set_release(set);
        return NULL;
    }
    return set;
}

static apr_status_t origin_read(const question_t *question, int may_ask, aq_key_record_t *record)
{
    aq_key_origin_t *origin = question->lookup->origin;
    unsigned char digest[AQ_SHA256_BYTES];

    *record = (aq_key_record_t){.known_at_ms = question->now_ms};
    if (question->is_tenant) {
        return origin->ops->tenant_read(origin, question->ptemp, question->text, question->now_ms, may_ask, record);
    }
    apr_status_t rv = aq_hash_sha256(question->text, question->size, digest);
    return rv == APR_SUCCESS ? origin->ops->key_read(origin, question->ptemp, digest, question->now_ms, may_ask, record)
                             : rv;
}

/* Asks the origin. 0: it cannot be known. */
static int ask(const question_t *question, int may_ask, aq_key_set_t **set)
{
    aq_key_record_t record;
    const apr_status_t rv = origin_read(question, may_ask, &record);

    if (rv != APR_SUCCESS && rv != APR_NOTFOUND) {
        return recall_stale(question, set);
    }
    *set = rv == APR_SUCCESS ? set_make(question, &record) : NULL;
    if (!*set) {
        unknown_count(question->lookup, question->now_ms);
    }
    remember(question, set_hold(*set), record.known_at_ms);
    return 1;
}

/* The set, held, or NULL: there is nothing. 0: it cannot be known. */
static int set_find(const question_t *question, aq_key_set_t **set)
{
    switch (recall(question, set)) {
    case ANSWERED:
        return 1;
    case TO_BE_ASKED:
        return ask(question, 1, set);
    case NOT_REMEMBERED:
    default:
        return ask(question, !is_flooded(question->lookup, question->now_ms), set);
    }
}

aq_identified_t aq_key_lookup_find(aq_key_lookup_t *lookup, aq_key_memo_t *memo, const char *text, size_t size,
                                   aq_time_ms_t now_ms, apr_pool_t *ptemp, const aq_key_set_t **set,
                                   const aq_principal_t **principal)
{
    question_t question = {.lookup = lookup, .text = text, .size = size, .now_ms = now_ms, .ptemp = ptemp};
    aq_key_set_t *found = NULL;

    *set = NULL;
    *principal = NULL;
    if (size == 0) {
        return AQ_KEY_MISSING;
    }
    if (size > AQ_KEY_PRESENTED_MAX) {
        return AQ_KEY_UNKNOWN;
    }
    question.hash = aq_key_memo_hash(memo, &lookup->cache_secret, text, size);
    if (!set_find(&question, &found)) {
        return AQ_KEYS_AWAY;
    }
    *set = found;
    return found ? aq_key_identify(&found->keys[0].principal, now_ms, principal) : AQ_KEY_UNKNOWN;
}

aq_identified_t aq_key_lookup_tenant(aq_key_lookup_t *lookup, const char *tenant, aq_time_ms_t now_ms,
                                     apr_pool_t *ptemp, const aq_key_set_t **set, const aq_principal_t **principal)
{
    const char *named = apr_pstrcat(ptemp, TENANT_SIGN, tenant, NULL);
    const question_t question = {.lookup = lookup,
                                 .hash = aq_hash_keyed(&lookup->cache_secret, named, strlen(named)),
                                 .text = tenant,
                                 .is_tenant = 1,
                                 .now_ms = now_ms,
                                 .ptemp = ptemp};
    aq_key_set_t *found = NULL;

    *principal = NULL;
    *set = NULL;
    if (!set_find(&question, &found)) {
        return AQ_KEYS_AWAY;
    }
    *set = found;
    *principal = found ? aq_key_set_tenant(found, tenant) : NULL;
    return *principal ? AQ_IDENTIFIED : AQ_KEY_UNKNOWN;
}
