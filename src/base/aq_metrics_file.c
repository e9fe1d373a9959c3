/* SPDX-License-Identifier: Apache-2.0 */
/* The file of the metrics: making, checking, mapping it, and giving out rows. See aq_metrics.h. */
#include "base/aq_file.h"
#include "base/aq_metrics.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "AQMETRIC"
#define BYTE_ORDER_MARK UINT32_C(0x01020304)
#define HEADER_SIZE 4096
#define FILE_MODE 0600
#define LOCK_WAIT_MS 2000

static uint64_t size_of(uint32_t room)
{
    return HEADER_SIZE +
           (uint64_t)room * (sizeof(aq_metrics_row_t) + sizeof(uint64_t) * (AQ_METRICS_SHARDS + AQ_METRICS_NOTES));
}

static apr_status_t unmap(void *data)
{
    aq_metrics_t *metrics = data;

    (void)munmap(metrics->header, metrics->size_bytes);
    return APR_SUCCESS;
}

/* Over `mapped`, which goes with the pool. */
static aq_metrics_t *metrics_over(apr_pool_t *p, void *mapped, uint32_t room, const char *path)
{
    aq_metrics_t *metrics = apr_pcalloc(p, sizeof(*metrics));
    char *bytes = mapped;

    metrics->header = mapped;
    metrics->rows = (aq_metrics_row_t *)(void *)(bytes + HEADER_SIZE);
    metrics->shards = (_Atomic uint64_t *)(void *)(metrics->rows + room);
    metrics->notes = metrics->shards + (uint64_t)room * AQ_METRICS_SHARDS;
    metrics->cells = metrics->shards;
    metrics->room = room;
    metrics->size_bytes = size_of(room);
    metrics->path = path;
    apr_pool_cleanup_register(p, metrics, unmap, apr_pool_cleanup_null);
    return metrics;
}

/* Row 0 is nobody's. */
static void header_fill(aq_metrics_header_t *header, uint32_t room)
{
    memset(header, 0, sizeof(*header));
    memcpy(header->magic, MAGIC, sizeof(header->magic));
    header->byte_order = BYTE_ORDER_MARK;
    header->room = room;
    header->fingerprint = aq_metrics_fingerprint();
    atomic_init(&header->used, 1);
}

static int header_is_ours(const aq_metrics_header_t *header, uint64_t size_bytes)
{
    return memcmp(header->magic, MAGIC, sizeof(header->magic)) == 0 && header->byte_order == BYTE_ORDER_MARK &&
           header->fingerprint == aq_metrics_fingerprint() && header->room != 0 && header->room <= UINT16_MAX &&
           size_of(header->room) == size_bytes && atomic_load(&header->used) <= header->room;
}

/* The room of the file, or 0 where it is no such file as this build makes. */
static uint32_t file_room(int fd)
{
    aq_metrics_header_t header;
    struct stat status;

    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) ||
        pread(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header)) {
        return 0;
    }
    return header_is_ours(&header, (uint64_t)status.st_size) ? header.room : 0;
}

/* An empty file in place of what is there; all of it is on the disk, so that no later write finds the disk full. */
static apr_status_t file_make(apr_pool_t *p, const char *path, uint32_t room)
{
    const char *fresh = apr_pstrcat(p, path, ".new", NULL);
    aq_metrics_header_t header;
    int fd;
    apr_status_t rv;

    (void)unlink(fresh); /* left by a process that died here */
    rv = aq_file_open(fresh, O_RDWR | O_CREAT | O_EXCL, FILE_MODE, &fd);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    header_fill(&header, room);
    rv = aq_file_allocate(fd, size_of(room));
    if (rv == APR_SUCCESS) {
        rv = aq_file_write(fd, &header, sizeof(header));
    }
    (void)close(fd);
    if (rv == APR_SUCCESS && rename(fresh, path) != 0) {
        rv = errno;
    }
    if (rv != APR_SUCCESS) {
        (void)unlink(fresh);
    }
    return rv;
}

static apr_status_t file_map(apr_pool_t *p, const char *path, int is_readonly, aq_metrics_t **metrics)
{
    int fd;
    apr_status_t rv = aq_file_open(path, (is_readonly ? O_RDONLY : O_RDWR) | O_NONBLOCK, 0, &fd);
    uint32_t room = rv == APR_SUCCESS ? file_room(fd) : 0;
    void *mapped = MAP_FAILED;

    *metrics = NULL;
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (room != 0) {
        mapped = mmap(NULL, size_of(room), is_readonly ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        rv = mapped == MAP_FAILED ? errno : APR_SUCCESS;
    } else {
        rv = APR_EGENERAL;
    }
    (void)close(fd);
    if (rv == APR_SUCCESS) {
        *metrics = metrics_over(p, mapped, room, apr_pstrdup(p, path));
    }
    return rv;
}

apr_status_t aq_metrics_open_readonly(apr_pool_t *p, const char *path, aq_metrics_t **metrics)
{
    return file_map(p, path, 1, metrics);
}

apr_status_t aq_metrics_open(apr_pool_t *p, const char *path, uint32_t room, aq_metrics_t **metrics)
{
    apr_status_t rv = file_map(p, path, 0, metrics);
    void *mapped;

    if (rv == APR_SUCCESS && (*metrics)->room != room) {
        rv = APR_EGENERAL;
    }
    if (rv != APR_SUCCESS) {
        rv = file_make(p, path, room);
        rv = rv == APR_SUCCESS ? file_map(p, path, 0, metrics) : rv;
    }
    if (rv == APR_SUCCESS) {
        return rv;
    }
    mapped = mmap(NULL, size_of(room), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) {
        /* Then there is not even memory for what follows: as httpd does it. */
        abort();
    }
    header_fill(mapped, room);
    *metrics = metrics_over(p, mapped, room, NULL);
    return rv;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static void row_fill(aq_metrics_row_t *row, aq_metric_t metric, unsigned value, const char *plan, const char *limit)
{
    row->metric = (uint16_t)metric;
    row->value = (uint16_t)value;
    row->zero = 0;
    apr_cpystrn(row->plan, plan, sizeof(row->plan));
    apr_cpystrn(row->limit, limit, sizeof(row->limit));
}

static unsigned rows_append(aq_metrics_t *metrics, aq_metric_t metric, const char *plan, const char *limit)
{
    const unsigned width = aq_metric_width(metric), first = aq_metrics_used(metrics);

    if (first + width > metrics->room) {
        return 0;
    }
    for (unsigned i = 0; i < width; i++) {
        row_fill(&metrics->rows[first + i], metric, i, plan, limit);
    }
    atomic_store_explicit(&metrics->header->used, first + width, memory_order_release);
    return first;
}

unsigned aq_metrics_row(aq_metrics_t *metrics, aq_metric_t metric, const char *plan, const char *limit)
{
    unsigned row = aq_metrics_row_find(metrics, metric, plan, limit);
    int fd = -1;

    if (row != 0) {
        return row;
    }
    /* A second server on this folder may be adding, too. */
    if (metrics->path && aq_file_open(metrics->path, O_RDWR, 0, &fd) == APR_SUCCESS &&
        aq_file_lock(fd, LOCK_WAIT_MS) != APR_SUCCESS) {
        goto cleanup;
    }
    row = aq_metrics_row_find(metrics, metric, plan, limit);
    if (row == 0) {
        row = rows_append(metrics, metric, plan, limit);
    }
cleanup:
    if (fd >= 0) {
        (void)close(fd);
    }
    return row;
}
