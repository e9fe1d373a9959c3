/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locking, reading and replacing a keys file. See keyedit_private.h.
 */
#include "identity/keyedit_private.h"

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

apr_status_t aq_keyedit_fail(aq_keyedit_t *edit, apr_status_t rv, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    *edit->error = apr_pvsprintf(edit->p, format, arguments);
    va_end(arguments);
    return rv;
}

apr_status_t aq_keyedit_fail_system(aq_keyedit_t *edit, apr_status_t rv, const char *path)
{
    char reason[128];

    return aq_keyedit_fail(edit, rv, "%s: %s", path, apr_strerror(rv, reason, sizeof(reason)));
}

static apr_status_t lock_take(aq_keyedit_t *edit)
{
    const char *path = apr_pstrcat(edit->p, edit->path, ".lock", NULL);
    apr_status_t rv = aq_file_open(path, O_RDWR | O_CREAT, 0600, &edit->lock_fd);

    if (rv == APR_SUCCESS) {
        rv = aq_file_lock(edit->lock_fd, LOCK_WAIT_MS);
    }
    if (rv == APR_EBUSY) {
        return aq_keyedit_fail(edit, rv, "%s: another edit holds the file", edit->path);
    }
    return rv == APR_SUCCESS ? rv : aq_keyedit_fail_system(edit, rv, path);
}

json_t *aq_keyedit_member(json_t *object, const char *name, json_type type)
{
    json_t *member = json_object_get(object, name);

    if (!member) {
        member = type == JSON_ARRAY ? json_array() : json_object();
        return json_object_set_new(object, name, member) == 0 ? member : NULL;
    }
    return json_typeof(member) == type ? member : NULL;
}

static apr_status_t file_read(aq_keyedit_t *edit, int may_create)
{
    apr_status_t rv = aq_json_file_load(edit->p, edit->path, AQ_JSON_FILE_MAX_BYTES, &edit->file, edit->error);

    if (may_create && APR_STATUS_IS_ENOENT(rv)) {
        edit->file = json_object();
        rv = APR_SUCCESS;
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    edit->tenants = aq_keyedit_member(edit->file, "tenants", JSON_OBJECT);
    edit->keys = aq_keyedit_member(edit->file, "keys", JSON_ARRAY);
    if (!edit->tenants || !edit->keys) {
        return aq_keyedit_fail(edit, APR_EGENERAL, "%s: is no object with an object \"tenants\" and an array \"keys\"",
                               edit->path);
    }
    return APR_SUCCESS;
}

apr_status_t aq_keyedit_begin(aq_keyedit_t *edit, apr_pool_t *p, const char *path, int may_create, const char **error)
{
    char real[PATH_MAX];
    struct stat info;

    *error = NULL;
    *edit = (aq_keyedit_t){.p = p, .path = path, .lock_fd = -1, .mode = NEW_FILE_MODE, .error = error};
    edit->uid = (uid_t)-1;
    edit->gid = (gid_t)-1;
    if (realpath(path, real)) {
        edit->path = apr_pstrdup(p, real);
    } else if (!may_create || errno != ENOENT) {
        return aq_keyedit_fail_system(edit, errno, path);
    }
    apr_status_t rv = lock_take(edit);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (stat(edit->path, &info) == 0) {
        edit->mode = info.st_mode & 07777;
        edit->uid = info.st_uid;
        edit->gid = info.st_gid;
    }
    return file_read(edit, may_create);
}

static apr_status_t edit_write(aq_keyedit_t *edit)
{
    char *text = json_dumps(edit->file, JSON_INDENT(2));

    if (!text) {
        return aq_keyedit_fail_system(edit, APR_ENOMEM, edit->path);
    }
    const char *line = apr_pstrcat(edit->p, text, "\n", NULL);
    free(text);
    apr_status_t rv = aq_file_replace_as(edit->path, line, strlen(line), (int)edit->mode, edit->uid, edit->gid);
    return rv == APR_SUCCESS ? rv : aq_keyedit_fail_system(edit, rv, edit->path);
}

apr_status_t aq_keyedit_end(aq_keyedit_t *edit, apr_status_t rv)
{
    if (rv == APR_SUCCESS) {
        rv = edit_write(edit);
    }
    json_decref(edit->file);
    if (edit->lock_fd >= 0) {
        (void)close(edit->lock_fd); /* and with it the lock */
    }
    return rv;
}
