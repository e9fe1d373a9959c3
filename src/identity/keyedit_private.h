/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frame of an edit of a keys file, private to src/identity: keyedit.h is what others include.
 *
 * An edit holds the lock of PATH.lock from reading to replacing, so that two edits never undo each other. Readers need
 * no lock: they see the old file or the new one.
 */
#ifndef AQ_KEYEDIT_PRIVATE_H
#define AQ_KEYEDIT_PRIVATE_H

#include "base/aq_json.h"

#include <apr_pools.h>
#include <sys/types.h>

/* An edit between its begin and its end. */
typedef struct {
    apr_pool_t *p;
    const char *path; /* with symbolic links followed: the target is what must be replaced */
    int lock_fd;
    json_t *file;
    json_t *tenants, *keys; /* of `file` */
    mode_t mode;
    uid_t uid;
    gid_t gid;
    const char **error;
} aq_keyedit_t;

/* Set the edit's error, a sentence, and return `rv`. */
apr_status_t aq_keyedit_fail(aq_keyedit_t *edit, apr_status_t rv, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
apr_status_t aq_keyedit_fail_system(aq_keyedit_t *edit, apr_status_t rv, const char *path);

/* The member of that name, made where it is missing. NULL where it is of another type. */
json_t *aq_keyedit_member(json_t *object, const char *name, json_type type);

/* Locks and reads the file; with `may_create` an empty one where there is none. Every begin is followed by an end, also when it failed. */
apr_status_t aq_keyedit_begin(aq_keyedit_t *edit, apr_pool_t *p, const char *path, int may_create, const char **error);

/* Writes where `rv` is APR_SUCCESS, and lets go of everything. The result of the whole edit. */
apr_status_t aq_keyedit_end(aq_keyedit_t *edit, apr_status_t rv);

#endif
