/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys file: the holder of a process's keys, and how it takes over a changed file while requests run.
 *
 * Sets stand in places. One word tells which place is current and how many hold its set, so that reading which set it
 * is and being counted as its holder are one step, and no set can go in between:
 *
 *      63             32 31              0
 *     +-----------------+-----------------+
 *     |      place      |     holders     |
 *     +-----------------+-----------------+
 *
 * When a set is replaced, its count moves into the set itself, where those who still hold it take themselves off. It
 * goes, and its place is free again, once that count is zero.
 */
#include "identity/key_set.h"

#include "base/aq_clock.h"
#include "base/aq_file.h"
#include "base/aq_log.h"

#include <apr_strings.h>
#include <string.h>

/* One for the current set, others for replaced ones that are still held; place 0 is that of no set, before a load. */
#define PLACES 32

struct aq_keys_t {
    const char *path;
    apr_hash_t *plans;
    const aq_hash_secret_t *secret;
    aq_hash_secret_t cache_secret; /* of this process and its children, nowhere stored */
    atomic_uint_fast64_t current;  /* as drawn above */
    _Atomic(aq_time_ms_t) loaded_at_ms;
    atomic_int is_failing; /* the last reading of the file itself came to nothing */
    aq_key_set_t
        *places[PLACES]; /* read for the current place by all, else by the one thread that loads, as the rest */
    aq_file_version_t tried, failed; /* what was last read; what was last complained about, where has_failed */
    int has_failed;                  /* a file that is missing has a version too, the empty one */
    int is_uncertain;                /* the file may have changed since without telling */
};

/* ---- sets that come and go -------------------------------------------------------------------------------------- */

static uint64_t place_of(uint64_t word)
{
    return word >> 32;
}

/* 0: all places are taken by sets that somebody holds. */
static uint64_t free_place(const aq_keys_t *keys)
{
    for (uint64_t place = 1; place < PLACES; place++) {
        if (!keys->places[place]) {
            return place;
        }
    }
    return 0;
}

/* Puts `set` into a free place and makes it the current one. */
static void current_set(aq_keys_t *keys, aq_key_set_t *set, uint64_t place, aq_time_ms_t now_ms)
{
    set->current = &keys->current;
    set->place = place;
    keys->places[place] = set;
    uint64_t old = atomic_exchange_explicit(&keys->current, place << 32, memory_order_acq_rel);
    atomic_store_explicit(&keys->loaded_at_ms, now_ms, memory_order_relaxed);
    if (place_of(old) != 0) {
        atomic_fetch_add_explicit(keys->places[place_of(old)]->holders, (int)(uint32_t)old, memory_order_relaxed);
    }
}

static void replaced_free(aq_keys_t *keys)
{
    uint64_t current = place_of(atomic_load_explicit(&keys->current, memory_order_relaxed));

    for (uint64_t place = 1; place < PLACES; place++) {
        aq_key_set_t *set = keys->places[place];
        if (set && place != current && atomic_load_explicit(set->holders, memory_order_acquire) == 0) {
            keys->places[place] = NULL;
            aq_key_set_destroy(set);
        }
    }
}

/* Of the pool that the holder lives in: threads are gone by then, so holders do not matter. */
static apr_status_t keys_cleanup(void *data)
{
    aq_keys_t *keys = data;

    for (int place = 1; place < PLACES; place++) {
        if (keys->places[place]) {
            aq_key_set_destroy(keys->places[place]);
        }
    }
    return APR_SUCCESS;
}

apr_status_t aq_keys_create(apr_pool_t *p, const char *path, apr_hash_t *plans, const aq_hash_secret_t *secret,
                            aq_keys_t **keys)
{
    aq_keys_t *created = apr_pcalloc(p, sizeof(*created));

    *keys = NULL;
    created->path = apr_pstrdup(p, path);
    created->plans = plans;
    created->secret = secret;
    atomic_init(&created->current, 0);
    atomic_init(&created->loaded_at_ms, 0);
    atomic_init(&created->is_failing, 0);
    apr_status_t rv = aq_hash_random(&created->cache_secret, sizeof(created->cache_secret));
    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_pool_cleanup_register(p, created, keys_cleanup, apr_pool_cleanup_null);
    *keys = created;
    return APR_SUCCESS;
}

