/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON in and out, over jansson.
 *
 * A file is read whole, within its bound, before it is parsed: a file that is cut or replaced meanwhile can at worst
 * fail to parse. jansson's own messages end in the text near the error; that part is dropped, since it may be a secret.
 */
#include "base/aq_json.h"

#include "base/aq_clock.h"
#include "base/aq_file.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads at most `max` bytes; `*size` is what there was. One byte more than the bound tells that it was passed. */
static apr_status_t read_all(int fd, char *buffer, size_t max, size_t *size)
{
    *size = 0;
    while (*size < max) {
        ssize_t got = read(fd, buffer + *size, max - *size);
        if (got == 0) {
            break;
        }
        if (got < 0 && errno != EINTR) {
            return errno;
        }
        *size += got > 0 ? (size_t)got : 0;
    }
    return APR_SUCCESS;
}

static apr_status_t parse(apr_pool_t *p, const char *path, const char *text, size_t size, json_t **json,
                          const char **error)
{
    json_error_t place;

    *json = json_loadb(text, size, JSON_REJECT_DUPLICATES, &place);
    if (*json) {
        return APR_SUCCESS;
    }
    char *near = strstr(place.text, " near ");
    if (near) {
        *near = '\0';
    }
    *error = apr_psprintf(p, "%s: line %d, column %d: %s", path, place.line, place.column, place.text);
    return APR_EGENERAL;
}

static apr_status_t system_error(apr_pool_t *p, const char *path, apr_status_t rv, const char **error)
{
    char reason[128];

    *error = apr_psprintf(p, "%s: %s", path, apr_strerror(rv, reason, sizeof(reason)));
    return rv;
}

/* What there is to read, if it is less than `room`: the last byte of that tells that there is more. */
static apr_status_t load_text(apr_pool_t *p, const char *path, int fd, size_t room, json_t **json, const char **error)
{
    char *buffer = malloc(room);
    size_t size = 0;

    if (!buffer) {
        return system_error(p, path, APR_ENOMEM, error);
    }
    apr_status_t rv = read_all(fd, buffer, room, &size);
    if (rv != APR_SUCCESS) {
        (void)system_error(p, path, rv, error);
    } else if (size == room) {
        *error = apr_psprintf(p, "%s: has more than the %" APR_SIZE_T_FMT " bytes allowed", path, room - 1);
        rv = APR_EGENERAL;
    } else {
        rv = parse(p, path, buffer, size, json, error);
    }
    free(buffer);
    return rv;
}

static apr_status_t load_fd(apr_pool_t *p, const char *path, int fd, size_t max_bytes, json_t **json,
                            const char **error)
{
    struct stat info;

    if (fstat(fd, &info) != 0) {
        return system_error(p, path, errno, error);
    }
    if (!S_ISREG(info.st_mode)) {
        *error = apr_psprintf(p, "%s: is no regular file", path);
        return APR_EGENERAL;
    }
    if (info.st_size > (off_t)max_bytes) {
        *error = apr_psprintf(p, "%s: has %" APR_OFF_T_FMT " bytes, more than the %" APR_SIZE_T_FMT " allowed", path,
                              info.st_size, max_bytes);
        return APR_EGENERAL;
    }
    /* The size of now, and one to see the end: a file that grows meanwhile is refused. */
    return load_text(p, path, fd, (size_t)info.st_size + 1, json, error);
}

apr_status_t aq_json_input_load(apr_pool_t *p, const char *name, int fd, size_t max_bytes, json_t **json,
                                const char **error)
{
    *json = NULL;
    *error = NULL;
    return load_text(p, name, fd, max_bytes + 1, json, error);
}

apr_status_t aq_json_file_load(apr_pool_t *p, const char *path, size_t max_bytes, json_t **json, const char **error)
{
    int fd;

    *json = NULL;
    *error = NULL;
    do {
        /* O_NONBLOCK: a FIFO in the file's place must not hold us. */
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return system_error(p, path, errno, error);
    }
    apr_status_t rv = load_fd(p, path, fd, max_bytes, json, error);
    (void)close(fd);
    return rv;
}

const char *aq_json_text(apr_pool_t *p, const json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
    const char *copy = text ? apr_pstrdup(p, text) : NULL;

    free(text);
    return copy;
}

const char *aq_json_string(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* The same with U+FFFD in place of each byte beyond ASCII; the caller frees it. NULL when memory ran out. */
static char *ascii_make(const char *text)
{
    static const char instead[] = "\xef\xbf\xbd";
    const size_t size = sizeof(instead) - 1;
    char *ascii = malloc(strlen(text) * size + 1), *at = ascii;

    for (; ascii && *text; text++) {
        if ((unsigned char)*text < 0x80) {
            *at++ = *text;
        } else {
            memcpy(at, instead, size);
            at += size;
        }
    }
    if (ascii) {
        *at = '\0';
    }
    return ascii;
}

json_t *aq_json_any_text(const char *text)
{
    json_t *string = NULL;

    if (!text) {
        return json_null();
    }
    string = json_string(text);
    if (!string) {
        char *ascii = ascii_make(text);

        string = ascii ? json_string(ascii) : NULL;
        free(ascii);
    }
    return string;
}

json_t *aq_json_time(int64_t time_ms)
{
    char text[AQ_RFC3339_SIZE];

    if (time_ms == 0) {
        return json_null();
    }
    aq_clock_rfc3339_write(text, time_ms);
    return json_string(text);
}

apr_status_t aq_json_file_replace(const char *path, const json_t *json, int mode, apr_pool_t *ptemp)
{
    return aq_json_file_replace_as(path, json, mode, (gid_t)-1, ptemp);
}

apr_status_t aq_json_file_replace_as(const char *path, const json_t *json, int mode, gid_t gid, apr_pool_t *ptemp)
{
    char *text = json_dumps(json, JSON_INDENT(2));

    if (!text) {
        return APR_ENOMEM;
    }
    const char *line = apr_pstrcat(ptemp, text, "\n", NULL);
    free(text);
    return aq_file_replace_as(path, line, strlen(line), mode, (uid_t)-1, gid);
}
