/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The result of a batch of items, in the order of its lines.
 *
 * First all segments are read, and where the text of each line lies is noted in a file without a name, a place of 16 bytes
 * a line. Then that file is read from its beginning, and text after text fetched. The texts of one segment lie nearly in
 * order, so the second pass reads nearly forwards.
 */
#include "batch/segment.h"

#include "batch/item_result.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Where a text lies. All zero: nothing is known of the line. */
typedef struct {
    int64_t offset;
    uint32_t size;
    uint32_t segment; /* its number from 1, in the order of the tokens */
} place_t;

static_assert(sizeof(place_t) == 16, "a place fills 16 bytes");

#define PLACES_AT_ONCE 4096
#define OUTPUT_BYTES ((size_t)65536)

typedef struct {
    aq_spool_t *spool;
    apr_pool_t *pool;
    const char *id;
    aq_items_known_t *known;
    aq_spool_file_t *result;
    const aq_merge_stop_t *stop;
    apr_array_header_t *tokens;
    int places_fd;
    apr_status_t failure; /* of noting places */
    uint32_t segment;     /* the one that is open; 0: none */
    int segment_fd;
    char *text;   /* of one line */
    char *output; /* what is not written yet */
    size_t output_bytes;
} merge_t;

static int is_stopped(const merge_t *merge)
{
    return atomic_load(merge->stop->flag) >= merge->stop->from;
}

static void note_place(void *data, const aq_segment_record_t *record)
{
    merge_t *merge = data;
    int64_t done = merge->known->done;

    aq_items_known_note(merge->known, record);
    if (merge->known->done == done || merge->failure != APR_SUCCESS) {
        return;
    }
    place_t place = {.offset = record->text_offset, .size = (uint32_t)record->size, .segment = merge->segment};
    off_t at = (off_t)((record->line - 1) * (int64_t)sizeof place);
    ssize_t put = pwrite(merge->places_fd, &place, sizeof place, at);
    if (put != (ssize_t)sizeof place) {
        merge->failure = put < 0 ? errno : APR_ENOSPC;
    }
}

static apr_status_t segment_open(merge_t *merge, uint32_t number)
{
    if (merge->segment == number) {
        return APR_SUCCESS;
    }
    if (merge->segment_fd >= 0) {
        (void)close(merge->segment_fd);
        merge->segment_fd = -1;
    }
    merge->segment = number;
    return aq_spool_segment_open(merge->spool, merge->pool, merge->id,
                                 APR_ARRAY_IDX(merge->tokens, (int)number - 1, int64_t), &merge->segment_fd);
}

static apr_status_t places_note(merge_t *merge)
{
    int64_t whole_bytes;
    apr_status_t rv = aq_spool_segments(merge->spool, merge->pool, merge->id, &merge->tokens);

    for (uint32_t i = 1; rv == APR_SUCCESS && i <= (uint32_t)merge->tokens->nelts; i++) {
        rv = segment_open(merge, i);
        if (rv == APR_SUCCESS) {
            rv = aq_segment_read(merge->segment_fd, note_place, merge, &whole_bytes);
        }
        rv = rv == APR_SUCCESS ? merge->failure : rv;
        rv = rv == APR_SUCCESS && is_stopped(merge) ? APR_EINTR : rv;
    }
    return rv;
}

static apr_status_t output_flush(merge_t *merge)
{
    apr_status_t rv = APR_SUCCESS;

    if (merge->output_bytes > 0) {
        rv = aq_spool_write(merge->result, merge->output, merge->output_bytes);
        merge->output_bytes = 0;
    }
    return rv;
}

static apr_status_t output_line(merge_t *merge, char *text, size_t size)
{
    apr_status_t rv = APR_SUCCESS;

    text[size++] = '\n';
    if (merge->output_bytes + size > OUTPUT_BYTES && (rv = output_flush(merge)) != APR_SUCCESS) {
        return rv;
    }
    if (size > OUTPUT_BYTES) {
        return aq_spool_write(merge->result, text, size);
    }
    memcpy(merge->output + merge->output_bytes, text, size);
    merge->output_bytes += size;
    return APR_SUCCESS;
}