const aq_key_set_t *aq_keys_acquire(aq_keys_t *keys)
{
    /* Nobody holds no set. Once there is one, there always is. */
    if (place_of(atomic_load_explicit(&keys->current, memory_order_relaxed)) == 0) {
        return NULL;
    }
    return keys->places[place_of(atomic_fetch_add_explicit(&keys->current, 1, memory_order_acquire))];
}

void aq_key_set_release(const aq_key_set_t *set)
{
    if (!set) {
        return;
    }
    if (!set->current) {
        if (atomic_fetch_sub_explicit(set->holders, 1, memory_order_acq_rel) == 1) {
            aq_key_set_destroy((aq_key_set_t *)set);
        }
        return;
    }
    uint64_t word = atomic_load_explicit(set->current, memory_order_relaxed);
    while (place_of(word) == set->place) {
        if (atomic_compare_exchange_weak_explicit(set->current, &word, word - 1, memory_order_release,
                                                  memory_order_relaxed)) {
            return;
        }
    }
    /* Replaced meanwhile. The place cannot be another set's by now, since we hold this one. */
    atomic_fetch_sub_explicit(set->holders, 1, memory_order_release);
}

aq_time_ms_t aq_keys_loaded_at(const aq_keys_t *keys)
{
    return atomic_load_explicit(&keys->loaded_at_ms, memory_order_relaxed);
}

int aq_keys_is_failing(const aq_keys_t *keys)
{
    return atomic_load_explicit(&keys->is_failing, memory_order_relaxed);
}

unsigned aq_keys_set_count(const aq_keys_t *keys)
{
    unsigned count = 0;

    for (int place = 1; place < PLACES; place++) {
        count += keys->places[place] != NULL;
    }
    return count;
}

/* ---- loading ---------------------------------------------------------------------------------------------------- */

static void refusals_log(const aq_keys_t *keys, const aq_keys_report_t *report)
{
    for (int i = 0; i < report->refusals->nelts; i++) {
        AQ_LOG(AQ_LOG_ERROR, 200, APR_SUCCESS, "%s: refused %s", keys->path,
               APR_ARRAY_IDX(report->refusals, i, const char *));
    }
    if (report->refused > (unsigned)report->refusals->nelts) {
        AQ_LOG(AQ_LOG_ERROR, 201, APR_SUCCESS, "%s: refused %u entries more", keys->path,
               report->refused - (unsigned)report->refusals->nelts);
    }
}

/* Says what was taken, once it is in force: who reads the line may rely on it. `version`: of the file, or NULL. */
static void taken_log(const aq_keys_t *keys, const char *path, const aq_file_version_t *version)
{
    const uint64_t place = place_of(atomic_load_explicit(&keys->current, memory_order_relaxed));
    const aq_keys_report_t *report = &keys->places[place]->report;
    char written[AQ_RFC3339_SIZE] = "";

    refusals_log(keys, report);
    if (version) {
        aq_clock_rfc3339_write(written, version->modified.tv_sec * AQ_MS_PER_S + version->modified.tv_nsec / 1000000);
    }
    AQ_LOG(AQ_LOG_INFO, 203, APR_SUCCESS, "%s%s%s: %u keys of %u tenants in force, %u entries refused", path,
           version ? " of " : "", written, report->keys, report->tenants, report->refused);
}

/* The report in the caller's pool: the set may go before it. */
static void report_copy(apr_pool_t *p, const aq_keys_report_t *from, aq_keys_report_t *to)
{
    *to = *from;
    to->refusals = apr_array_make(p, from->refusals->nelts, sizeof(const char *));
    for (int i = 0; i < from->refusals->nelts; i++) {
        APR_ARRAY_PUSH(to->refusals, const char *) = apr_pstrdup(p, APR_ARRAY_IDX(from->refusals, i, const char *));
    }
}

