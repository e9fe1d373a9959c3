/* SPDX-License-Identifier: Apache-2.0 */
/* The file with this machine's name. See machine.h. */
#include "store/machine.h"

#include "base/aq_file.h"
#include "base/aq_hash.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "m_"
#define RANDOM_BYTES ((size_t)8)
#define NAME_SIZE (sizeof(PREFIX) - 1 + 2 * RANDOM_BYTES + 1)

static int is_name(const char *text)
{
    unsigned char bytes[RANDOM_BYTES];

    return strncmp(text, PREFIX, sizeof(PREFIX) - 1) == 0 &&
           aq_hash_hex_parse(text + sizeof(PREFIX) - 1, bytes, sizeof(bytes)) == APR_SUCCESS;
}

static apr_status_t name_make(const char *path, char name[NAME_SIZE])
{
    unsigned char random[RANDOM_BYTES];
    apr_status_t rv = aq_hash_random(random, sizeof(random));

    if (rv != APR_SUCCESS) {
        return rv;
    }
    (void)memcpy(name, PREFIX, sizeof(PREFIX));
    aq_hash_hex_write(name + sizeof(PREFIX) - 1, random, sizeof(random));
    return aq_file_replace(path, name, NAME_SIZE - 1, 0600);
}

apr_status_t aq_machine_name(apr_pool_t *p, const char *path, const char **name, const char **error)
{
    char text[NAME_SIZE + 2] = "";
    int fd;
    apr_status_t rv = aq_file_open(path, O_RDONLY, 0, &fd);

    *name = NULL;
    *error = NULL;
    if (rv == APR_SUCCESS) {
        ssize_t size = read(fd, text, sizeof(text) - 1);
        (void)close(fd);
        text[size > 0 && text[size - 1] == '\n' ? size - 1 : size > 0 ? size : 0] = '\0';
        rv = is_name(text) ? APR_SUCCESS : APR_EGENERAL;
    } else if (APR_STATUS_IS_ENOENT(rv)) {
        rv = name_make(path, text);
    }
    if (rv != APR_SUCCESS) {
        *error = apr_psprintf(p, "%s, which holds this machine's name, cannot be read or written", path);
        return rv;
    }
    *name = apr_pstrdup(p, text);
    return APR_SUCCESS;
}
