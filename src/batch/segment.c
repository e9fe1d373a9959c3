/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing and reading segments. The checksum is SipHash with a secret that is none: it has to find torn writes, no forgery.
 */
#include "batch/segment.h"

#include "base/aq_hash.h"

#include <apr_strings.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GATHER_BYTES ((size_t)65536)
#define CHECKSUM_DIGITS 16
#define HEAD_MAX_BYTES 64 /* checksum, kind and line */
#define RECORD_MAX_BYTES (HEAD_MAX_BYTES + AQ_SEGMENT_TEXT_MAX_BYTES + 1)

static const aq_hash_secret_t no_secret = {.bytes = {0}};

struct aq_segment_t {
    aq_spool_segment_t *file;
    char *record;   /* the one that is being made */
    char *gathered; /* those that are not written yet */
    size_t gathered_bytes;
    apr_status_t broken; /* what ended it */
};

apr_status_t aq_segment_begin(aq_spool_t *spool, apr_pool_t *p, const char *id, int64_t token, aq_segment_t **segment)
{
    aq_segment_t *begun = apr_palloc(p, sizeof(*begun));

    *segment = NULL;
    *begun = (aq_segment_t){.record = apr_palloc(p, HEAD_MAX_BYTES), .gathered = apr_palloc(p, GATHER_BYTES)};
    apr_status_t rv = aq_spool_segment_begin(spool, p, id, token, &begun->file);
    if (rv == APR_SUCCESS) {
        *segment = begun;
    }
    return rv;
}

apr_status_t aq_segment_flush(aq_segment_t *segment)
{
    if (segment->broken == APR_SUCCESS && segment->gathered_bytes > 0) {
        segment->broken = aq_spool_segment_add(segment->file, segment->gathered, segment->gathered_bytes);
        segment->gathered_bytes = 0;
    }
    return segment->broken;
}

apr_status_t aq_segment_sync(aq_segment_t *segment)
{
    apr_status_t rv = aq_segment_flush(segment);

    return rv == APR_SUCCESS ? aq_spool_segment_sync(segment->file) : rv;
}

static apr_status_t gather(aq_segment_t *segment, const char *data, size_t size)
{
    if (segment->gathered_bytes + size > GATHER_BYTES && aq_segment_flush(segment) != APR_SUCCESS) {
        return segment->broken;
    }
    if (size > GATHER_BYTES) {
        segment->broken = aq_spool_segment_add(segment->file, data, size);
        return segment->broken;
    }
    memcpy(segment->gathered + segment->gathered_bytes, data, size);
    segment->gathered_bytes += size;
    return APR_SUCCESS;
}

/* Of the head behind its checksum, and of the text: two hashes joined, so that the text need not be copied. */
static uint64_t checksum(const char *head, size_t head_bytes, const char *text, size_t size)
{
    uint64_t of_head = aq_hash_keyed64(&no_secret, head, head_bytes);

    return of_head ^ ((aq_hash_keyed64(&no_secret, text, size) << 1) | (of_head >> 63));
}

apr_status_t aq_segment_add(aq_segment_t *segment, aq_segment_kind_t kind, int64_t line, const char *text, size_t size)
{
    char *head = segment->record + CHECKSUM_DIGITS;
    char digits[CHECKSUM_DIGITS + 1];

    if (segment->broken != APR_SUCCESS) {
        return segment->broken;
    }
    if (size > AQ_SEGMENT_TEXT_MAX_BYTES || memchr(text, '\n', size) != NULL) {
        segment->broken = APR_EINVAL;
        return APR_EINVAL;
    }
    size_t head_bytes =
        (size_t)snprintf(head, HEAD_MAX_BYTES - CHECKSUM_DIGITS, " %c %" APR_INT64_T_FMT " ", (int)kind, line);
    (void)snprintf(digits, sizeof digits, "%016" APR_UINT64_T_HEX_FMT, checksum(head, head_bytes, text, size));
    memcpy(segment->record, digits, CHECKSUM_DIGITS);
    if (gather(segment, segment->record, CHECKSUM_DIGITS + head_bytes) == APR_SUCCESS &&
        gather(segment, text, size) == APR_SUCCESS) {
        return gather(segment, "\n", 1);
    }
    return segment->broken;
}

