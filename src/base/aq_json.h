/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON in and out, over jansson: strict loading with a place in every error, and serialising into a pool.
 */
#ifndef AQ_JSON_H
#define AQ_JSON_H

#include <apr_pools.h>
#include <jansson.h>

/* Files above this are refused unread: a keys file of 50,000 keys has about 12 MB. */
#define AQ_JSON_FILE_MAX_BYTES ((size_t)64 * 1024 * 1024)

/*
 * Loads a file: valid UTF-8, no duplicate names in an object, nesting as far as jansson allows (2,048), nothing after
 * the value, at most `max_bytes`. On success `*json` is a new reference that the caller owns (json_decref). On failure
 * `*json` is NULL and `*error` a sentence in `p` with file, line and column. APR_ENOENT, another errno, or APR_EGENERAL
 * for what is no JSON.
 */
apr_status_t aq_json_file_load(apr_pool_t *p, const char *path, size_t max_bytes, json_t **json, const char **error);

/* The same from whatever can be read, a pipe for instance, up to its end; `name` is what errors call it. */
apr_status_t aq_json_input_load(apr_pool_t *p, const char *name, int fd, size_t max_bytes, json_t **json,
                                const char **error);

/* Serialises compactly into `p`; NULL when memory ran out. Key order is kept. */
const char *aq_json_text(apr_pool_t *p, const json_t *json);

/* The string member `name` of an object, or NULL when it is missing or no string. Owned by `object`. */
const char *aq_json_string(const json_t *object, const char *name);

/*
 * A string of any text: where it is no UTF-8, as a user's name may be, each byte beyond ASCII becomes U+FFFD. A new
 * reference; null for NULL.
 */
json_t *aq_json_any_text(const char *text);

/* Time as RFC 3339 text, or null for t == 0. A new reference. */
json_t *aq_json_time(int64_t time_ms);

/*
 * Writes `json` to `path` so that a reader sees the old file or the new one, never a part, also after a power cut:
 * temporary file beside it, fsync, rename, fsync of the folder. The file has exactly `mode`, whatever the umask.
 */
apr_status_t aq_json_file_replace(const char *path, const json_t *json, int mode, apr_pool_t *ptemp);

/* The same, as a file of that group, (gid_t)-1: of the caller's. Whoever may read it may do so from its first moment. */
apr_status_t aq_json_file_replace_as(const char *path, const json_t *json, int mode, gid_t gid, apr_pool_t *ptemp);

#endif
