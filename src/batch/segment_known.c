/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the records of all segments say together.
 */
#include "batch/segment.h"

#include <apr_strings.h>
#include <string.h>
#include <unistd.h>

static size_t bits_bytes(int64_t items)
{
    return (size_t)(items / 8 + 1);
}

void aq_items_known_make(apr_pool_t *p, int64_t items, aq_items_known_t *known)
{
    *known = (aq_items_known_t){.items = items,
                                .done_bits = apr_pcalloc(p, bits_bytes(items)),
                                .begun_bits = apr_pcalloc(p, bits_bytes(items)),
                                .tried = apr_array_make(p, 4, sizeof(aq_item_tries_t))};
}

static int is_set(const unsigned char *bits, int64_t line)
{
    return bits[line / 8] >> (line % 8) & 1;
}

static void set(unsigned char *bits, int64_t line)
{
    bits[line / 8] = (unsigned char)(bits[line / 8] | 1U << (line % 8));
}

static void unset(unsigned char *bits, int64_t line)
{
    bits[line / 8] = (unsigned char)(bits[line / 8] & ~(1U << (line % 8)));
}

int aq_items_is_done(const aq_items_known_t *known, int64_t line)
{
    return is_set(known->done_bits, line);
}

int aq_items_is_unknown(const aq_items_known_t *known, int64_t line)
{
    return is_set(known->begun_bits, line) && !is_set(known->done_bits, line);
}

static aq_item_tries_t *tries_find(const aq_items_known_t *known, int64_t line)
{
    for (int i = 0; i < known->tried->nelts; i++) {
        aq_item_tries_t *tried = &APR_ARRAY_IDX(known->tried, i, aq_item_tries_t);
        if (tried->line == line) {
            return tried;
        }
    }
    return NULL;
}

int aq_items_tries(const aq_items_known_t *known, int64_t line)
{
    const aq_item_tries_t *tried = tries_find(known, line);

    return tried != NULL ? tried->tries : 0;
}

static void note_tried(aq_items_known_t *known, const aq_segment_record_t *record)
{
    aq_item_tries_t *tried = tries_find(known, record->line);

    if (tried == NULL) {
        tried = apr_array_push(known->tried);
        tried->line = record->line;
    }
    tried->tries = (int)apr_strtoi64(record->text, NULL, 10);
    unset(known->begun_bits, record->line); /* it had no effect, so it may be sent again */
}

static void note_done(aq_items_known_t *known, const aq_segment_record_t *record)
{
    aq_item_tries_t *tried = tries_find(known, record->line);

    if (tried != NULL) {
        const aq_item_tries_t *last = apr_array_pop(known->tried);
        *tried = *last;
    }
    set(known->done_bits, record->line);
    known->done++;
    known->failed += record->kind == AQ_SEGMENT_FAILED;
    known->result_bytes += (int64_t)record->size + 1;
}

void aq_items_known_note(aq_items_known_t *known, const aq_segment_record_t *record)
{
    if (record->line < 1 || record->line > known->items || aq_items_is_done(known, record->line)) {
        return;
    }
    switch (record->kind) {
    case AQ_SEGMENT_DONE:
    case AQ_SEGMENT_FAILED:
        note_done(known, record);
        break;
    case AQ_SEGMENT_TRIED:
        note_tried(known, record);
        break;
    case AQ_SEGMENT_BEGUN:
        set(known->begun_bits, record->line);
        break;
    }
}

static void note(void *data, const aq_segment_record_t *record)
{
    aq_items_known_note(data, record);
}

apr_status_t aq_segments_recover(aq_spool_t *spool, apr_pool_t *ptemp, const char *id, aq_items_known_t *known)
{
    apr_array_header_t *tokens;
    int64_t whole_bytes;
    int fd;

    apr_status_t rv = aq_spool_segments(spool, ptemp, id, &tokens);
    for (int i = 0; rv == APR_SUCCESS && i < tokens->nelts; i++) {
        rv = aq_spool_segment_open(spool, ptemp, id, APR_ARRAY_IDX(tokens, i, int64_t), &fd);
        if (rv != APR_SUCCESS) {
            break;
        }
        rv = aq_segment_read(fd, note, known, &whole_bytes);
        if (rv == APR_SUCCESS) {
            rv = aq_spool_segment_cut(spool, fd, whole_bytes);
        }
        (void)close(fd);
    }
    return rv;
}
