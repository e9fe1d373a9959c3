/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Daily use on disk: a file for each day, kept for 400 days, of what each tenant has used.
 *
 *   FOLDER/2026-11-25.json   {"day": "2026-11-25", "use": [{"tenant": "acme", "plan": "basic",
 *                                                           "limits": ["minute", "day"], "used": 812}]}
 *
 * The counters hold the last seven days (limit/daily.h). Keeping writes those days anew, from what the counters say and what
 * was written before, the larger of both: it may be done at any time, by several at once, and as often as one likes. It
 * must be done once in six days; who is killed while at it loses nothing. Files are replaced, never changed.
 *
 * A tenant that is taken out of the keys file is kept as it was when use was kept last.
 */
#ifndef AQ_DAILY_USE_H
#define AQ_DAILY_USE_H

#include "base/aq_json.h"
#include "limit/daily.h"

#define AQ_DAILY_USE_FOLDER "usage" /* below the state folder */
#define AQ_DAILY_USE_KEEP_DAYS 400

/*
 * Keeps what the counters say of the tenants of `key_file` (the keys file as JSON), whose plans are in `plans` (name ->
 * const aq_plan_t *, identified for the store); makes `folder`, and removes files that are too old. APR_SUCCESS, or a
 * status and a sentence in `p` at `*error`.
 */
apr_status_t aq_daily_use_keep(apr_pool_t *p, aq_counter_store_t *store, const json_t *key_file, apr_hash_t *plans,
                               const char *folder, aq_time_ms_t now_ms, const char **error);

/*
 * The days of `folder` from `since` to `until` (like "2026-11-25"; NULL: no bound), oldest first: a new array of the files'
 * objects at `*days`. A folder that is not there has none. Errors as above.
 */
apr_status_t aq_daily_use_read(apr_pool_t *p, const char *folder, const char *since, const char *until, json_t **days,
                               const char **error);

#endif
