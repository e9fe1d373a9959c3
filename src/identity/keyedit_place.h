/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where keys are edited: a keys file, or whatever else can be read and written as one.
 *
 * An edit begins and ends once; between, nobody else's edit of the place can begin.
 */
#ifndef AQ_KEYEDIT_PLACE_H
#define AQ_KEYEDIT_PLACE_H

#include "base/aq_json.h"

typedef struct aq_keyedit_place_t aq_keyedit_place_t;

struct aq_keyedit_place_t {
    const char *name; /* for messages */
    /*
     * Waits for its turn, five seconds at most, and reads all: a new reference at `*document`, in the form of a keys file.
     * With `may_create` a place that is not there yet is an empty one. `*held` is what `end` needs; both are set also on
     * failure, which has a sentence in `p` at `*error`.
     */
    apr_status_t (*begin)(const aq_keyedit_place_t *place, apr_pool_t *p, int may_create, json_t **document,
                          void **held, const char **error);
    /* With `is_kept` writes the document, all of it or nothing; lets go in any case. Every begin is followed by one. */
    apr_status_t (*end)(const aq_keyedit_place_t *place, apr_pool_t *p, json_t *document, void *held, int is_kept,
                        const char **error);
};

/* The keys file at `path`, which is copied; edited under the lock of PATH.lock. Links are followed. In `p`. */
const aq_keyedit_place_t *aq_keyedit_file(apr_pool_t *p, const char *path);

#endif