/* Takes "<checksum> <kind> <line> <text>" apart. 0: it is not whole. */
static int record_parse(const char *data, size_t size, aq_segment_record_t *record)
{
    char digits[CHECKSUM_DIGITS + 1], *end;

    /* The shortest: a checksum, " b 1 ". Behind the data there is always a byte: strtoll stops there at the latest. */
    if (size < CHECKSUM_DIGITS + 5 || data[CHECKSUM_DIGITS] != ' ' || data[CHECKSUM_DIGITS + 2] != ' ' ||
        data[CHECKSUM_DIGITS + 1] == '\0' || strchr("dftb", data[CHECKSUM_DIGITS + 1]) == NULL) {
        return 0;
    }
    const char *number = data + CHECKSUM_DIGITS + 3;
    errno = 0;
    record->line = *number >= '1' && *number <= '9' ? strtoll(number, &end, 10) : 0;
    if (record->line == 0 || errno != 0 || end >= data + size || *end != ' ') {
        return 0;
    }
    record->kind = (aq_segment_kind_t)data[CHECKSUM_DIGITS + 1];
    record->text = end + 1;
    record->size = (size_t)(data + size - record->text);
    const char *head = data + CHECKSUM_DIGITS;
    (void)snprintf(digits, sizeof digits, "%016" APR_UINT64_T_HEX_FMT,
                   checksum(head, (size_t)(record->text - head), record->text, record->size));
    return memcmp(digits, data, CHECKSUM_DIGITS) == 0;
}

/* Reads until the buffer is full or the file at its end; `*size` is what the buffer then holds. */
static apr_status_t fill(int fd, char *buffer, size_t room, size_t *size)
{
    while (*size < room) {
        ssize_t got = read(fd, buffer + *size, room - *size);
        if (got == 0) {
            return APR_SUCCESS;
        }
        if (got < 0 && errno != EINTR) {
            return errno;
        }
        *size += got > 0 ? (size_t)got : 0;
    }
    return APR_SUCCESS;
}

/* The whole records at the beginning of the buffer; how many bytes they take. `*is_over`: one came that is not whole. */
static size_t records_take(const char *buffer, size_t size, int64_t offset, aq_segment_each_fn *each, void *data,
                           int *is_over)
{
    aq_segment_record_t record;
    size_t at = 0;
    const char *lf;

    while ((lf = memchr(buffer + at, '\n', size - at)) != NULL) {
        size_t length = (size_t)(lf - (buffer + at));
        if (!record_parse(buffer + at, length, &record)) {
            *is_over = 1;
            return at;
        }
        record.text_offset = offset + (record.text - buffer);
        each(data, &record);
        at += length + 1;
    }
    return at;
}

apr_status_t aq_segment_read(int fd, aq_segment_each_fn *each, void *data, int64_t *whole_bytes)
{
    const size_t room = 2 * RECORD_MAX_BYTES;
    char *buffer = malloc(room);
    size_t held = 0, taken = 1;
    apr_status_t rv = APR_SUCCESS;
    int is_over = 0;

    *whole_bytes = 0;
    if (buffer == NULL || lseek(fd, 0, SEEK_SET) < 0) {
        rv = buffer == NULL ? APR_ENOMEM : errno;
        goto cleanup;
    }
    while (rv == APR_SUCCESS && taken > 0 && !is_over) {
        rv = fill(fd, buffer, room, &held);
        taken = records_take(buffer, held, *whole_bytes, each, data, &is_over);
        memmove(buffer, buffer + taken, held - taken);
        held -= taken;
        *whole_bytes += (int64_t)taken;
    }
cleanup:
    free(buffer);
    return rv;
}
