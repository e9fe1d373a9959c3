/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments: what is known of the items of a batch, so that whoever has its lease next goes on where the last one was.
 *
 * Each lease appends to a file of its own (spool.h). A file is text, a record a line:
 *
 *     <checksum> <kind> <line> <text> LF
 *
 *     checksum   16 hex digits, of all that follows up to the LF
 *     kind       d  done: text is the item's line of the result       t  tried in vain: text is how often
 *                f  failed: text as of d                              b  begun: text is empty
 *     line       of the item in the body, from 1
 *
 * The first record that is not whole (a torn write, a reservation that was never used, a lost page) ends the file: it is
 * cut there, and what it lost is done again. Of several d or f records of one line the first counts, in the order of the
 * leases: a worker that lost its lease and does not know it yet cannot change what its successor has seen.
 *
 * Begun is noted for targets that are not idempotent, and is on disk before the item is sent: an item that was begun and
 * of which nothing else is known is never sent again.
 */
#ifndef AQ_SEGMENT_H
#define AQ_SEGMENT_H

#include "batch/spool.h"

#include <stdatomic.h>

/* Longer texts are refused; a reader holds one record. */
#define AQ_SEGMENT_TEXT_MAX_BYTES ((size_t)1 << 19)

typedef enum {
    AQ_SEGMENT_DONE = 'd',
    AQ_SEGMENT_FAILED = 'f',
    AQ_SEGMENT_TRIED = 't',
    AQ_SEGMENT_BEGUN = 'b'
} aq_segment_kind_t;

/* The writer: records are gathered, and written when they are many or when it is flushed. */
typedef struct aq_segment_t aq_segment_t;

/* Begins the segment of lease `token`, in `p`, with which it ends: what was not flushed is lost then. */
apr_status_t aq_segment_begin(aq_spool_t *spool, apr_pool_t *p, const char *id, int64_t token, aq_segment_t **segment);

/* Adds a record. After a failure (APR_ENOSPC, APR_EINVAL for a text with an LF or too long) nothing more may be added. */
apr_status_t aq_segment_add(aq_segment_t *segment, aq_segment_kind_t kind, int64_t line, const char *text, size_t size);

/* Writes what was gathered: it outlives this process. */
apr_status_t aq_segment_flush(aq_segment_t *segment);

/* The same, and it outlives the power. */
apr_status_t aq_segment_sync(aq_segment_t *segment);

/* A record that was read. `text` holds during the call. */
typedef struct {
    aq_segment_kind_t kind;
    int64_t line;
    const char *text;
    size_t size;
    int64_t text_offset; /* in the file */
} aq_segment_record_t;

typedef void aq_segment_each_fn(void *data, const aq_segment_record_t *record);

/*
 * Calls `each` for the whole records of the file, from its beginning up to the first that is not whole; `*whole_bytes`:
 * where that begins. An error of reading, or APR_SUCCESS.
 */
apr_status_t aq_segment_read(int fd, aq_segment_each_fn *each, void *data, int64_t *whole_bytes);

/* An item that was tried in vain and is not done. */
typedef struct {
    int64_t line;
    int tries;
} aq_item_tries_t;

/* What is known of the items of a batch. A bit for each line, so a million take 250 kB. */
typedef struct {
    int64_t items;
    int64_t done, failed; /* failed ones are done, too */
    int64_t result_bytes; /* of the result so far */
    unsigned char *done_bits, *begun_bits;
    apr_array_header_t *tried; /* of aq_item_tries_t: few, since each waits in a worker's memory */
} aq_items_known_t;

/* Knows nothing, of so many items; in `p`. */
void aq_items_known_make(apr_pool_t *p, int64_t items, aq_items_known_t *known);

int aq_items_is_done(const aq_items_known_t *known, int64_t line);

/* Begun, and nothing else is known: nobody may send it again. */
int aq_items_is_unknown(const aq_items_known_t *known, int64_t line);

/* How often the item was tried. */
int aq_items_tries(const aq_items_known_t *known, int64_t line);

/* Notes a record; of a line out of bounds, or of one that is done, nothing. */
void aq_items_known_note(aq_items_known_t *known, const aq_segment_record_t *record);

/* Reads all segments of the batch, cuts each behind its last whole record, and notes what they say. */
apr_status_t aq_segments_recover(aq_spool_t *spool, apr_pool_t *ptemp, const char *id, aq_items_known_t *known);

/*
 * Writes the result, in the order of the lines: the text of each item that is done, and for those that are only begun one
 * that says so. `known`, emptied before, is what the result holds. APR_EINTR when the flag is at least `from`. Memory is
 * bounded however many lines: where each text lies is kept in a file.
 */
typedef struct {
    const _Atomic int *flag;
    int from;
} aq_merge_stop_t;

apr_status_t aq_segments_merge(aq_spool_t *spool, apr_pool_t *ptemp, const char *id, aq_items_known_t *known,
                               aq_spool_file_t *result, const aq_merge_stop_t *stop);

#endif
