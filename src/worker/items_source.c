/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines of a body that are still to be done. What is done is read over: it is cheaper than to remember where each
 * line lies.
 */
#include "worker/items_private.h"

#include <errno.h>
#include <unistd.h>

#define READ_BYTES ((size_t)65536)
#define PASS_MOST_BYTES (INT64_C(1) << 20)

void aq_items_source_open(aq_items_source_t *source, apr_pool_t *p, int fd, const aq_items_known_t *known)
{
    *source = (aq_items_source_t){.fd = fd, .known = known, .buffer = apr_palloc(p, READ_BYTES)};
    aq_items_begin(&source->reader);
}

static apr_status_t refill(aq_items_source_t *source)
{
    ssize_t got;

    do {
        got = pread(source->fd, source->buffer, READ_BYTES, (off_t)source->offset);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return errno;
    }
    source->held = (size_t)got;
    source->used = 0;
    source->offset += got;
    source->is_over = got == 0;
    return APR_SUCCESS;
}

/* The next line of the buffer, or the last one of all. 0: more has to be read. */
static int line_next(aq_items_source_t *source, aq_item_t *item)
{
    size_t used;

    if (source->is_over) {
        return aq_items_end(&source->reader, item);
    }
    int has_line =
        aq_items_read(&source->reader, source->buffer + source->used, source->held - source->used, &used, item);
    source->used += used;
    return has_line;
}

apr_status_t aq_items_source_next(aq_items_source_t *source, aq_item_t *item)
{
    int64_t most = source->offset + PASS_MOST_BYTES;

    for (;;) {
        int has_line = line_next(source, item);
        /* The body is what was counted when it came, so there is no line above. */
        if (has_line && item->line <= source->known->items && !aq_items_is_done(source->known, item->line)) {
            return APR_SUCCESS;
        }
        if (has_line) {
            continue;
        }
        if (source->is_over) {
            return APR_EOF;
        }
        if (source->offset >= most) {
            return APR_EAGAIN;
        }
        apr_status_t rv = refill(source);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
}
