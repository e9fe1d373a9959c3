/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame of an edit of keys, private to src/identity: keyedit.h is what others include.
 */
#ifndef AQ_KEYEDIT_PRIVATE_H
#define AQ_KEYEDIT_PRIVATE_H

#include "identity/keyedit_place.h"

/* An edit between its begin and its end. */
typedef struct {
    apr_pool_t *p;
    const aq_keyedit_place_t *place;
    void *held; /* what the place needs for its end */
    json_t *file;
    json_t *tenants, *keys; /* of `file` */
    const char **error;
} aq_keyedit_t;

/* Set the edit's error, a sentence, and return `rv`. */
apr_status_t aq_keyedit_fail(aq_keyedit_t *edit, apr_status_t rv, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
apr_status_t aq_keyedit_fail_system(aq_keyedit_t *edit, apr_status_t rv, const char *path);

/* The member of that name, made where it is missing. NULL where it is of another type. */
json_t *aq_keyedit_member(json_t *object, const char *name, json_type type);

/* Locks and reads; with `may_create` nothing where there is none. Every begin is followed by an end, also when it failed. */
apr_status_t aq_keyedit_begin(aq_keyedit_t *edit, apr_pool_t *p, const aq_keyedit_place_t *place, int may_create,
                              const char **error);

/* Writes where `rv` is APR_SUCCESS, and lets go of everything. The result of the whole edit. */
apr_status_t aq_keyedit_end(aq_keyedit_t *edit, apr_status_t rv);

#endif
