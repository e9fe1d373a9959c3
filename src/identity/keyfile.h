/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys file: loads keys and tenants, finds a principal by its key, and takes over changes while requests run.
 *
 * A file becomes an immutable key set. A process holds one current set; a reload makes a new one beside it and swaps
 * one word. Requests hold a reference to the set they began with, so a principal lives as long as its request. A
 * replaced set goes when nobody holds it any more.
 *
 * Keys are known by SHA-256 only. Since that costs more than all the rest of a request's work, a set remembers, by a
 * keyed hash, which presented text led to which principal: at most one entry a key, so nobody can fill it. The text
 * itself is not kept.
 *
 * A file that does not parse leaves the last good set in force. An entry that breaks a rule is refused alone, and said
 * in the log with its place ("keys[3]", "tenants.acme"), so that it never holds up a revocation beside it. A tenant
 * that is refused takes its keys with it. Where two keys have one id or one hash, the first is in force. Members that
 * we do not know are passed over.
 */
#ifndef AQ_KEYFILE_H
#define AQ_KEYFILE_H

#include "base/aq_json.h"
#include "identity/principal.h"

#define AQ_KEY_PREFIX "aq_"
#define AQ_KEY_RANDOM_BYTES 32
#define AQ_KEY_TEXT_SIZE (3 + 43 + 1) /* prefix, base64url of 32 bytes, zero */
#define AQ_KEY_PRESENTED_MAX 1024     /* longer ones are unknown without being hashed */
#define AQ_KEYS_PER_TENANT_DEFAULT 50
#define AQ_KEYS_PER_TENANT_MAX 1000000 /* what max_keys may be */
#define AQ_SCOPES_PER_KEY_MAX 10

typedef struct aq_keys_t aq_keys_t;       /* the keys of a process: current set and how to renew it */
typedef struct aq_key_set_t aq_key_set_t; /* one loaded file, immutable */

/* What a load found, for log, metrics and `apiquotactl config check`. */
typedef struct {
    unsigned keys, tenants;       /* in force */
    unsigned refused;             /* entries refused */
    apr_array_header_t *refusals; /* of const char *: one sentence each, at most 100 */
} aq_keys_report_t;

/*
 * A holder for the file at `path` with no set yet. `plans` (name -> aq_plan_t *, sealed and identified) and `secret`
 * must outlive it. `secret` is the one that counters are known by (aq_subject_hash). Not thread-safe. `p` must outlive
 * all threads. Children that are forked later may go on with it, each for itself.
 */
apr_status_t aq_keys_create(apr_pool_t *p, const char *path, apr_hash_t *plans, const aq_hash_secret_t *secret,
                            aq_keys_t **keys);

/*
 * Loads the file and makes it the current set. On failure the current set stays, and `*error` is a sentence in `p`.
 * `report` may be NULL. Refused entries are logged (AQ002xx). One thread at a time; readers may run.
 */
apr_status_t aq_keys_load(aq_keys_t *keys, apr_pool_t *p, aq_time_ms_t now_ms, aq_keys_report_t *report,
                          const char **error);

/*
 * The same from a copy at `path`, for a start over a keys file that has become unreadable. aq_keys_refresh goes on to
 * look at the keys file itself.
 */
apr_status_t aq_keys_load_copy(aq_keys_t *keys, const char *path, apr_pool_t *p, aq_time_ms_t now_ms,
                               const char **error);

/* A sentence on what keeps `document` as a whole from being a keys file, whatever its entries are; NULL: nothing. */
const char *aq_keys_document_wrong(const json_t *document);

/* The same from a parsed file, of which nothing is kept: for tools whose keys are in no file. `report` as above. */
apr_status_t aq_keys_load_document(aq_keys_t *keys, json_t *document, apr_pool_t *p, aq_time_ms_t now_ms,
                                   aq_keys_report_t *report, const char **error);

/*
 * Loads again if device, inode, size or time of change differ from what was last read (tried), and frees replaced sets
 * that nobody holds. `*is_changed` tells whether a new set is in force. A failure is returned and logged once per
 * change of the file. Call it from one timer twice a second.
 */
