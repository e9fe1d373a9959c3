/* SPDX-License-Identifier: Apache-2.0 */
/* What all targets share. See fuzz.h. */
#include "fuzz/fuzz.h"

#include "base/aq_log.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static apr_pool_t *pool_of_process, *pool_of_input;
static char folder[] = "/tmp/apiquota-fuzz-XXXXXX";

void fuzz_broken(const char *file, int line, const char *promise)
{
    (void)fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, promise);
    abort();
}

static void silence(void *data, aq_log_level_t level, unsigned number, apr_status_t status, const char *text)
{
    (void)data;
    (void)level;
    (void)number;
    (void)status;
    FUZZ_HOLDS(strpbrk(text, "\n\r\033") == NULL);
}

/* Files alone are in it: what targets make, and what a store sets aside. */
static void folder_remove(void)
{
    DIR *open_folder = opendir(folder);

    for (const struct dirent *entry; open_folder && (entry = readdir(open_folder)) != NULL;) {
        (void)unlinkat(dirfd(open_folder), entry->d_name, 0);
    }
    if (open_folder) {
        (void)closedir(open_folder);
    }
    if (rmdir(folder) != 0) {
        perror(folder);
    }
}

static void begin(void)
{
    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&pool_of_process, NULL) != APR_SUCCESS ||
        apr_pool_create(&pool_of_input, pool_of_process) != APR_SUCCESS || !mkdtemp(folder) ||
        atexit(folder_remove) != 0) {
        abort();
    }
    aq_log_sink_set(silence, NULL);
    aq_log_level_set(AQ_LOG_DEBUG);
}

apr_pool_t *fuzz_pool(void)
{
    if (!pool_of_process) {
        begin();
    }
    apr_pool_clear(pool_of_input);
    return pool_of_input;
}

char *fuzz_text(apr_pool_t *p, const uint8_t *data, size_t size)
{
    return apr_pstrmemdup(p, (const char *)data, size);
}

const char *fuzz_file(const char *name, const void *data, size_t size)
{
    const char *path = apr_pstrcat(pool_of_input, folder, "/", name, NULL);
    int fd;

    /* Anew: some file systems write one that is cut to disk at once. */
    (void)unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FUZZ_HOLDS(fd >= 0 && write(fd, data, size) == (ssize_t)size && close(fd) == 0);
    return path;
}

char *fuzz_line(apr_pool_t *p, const uint8_t **data, size_t *size)
{
    const uint8_t *end = *size > 0 ? memchr(*data, '\n', *size) : NULL;
    const size_t length = end ? (size_t)(end - *data) : *size;
    char *line = fuzz_text(p, *data, length);

    *data += length + (end != NULL);
    *size -= length + (end != NULL);
    return line;
}
