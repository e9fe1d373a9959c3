/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys file: the holder of a process's keys, and how it takes over a changed file while requests run.
 *
 * The current set is one atomic pointer. A reader loads it and counts itself in as a holder of the set; in the moment
 * between the two the set must not go away, so a replaced set waits for five seconds, and for a few more rounds of the
 * timer, since the five seconds are wall time, which may be stepped. After that nobody can be in that moment, and it
 * goes once nobody holds it.
 */
#include "identity/key_set.h"

#include "base/aq_log.h"

#include <apr_strings.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define RETIRED_FOR_MS 5000
#define RETIRED_ROUNDS 4

/* A file that was changed this shortly before it was read may change again without a new time of change. */
#define CLOCK_GRAIN_MS 50

/* What tells one version of a file from another. All zero: there is no file. */
typedef struct {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
} version_t;

struct aq_keys_t {
    const char *path;
    apr_hash_t *plans;
    const aq_hash_secret_t *secret;
    aq_hash_secret_t cache_secret; /* of this process and its children, nowhere stored */
    _Atomic(aq_key_set_t *) current;
    _Atomic(aq_time_ms_t) loaded_at_ms;
    /* of the one thread that loads */
    aq_key_set_t *retired;
    version_t tried, failed; /* what was last read; what was last complained about */
    int is_uncertain;        /* the file may have changed since without telling */
};

static version_t version_of(const char *path)
{
    struct stat info;
    version_t version;

    memset(&version, 0, sizeof(version)); /* versions are compared with their padding */
    if (stat(path, &info) == 0) {
        version.device = info.st_dev;
        version.inode = info.st_ino;
        version.size = info.st_size;
        version.modified = info.st_mtim;
        version.changed = info.st_ctim;
    }
    return version;
}