/* A file that is shorter than it was a moment ago has been changed by somebody else. */
static apr_status_t read_at(int fd, char *data, size_t size, int64_t at)
{
    size_t have = 0;

    while (have < size) {
        ssize_t got = pread(fd, data + have, size - have, (off_t)(at + (int64_t)have));
        if (got == 0) {
            return APR_EOF;
        }
        if (got < 0 && errno != EINTR) {
            return errno;
        }
        have += got > 0 ? (size_t)got : 0;
    }
    return APR_SUCCESS;
}

static apr_status_t line_write(merge_t *merge, int64_t line, const place_t *place)
{
    apr_status_t rv = APR_SUCCESS;

    if (place->segment == 0) {
        size_t size = aq_item_unknown_text(merge->text, AQ_SEGMENT_TEXT_MAX_BYTES, line);
        aq_items_known_note(merge->known,
                            &(aq_segment_record_t){.kind = AQ_SEGMENT_FAILED, .line = line, .size = size});
        return output_line(merge, merge->text, size);
    }
    if ((rv = segment_open(merge, place->segment)) == APR_SUCCESS &&
        (rv = read_at(merge->segment_fd, merge->text, place->size, place->offset)) == APR_SUCCESS) {
        rv = output_line(merge, merge->text, place->size);
    }
    return rv;
}

/* The lines from `first` on whose places these are. */
static apr_status_t lines_write(merge_t *merge, int64_t first, const place_t *places, size_t count)
{
    apr_status_t rv = APR_SUCCESS;

    for (size_t i = 0; rv == APR_SUCCESS && i < count; i++) {
        int64_t line = first + (int64_t)i;
        if (places[i].segment != 0 || aq_items_is_unknown(merge->known, line)) {
            rv = line_write(merge, line, &places[i]);
        }
    }
    return rv == APR_SUCCESS && is_stopped(merge) ? APR_EINTR : rv;
}

static apr_status_t result_write(merge_t *merge)
{
    place_t *places = apr_palloc(merge->pool, PLACES_AT_ONCE * sizeof(*places));
    int64_t bytes = merge->known->items * (int64_t)sizeof(*places);
    apr_status_t rv = APR_SUCCESS;

    /* Beyond the last line that is known the file would end. */
    if (ftruncate(merge->places_fd, (off_t)bytes) != 0) {
        return errno;
    }
    for (int64_t line = 1; rv == APR_SUCCESS && line <= merge->known->items; line += PLACES_AT_ONCE) {
        int64_t left = merge->known->items - line + 1;
        size_t count = left < PLACES_AT_ONCE ? (size_t)left : PLACES_AT_ONCE;
        rv = read_at(merge->places_fd, (char *)places, count * sizeof(*places), (line - 1) * (int64_t)sizeof(*places));
        if (rv == APR_SUCCESS) {
            rv = lines_write(merge, line, places, count);
        }
    }
    return rv == APR_SUCCESS ? output_flush(merge) : rv;
}

apr_status_t aq_segments_merge(aq_spool_t *spool, apr_pool_t *ptemp, const char *id, aq_items_known_t *known,
                               aq_spool_file_t *result, const aq_merge_stop_t *stop)
{
    merge_t merge = {.spool = spool,
                     .pool = ptemp,
                     .id = id,
                     .known = known,
                     .result = result,
                     .stop = stop,
                     .segment_fd = -1,
                     .text = apr_palloc(ptemp, AQ_SEGMENT_TEXT_MAX_BYTES + 1),
                     .output = apr_palloc(ptemp, OUTPUT_BYTES)};

    apr_status_t rv = aq_spool_scratch_open(spool, ptemp, &merge.places_fd);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if ((rv = places_note(&merge)) == APR_SUCCESS) {
        rv = result_write(&merge);
    }
    if (merge.segment_fd >= 0) {
        (void)close(merge.segment_fd);
    }
    (void)close(merge.places_fd);
    return rv;
}
