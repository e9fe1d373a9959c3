/* SPDX-License-Identifier: Apache-2.0 */
/* Finding processes by their environment. See script_end.h. */
#include "httpd/script_end.h"

#include <apr_strings.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENVIRONMENT_MAX ((size_t)256 * 1024)

/* The environment as the kernel shows it, entries ended by zeros; its size, 0 where it cannot be read. */
static size_t environment_read(const char *pid, char *environment)
{
    char path[64];
    size_t size = 0;
    ssize_t got = 1;
    int fd;

    (void)apr_snprintf(path, sizeof(path), "/proc/%s/environ", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    while (got > 0 && size < ENVIRONMENT_MAX) {
        got = read(fd, environment + size, ENVIRONMENT_MAX - size);
        size += got > 0 ? (size_t)got : 0;
    }
    (void)close(fd);
    return size;
}

static int has_tag(const char *environment, size_t size, const char *tag)
{
    const size_t tag_size = strlen(tag) + 1; /* with its zero: all of the entry */
    const char *end = environment + size;

    for (const char *at = environment; at < end; at += strnlen(at, (size_t)(end - at)) + 1) {
        if ((size_t)(end - at) >= tag_size && memcmp(at, tag, tag_size) == 0) {
            return 1;
        }
    }
    return 0;
}

void aq_script_end(apr_pool_t *ptemp, const char *tag, int signal)
{
    char *environment = apr_palloc(ptemp, ENVIRONMENT_MAX);
    DIR *processes = opendir("/proc");
    const struct dirent *entry;

    if (!processes) {
        return;
    }
    while ((entry = readdir(processes))) {
        const char *pid = entry->d_name;
        if (strspn(pid, "0123456789") == strlen(pid) && has_tag(environment, environment_read(pid, environment), tag)) {
            /* It may have ended by itself meanwhile. */
            (void)kill((pid_t)strtol(pid, NULL, 10), signal);
        }
    }
    (void)closedir(processes);
}
