/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A keys file as the place of an edit: locked, read, replaced atomically and durably with its old mode and owner. Readers
 * need no lock: they see the old file or the new one.
 */
#include "identity/keyedit_place.h"

#include "base/aq_file.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_WAIT_MS 5000
#define NEW_FILE_MODE 0640

/* A file that is being edited. */
typedef struct {
    const char *path; /* with symbolic links followed: the target is what must be replaced */
    int lock_fd;
    mode_t mode;
    uid_t uid;
    gid_t gid;
} held_t;

static apr_status_t fail(apr_pool_t *p, apr_status_t rv, const char *path, const char **error)
{
    char reason[128];

    *error = apr_pstrcat(p, path, ": ", apr_strerror(rv, reason, sizeof(reason)), NULL);
    return rv;
}

static apr_status_t lock_take(apr_pool_t *p, held_t *held, const char **error)
{
    const char *path = apr_pstrcat(p, held->path, ".lock", NULL);
    apr_status_t rv = aq_file_open(path, O_RDWR | O_CREAT, 0600, &held->lock_fd);

    if (rv == APR_SUCCESS) {
        rv = aq_file_lock(held->lock_fd, LOCK_WAIT_MS);
    }
    if (rv == APR_EBUSY) {
        *error = apr_pstrcat(p, held->path, ": another edit holds the file", NULL);
        return rv;
    }
    return rv == APR_SUCCESS ? rv : fail(p, rv, path, error);
}

static apr_status_t file_begin(const aq_keyedit_place_t *place, apr_pool_t *p, int may_create, json_t **document,
                               void **held_data, const char **error)
{
    held_t *held = apr_pcalloc(p, sizeof(*held));
    char real[PATH_MAX];
    struct stat info;

    *document = NULL;
    *held_data = held;
    *held = (held_t){.path = place->name, .lock_fd = -1, .mode = NEW_FILE_MODE, .uid = (uid_t)-1, .gid = (gid_t)-1};
    if (realpath(place->name, real)) {
        held->path = apr_pstrdup(p, real);
    } else if (!may_create || errno != ENOENT) {
        return fail(p, errno, place->name, error);
    }
    apr_status_t rv = lock_take(p, held, error);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (stat(held->path, &info) == 0) {
        held->mode = info.st_mode & 07777;
        held->uid = info.st_uid;
        held->gid = info.st_gid;
    }
    rv = aq_json_file_load(p, held->path, AQ_JSON_FILE_MAX_BYTES, document, error);
    if (may_create && APR_STATUS_IS_ENOENT(rv)) {
        *document = json_object();
        *error = NULL;
        rv = APR_SUCCESS;
    }
    return rv;
}

static apr_status_t file_write(apr_pool_t *p, const json_t *document, const held_t *held, const char **error)
{
    char *text = json_dumps(document, JSON_INDENT(2));

    if (!text) {
        return fail(p, APR_ENOMEM, held->path, error);
    }
    const char *line = apr_pstrcat(p, text, "\n", NULL);
    free(text);
    apr_status_t rv = aq_file_replace_as(held->path, line, strlen(line), (int)held->mode, held->uid, held->gid);
    return rv == APR_SUCCESS ? rv : fail(p, rv, held->path, error);
}

static apr_status_t file_end(const aq_keyedit_place_t *place, apr_pool_t *p, json_t *document, void *held_data,
                             int is_kept, const char **error)
{
    held_t *held = held_data;
    apr_status_t rv = is_kept ? file_write(p, document, held, error) : APR_SUCCESS;

    (void)place;
    if (held->lock_fd >= 0) {
        (void)close(held->lock_fd); /* and with it the lock */
    }
    return rv;
}

const aq_keyedit_place_t *aq_keyedit_file(apr_pool_t *p, const char *path)
{
    aq_keyedit_place_t *place = apr_palloc(p, sizeof(*place));

    *place = (aq_keyedit_place_t){.name = apr_pstrdup(p, path), .begin = file_begin, .end = file_end};
    return place;
}