static int versions_equal(const version_t *a, const version_t *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

static aq_time_ms_t changed_at_ms(const version_t *version)
{
    return (aq_time_ms_t)version->changed.tv_sec * AQ_MS_PER_S + version->changed.tv_nsec / 1000000;
}

/* ---- sets that come and go -------------------------------------------------------------------------------------- */

static void current_set(aq_keys_t *keys, aq_key_set_t *set, aq_time_ms_t now_ms)
{
    aq_key_set_t *old = atomic_exchange_explicit(&keys->current, set, memory_order_acq_rel);

    atomic_store_explicit(&keys->loaded_at_ms, now_ms, memory_order_relaxed);
    if (old) {
        old->retired_at_ms = now_ms;
        old->next_retired = keys->retired;
        keys->retired = old;
    }
}

static int is_done_with(aq_key_set_t *set, aq_time_ms_t now_ms)
{
    if (set->retired_at_ms > now_ms) {
        set->retired_at_ms = now_ms; /* the clock was stepped back: wait anew, but no hour */
    }
    set->retired_rounds++;
    return now_ms - set->retired_at_ms >= RETIRED_FOR_MS && set->retired_rounds > RETIRED_ROUNDS &&
           atomic_load_explicit(set->holders, memory_order_acquire) == 0;
}

static void retired_free(aq_keys_t *keys, aq_time_ms_t now_ms)
{
    for (aq_key_set_t **link = &keys->retired; *link;) {
        aq_key_set_t *set = *link;
        if (is_done_with(set, now_ms)) {
            *link = set->next_retired;
            aq_key_set_destroy(set);
        } else {
            link = &set->next_retired;
        }
    }
}

/* Of the pool that the holder lives in: threads are gone by then, so holders do not matter. */
static apr_status_t keys_cleanup(void *data)
{
    aq_keys_t *keys = data;
    aq_key_set_t *set = atomic_exchange_explicit(&keys->current, NULL, memory_order_acq_rel);

    if (set) {
        aq_key_set_destroy(set);
    }
    while (keys->retired) {
        set = keys->retired;
        keys->retired = set->next_retired;
        aq_key_set_destroy(set);
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
    atomic_init(&created->current, NULL);
    atomic_init(&created->loaded_at_ms, 0);
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
    aq_key_set_t *set = atomic_load_explicit(&keys->current, memory_order_acquire);

    if (set) {
        atomic_fetch_add_explicit(set->holders, 1, memory_order_relaxed);
    }
    return set;
}

aq_time_ms_t aq_keys_loaded_at(const aq_keys_t *keys)
{
    return atomic_load_explicit(&keys->loaded_at_ms, memory_order_relaxed);
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

/* The report in the caller's pool: the set may go before it. */
static void report_copy(apr_pool_t *p, const aq_keys_report_t *from, aq_keys_report_t *to)
{
    *to = *from;
    to->refusals = apr_array_make(p, from->refusals->nelts, sizeof(const char *));
    for (int i = 0; i < from->refusals->nelts; i++) {
        APR_ARRAY_PUSH(to->refusals, const char *) = apr_pstrdup(p, APR_ARRAY_IDX(from->refusals, i, const char *));
    }
}

/* Reads the file at `path` and puts its set in force. */
static apr_status_t set_load(aq_keys_t *keys, const char *path, apr_pool_t *p, aq_time_ms_t now_ms,
                             aq_keys_report_t *report, const char **error)
{
    aq_key_set_t *set;
    json_t *file;
    apr_status_t rv = aq_json_file_load(p, path, AQ_JSON_FILE_MAX_BYTES, &file, error);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = aq_key_set_create(p, file, keys->plans, keys->secret, &keys->cache_secret, &set, error);
    json_decref(file);
    if (rv != APR_SUCCESS) {
        *error = apr_pstrcat(p, path, ": ", *error, NULL);
        return rv;
    }
    refusals_log(keys, &set->report);
    if (report) {
        report_copy(p, &set->report, report);
    }
    AQ_LOG(AQ_LOG_INFO, 203, APR_SUCCESS, "%s: %u keys of %u tenants in force, %u entries refused", path,
           set->report.keys, set->report.tenants, set->report.refused);
    current_set(keys, set, now_ms);
    return APR_SUCCESS;
}

apr_status_t aq_keys_load(aq_keys_t *keys, apr_pool_t *p, aq_time_ms_t now_ms, aq_keys_report_t *report,
                          const char **error)
{
    *error = NULL;
    if (report) {
        *report = (aq_keys_report_t){.refusals = apr_array_make(p, 0, sizeof(const char *))};
    }
    /* Before the file is read: whatever happens to it from here on shows as another version. */
    keys->tried = version_of(keys->path);
    aq_time_ms_t age_ms = now_ms - changed_at_ms(&keys->tried);
    keys->is_uncertain = age_ms > -CLOCK_GRAIN_MS && age_ms < CLOCK_GRAIN_MS;
    return set_load(keys, keys->path, p, now_ms, report, error);
}

apr_status_t aq_keys_load_copy(aq_keys_t *keys, const char *path, apr_pool_t *p, aq_time_ms_t now_ms,
                               const char **error)
{
    *error = NULL;
    return set_load(keys, path, p, now_ms, NULL, error);
}

apr_status_t aq_keys_refresh(aq_keys_t *keys, apr_pool_t *ptemp, aq_time_ms_t now_ms, int *is_changed)
{
    version_t version = version_of(keys->path);
    const char *error;

    *is_changed = 0;
    retired_free(keys, now_ms);
    if (!keys->is_uncertain && versions_equal(&version, &keys->tried)) {
        return APR_SUCCESS;
    }
    apr_status_t rv = aq_keys_load(keys, ptemp, now_ms, NULL, &error);
    *is_changed = rv == APR_SUCCESS;
    if (rv != APR_SUCCESS && !versions_equal(&keys->failed, &keys->tried)) {
        AQ_LOG(AQ_LOG_ERROR, 202, APR_SUCCESS, "%s; the keys read before stay in force", error);
        keys->failed = keys->tried;
    }
    return rv;
}
