/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key origin: keys and tenants that live elsewhere than in a keys file, and are read one by one, when they are asked for.
 *
 * An origin answers with a document in the form of a keys file that holds what was asked for and nothing else: so the rules
 * of keys files hold for it (key_build.c), and whoever lists or edits keys need not know where they live.
 * key_lookup.h keeps what was read for as long as the origin says.
 */
#ifndef AQ_KEY_ORIGIN_H
#define AQ_KEY_ORIGIN_H

#include "base/aq_clock.h"
#include "base/aq_hash.h"
#include "base/aq_json.h"

typedef struct aq_key_origin_t aq_key_origin_t;

/* What was read. */
typedef struct {
    json_t *document;         /* one key and its tenant, or a tenant alone; a new reference. NULL: see `refusal` */
    const char *refusal;      /* why what is there is no record, a sentence in the caller's pool; NULL: there is none */
    aq_time_ms_t known_at_ms; /* when it was so where it lives; not now where the origin remembered it */
} aq_key_record_t;

/*
 * Both return APR_SUCCESS, with `document` or with `refusal`; APR_NOTFOUND, there is no such thing; or why it cannot be
 * known: another status, counted by the origin. With `may_ask` 0 only what the origin itself remembers is looked at, and
 * APR_EBUSY returned where that is nothing. `p` is for scratch and refusals. Thread-safe.
 */
typedef struct {
    apr_status_t (*key_read)(aq_key_origin_t *origin, apr_pool_t *p, const unsigned char digest[AQ_SHA256_BYTES],
                             aq_time_ms_t now_ms, int may_ask, aq_key_record_t *record);
    apr_status_t (*tenant_read)(aq_key_origin_t *origin, apr_pool_t *p, const char *tenant, aq_time_ms_t now_ms,
                                int may_ask, aq_key_record_t *record);
} aq_key_origin_ops_t;

struct aq_key_origin_t {
    const aq_key_origin_ops_t *ops;
    const char *name;      /* for logs: where it is, without a password */
    aq_time_ms_t fresh_ms; /* so long after it was known, nothing is asked again */
    aq_time_ms_t stale_ms; /* so long it is still believed where it cannot be asked again */
};

/* 1 where what was known at `known_at_ms` need not be asked again. A clock that was set back makes all doubtful. */
static inline int aq_key_origin_is_fresh(const aq_key_origin_t *origin, aq_time_ms_t known_at_ms, aq_time_ms_t now_ms)
{
    return now_ms >= known_at_ms && now_ms - known_at_ms < origin->fresh_ms;
}

/* 1 where what was known at `known_at_ms` is believed while the origin is away. */
static inline int aq_key_origin_is_believed(const aq_key_origin_t *origin, aq_time_ms_t known_at_ms,
                                            aq_time_ms_t now_ms)
{
    return now_ms < known_at_ms || now_ms - known_at_ms < origin->stale_ms;
}

#endif
