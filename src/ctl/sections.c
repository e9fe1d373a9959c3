/* SPDX-License-Identifier: Apache-2.0 */
/* Sections. See sections.h. A set is known by a bit for each of its sections. */
#include "ctl/sections.h"

#include "limit/runtime_sections.h"

#include <apr_fnmatch.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <string.h>

#define PATH_SIZE 8192 /* of httpd's LimitRequestLine, and more than sections are long */

struct aq_sections_t {
    apr_pool_t *p;
    const apr_array_header_t *list;
    apr_hash_t *sets; /* aq_section_set_t * by uint64_t */
};

/* ---- paths ------------------------------------------------------------------------------------------------------ */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* What "%XX" at `at` stands for; -1: nothing, or a slash or zero, which httpd does not decode. */
static int escaped_byte(const char *at, const char *end)
{
    int high = end - at > 2 && *at == '%' ? hex_digit(at[1]) : -1;
    int low = high >= 0 ? hex_digit(at[2]) : -1;
    int byte = low >= 0 ? high * 16 + low : -1;

    return byte == '/' || byte == 0 ? -1 : byte;
}

/* Where the path of "http://host/path" begins; the target itself where it is a path or "*". */
static const char *path_begin(const char *target, const char *end)
{
    static const char mark[] = "://";

    for (const char *at = target; *target != '/' && end - at > 3; at++) {
        if (memcmp(at, mark, 3) == 0) {
            const char *slash = memchr(at + 3, '/', (size_t)(end - at - 3));
            return slash ? slash : end;
        }
    }
    return target;
}

/* Decodes up to the query, or a zero byte, into `path`, which has PATH_SIZE bytes. How many were written, none a zero. */
static size_t path_decode(const char *target, size_t size, char *path)
{
    const char *end = target + size, *at = size > 0 ? path_begin(target, end) : end;
    size_t length = 0;

    while (at < end && *at && *at != '?' && *at != '#' && length < PATH_SIZE - 2) {
        int byte = escaped_byte(at, end);
        path[length] = *at++;
        if (byte >= 0) {
            path[length] = (char)(unsigned char)byte;
            at += 2;
        }
        length++;
    }
    return length;
}

static size_t segment_remove(const char *path, size_t length)
{
    while (length > 0 && path[length - 1] != '/') {
        length--;
    }
    return length > 0 ? length - 1 : 0;
}

/* Resolves what is between slashes, in place; `path` begins with one. Ended by a zero. */
static void segments_resolve(char *path, size_t size)
{
    size_t length = 0, at = 0;
    int is_open = 1; /* it ends with a slash */

    while (at < size) {
        at += strspn(path + at, "/");
        size_t part = strcspn(path + at, "/");
        int is_dot = part == 1 && path[at] == '.', is_up = part == 2 && path[at] == '.' && path[at + 1] == '.';
        is_open = part == 0 || is_dot || is_up;
        if (is_up) {
            length = segment_remove(path, length);
        } else if (!is_open) {
            path[length++] = '/';
            memmove(path + length, path + at, part);
            length += part;
        }
        at += part;
    }
    if (is_open) {
        path[length++] = '/';
    }
    path[length] = '\0';
}

static void path_read(const char *target, size_t size, char *path)
{
    size_t length = path_decode(target, size, path);

    path[length] = '\0';
    if (length == 0 || path[0] == '/') {
        segments_resolve(path, length);
    }
}

/* ---- matching --------------------------------------------------------------------------------------------------- */

static int is_under(const char *section, const char *path)
{
    return apr_fnmatch_test(section) ? apr_fnmatch(section, path, APR_FNM_PATHNAME) == APR_SUCCESS
                                     : aq_section_encloses(section, path);
}

static aq_section_set_t *set_make(aq_sections_t *sections, uint64_t members)
{
    aq_section_set_t *set = apr_pcalloc(sections->p, sizeof(*set));

    for (int i = 0; i < sections->list->nelts; i++) {
        const aq_section_t *section = APR_ARRAY_IDX(sections->list, i, const aq_section_t *);
        if (members >> i & 1) {
            set->name = *section->path ? section->path : set->name;
            set->limits = aq_limits_merge(sections->p, set->limits, section->limits);
            set->cost = section->cost > 0 ? section->cost : set->cost;
        }
    }
    apr_hash_set(sections->sets, apr_pmemdup(sections->p, &members, sizeof(members)), sizeof(members), set);
    return set;
}

const aq_section_set_t *aq_sections_find(aq_sections_t *sections, const char *target, size_t size)
{
    char path[PATH_SIZE];
    uint64_t members = 0;

    path_read(target, size, path);
    for (int i = 0; i < sections->list->nelts; i++) {
        if (is_under(APR_ARRAY_IDX(sections->list, i, const aq_section_t *)->path, path)) {
            members |= UINT64_C(1) << i;
        }
    }
    if (members == 0) {
        return NULL;
    }
    aq_section_set_t *set = apr_hash_get(sections->sets, &members, sizeof(members));
    return set ? set : set_make(sections, members);
}

aq_sections_t *aq_sections_create(apr_pool_t *p, const apr_array_header_t *list)
{
    aq_sections_t *sections = list->nelts > 0 ? apr_pcalloc(p, sizeof(*sections)) : NULL;

    if (sections) {
        sections->p = p;
        sections->list = list;
        sections->sets = apr_hash_make(p);
    }
    return sections;
}