/* Makes a set of the parsed file and puts it in force, in that place. */
static apr_status_t set_take(aq_keys_t *keys, json_t *file, uint64_t place, const char *path, apr_pool_t *p,
                             aq_time_ms_t now_ms, aq_keys_report_t *report, const char **error)
{
    aq_key_set_t *set;
    apr_status_t rv = aq_key_set_create(p, file, keys->plans, keys->secret, &keys->cache_secret, &set, error);

    if (rv != APR_SUCCESS) {
        *error = apr_pstrcat(p, path, ": ", *error, NULL);
        return rv;
    }
    if (report) {
        report_copy(p, &set->report, report);
    }
    current_set(keys, set, place, now_ms);
    return APR_SUCCESS;
}

/* Reads the file at `path` and puts its set in force. */
static apr_status_t set_load(aq_keys_t *keys, const char *path, apr_pool_t *p, aq_time_ms_t now_ms,
                             aq_keys_report_t *report, const char **error)
{
    json_t *file;
    uint64_t place = free_place(keys);

    if (place == 0) {
        keys->is_uncertain = 1; /* to be tried again */
        *error = apr_psprintf(p, "%s: requests still hold the %d sets of keys read last", path, PLACES - 1);
        return APR_EBUSY;
    }
    apr_status_t rv = aq_json_file_load(p, path, AQ_JSON_FILE_MAX_BYTES, &file, error);
    if (rv == APR_SUCCESS) {
        rv = set_take(keys, file, place, path, p, now_ms, report, error);
        json_decref(file);
    }
    return rv;
}

apr_status_t aq_keys_load_document(aq_keys_t *keys, json_t *document, apr_pool_t *p, aq_time_ms_t now_ms,
                                   aq_keys_report_t *report, const char **error)
{
    const uint64_t place = free_place(keys);

    *error = place ? NULL : "no place for another set of keys";
    if (report) {
        *report = (aq_keys_report_t){.refusals = apr_array_make(p, 0, sizeof(const char *))};
    }
    apr_status_t rv = place ? set_take(keys, document, place, keys->path, p, now_ms, report, error) : APR_EBUSY;
    if (rv == APR_SUCCESS) {
        taken_log(keys, keys->path, NULL);
    }
    return rv;
}

apr_status_t aq_keys_load(aq_keys_t *keys, apr_pool_t *p, aq_time_ms_t now_ms, aq_keys_report_t *report,
                          const char **error)
{
    *error = NULL;
    if (report) {
        *report = (aq_keys_report_t){.refusals = apr_array_make(p, 0, sizeof(const char *))};
    }
    /* Before the file is read: whatever happens to it from here on shows as another version. */
    keys->tried = aq_file_version(keys->path);
    keys->is_uncertain = aq_file_version_is_young(&keys->tried, now_ms);
    apr_status_t rv = set_load(keys, keys->path, p, now_ms, report, error);
    atomic_store_explicit(&keys->is_failing, rv != APR_SUCCESS, memory_order_relaxed);
    if (rv == APR_SUCCESS) {
        taken_log(keys, keys->path, &keys->tried);
    }
    return rv;
}

apr_status_t aq_keys_load_copy(aq_keys_t *keys, const char *path, apr_pool_t *p, aq_time_ms_t now_ms,
                               const char **error)
{
    *error = NULL;
    apr_status_t rv = set_load(keys, path, p, now_ms, NULL, error);
    if (rv == APR_SUCCESS) {
        taken_log(keys, path, NULL);
    }
    return rv;
}

apr_status_t aq_keys_refresh(aq_keys_t *keys, apr_pool_t *ptemp, aq_time_ms_t now_ms, int *is_changed)
{
    aq_file_version_t version = aq_file_version(keys->path);
    const char *error;

    *is_changed = 0;
    replaced_free(keys);
    if (!keys->is_uncertain && aq_file_version_equal(&version, &keys->tried)) {
        return APR_SUCCESS;
    }
    apr_status_t rv = aq_keys_load(keys, ptemp, now_ms, NULL, &error);
    *is_changed = rv == APR_SUCCESS;
    if (rv != APR_SUCCESS && (!keys->has_failed || !aq_file_version_equal(&keys->failed, &keys->tried))) {
        AQ_LOG(AQ_LOG_ERROR, 202, APR_SUCCESS, "%s; the keys read before stay in force", error);
        keys->failed = keys->tried;
    }
    keys->has_failed = rv != APR_SUCCESS;
    return rv;
}