apr_status_t aq_keys_refresh(aq_keys_t *keys, apr_pool_t *ptemp, aq_time_ms_t now_ms, int *is_changed);

/* When the current set was loaded; 0: never. Thread-safe. */
aq_time_ms_t aq_keys_loaded_at(const aq_keys_t *keys);

/* 1 while the file, as it was last read, is not what is in force: it is missing, or no keys file. Thread-safe. */
int aq_keys_is_failing(const aq_keys_t *keys);

/*
 * How many sets there are: the current one, and replaced ones that have not gone yet. For the thread that loads.
 */
unsigned aq_keys_set_count(const aq_keys_t *keys);

/* The current set with a reference taken (NULL before the first load); give it back with aq_key_set_release. */
const aq_key_set_t *aq_keys_acquire(aq_keys_t *keys);
void aq_key_set_release(const aq_key_set_t *set);

/*
 * Finds who presents the key `text` of `size` bytes. AQ_IDENTIFIED with `*principal` (owned by the set), or why not,
 * with `*principal` NULL. Thread-safe. Secrets are compared without early exit.
 */
aq_identified_t aq_key_set_find(const aq_key_set_t *set, const char *text, size_t size, aq_time_ms_t now_ms,
                                const aq_principal_t **principal);

/*
 * What a client presented last, and its keyed hash, which is most of the price of finding a key. Zeroed it is empty. For
 * one client at a time: a connection's, for instance.
 */
#define AQ_KEY_MEMO_SIZE 64
typedef struct {
    const void *secret; /* with which the hash was made; NULL: empty */
    size_t size;
    char text[AQ_KEY_MEMO_SIZE];
    aq_hash128_t hash;
} aq_key_memo_t;

/* The same, for a client that mostly presents what it did before. `memo` says nothing of whether the key is known. */
aq_identified_t aq_key_set_find_again(const aq_key_set_t *set, aq_key_memo_t *memo, const char *text, size_t size,
                                      aq_time_ms_t now_ms, const aq_principal_t **principal);

/*
 * The header in which a client presented its key last, as it was written, and whose key of which set that is: for one
 * client at a time, as above. Zeroed it is empty.
 */
#define AQ_KEY_RECALL_SIZE 96
typedef struct {
    uint64_t serial; /* of the set; 0: empty */
    const aq_principal_t *principal;
    int is_bearer; /* read by aq_bearer_token; 0: by aq_bare_token */
    size_t size;
    char value[AQ_KEY_RECALL_SIZE];
} aq_key_recall_t;

/*
 * The same as reading that value and finding its key, where `recall` has both of this very set. AQ_KEY_MISSING: it has not.
 * A key is judged anew each time: it may have expired. Values are compared without early exit.
 */
aq_identified_t aq_key_set_recall(const aq_key_set_t *set, const aq_key_recall_t *recall, int is_bearer,
                                  const char *value, aq_time_ms_t now_ms, const aq_principal_t **principal);

/* Remembers that `value` led to `principal`, which is one of the set's, by its key. Values too long or short are not. */
void aq_key_set_recall_note(const aq_key_set_t *set, aq_key_recall_t *recall, int is_bearer, const char *value,
                            const aq_principal_t *principal);

/*
 * What the file says of a tenant, whoever of it asks: a principal with its plan, its limits and its subject, key_id NULL.
 * NULL where there is no such tenant in force. Owned by the set. Thread-safe.
 */
const aq_principal_t *aq_key_set_tenant(const aq_key_set_t *set, const char *tenant);

/* What the load of this set found. Owned by the set. */
const aq_keys_report_t *aq_key_set_report(const aq_key_set_t *set);

/* How many keys a set has, and the principal of one of them, 0 to count - 1. Owned by the set. Thread-safe. */
unsigned aq_key_set_count(const aq_key_set_t *set);
const aq_principal_t *aq_key_set_at(const aq_key_set_t *set, unsigned index);

/* Walks a set for people: all keys' principals, as an array of const aq_principal_t * in `p`. */
apr_array_header_t *aq_key_set_list(const aq_key_set_t *set, apr_pool_t *p);

#endif
