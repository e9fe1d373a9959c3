/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines are found by memchr; what lies between goes through the JSON check, as far as the line may be long.
 */
#include "batch/items.h"

#include <string.h>

void aq_items_count(aq_items_count_t *count, const char *data, size_t size)
{
    const char *end = data + size;
    const char *lf;

    while (data < end && (lf = memchr(data, '\n', (size_t)(end - data))) != NULL) {
        count->ended++;
        count->has_rest = 0;
        data = lf + 1;
    }
    if (data < end) {
        count->has_rest = 1;
    }
}

void aq_items_begin(aq_items_reader_t *reader)
{
    *reader = (aq_items_reader_t){.line = 1};
    aq_json_check_begin(&reader->check);
}

static aq_item_verdict_t verdict_of(const aq_items_reader_t *reader)
{
    static const aq_item_verdict_t verdicts[] = {
        [AQ_JSON_GOOD] = AQ_ITEM_GOOD, [AQ_JSON_BAD] = AQ_ITEM_NOT_JSON, [AQ_JSON_TOO_DEEP] = AQ_ITEM_TOO_DEEP};

    return reader->at - reader->begin > AQ_ITEMS_LINE_MAX_BYTES ? AQ_ITEM_TOO_LONG
                                                                : verdicts[aq_json_check_end(&reader->check)];
}

/* The next bytes of the line. Of one that is too long already nothing more is looked at. */
static void line_add(aq_items_reader_t *reader, const char *data, size_t size)
{
    if (reader->at - reader->begin <= AQ_ITEMS_LINE_MAX_BYTES) {
        aq_json_check_add(&reader->check, data, size);
    }
    reader->at += (int64_t)size;
}

/* The line that ends here; the next one begins `lf_bytes` further. */
static void line_end(aq_items_reader_t *reader, int lf_bytes, aq_item_t *item)
{
    *item = (aq_item_t){.line = reader->line,
                        .offset = reader->begin,
                        .bytes = reader->at - reader->begin,
                        .verdict = verdict_of(reader)};
    reader->at += lf_bytes;
    reader->begin = reader->at;
    reader->line++;
    aq_json_check_begin(&reader->check);
}

int aq_items_read(aq_items_reader_t *reader, const char *data, size_t size, size_t *used, aq_item_t *item)
{
    const char *lf = size > 0 ? memchr(data, '\n', size) : NULL;

    if (lf == NULL) {
        line_add(reader, data, size);
        *used = size;
        return 0;
    }
    line_add(reader, data, (size_t)(lf - data));
    line_end(reader, 1, item);
    *used = (size_t)(lf - data) + 1;
    return 1;
}

int aq_items_end(aq_items_reader_t *reader, aq_item_t *item)
{
    if (reader->at == reader->begin) {
        return 0;
    }
    line_end(reader, 0, item);
    return 1;
}

static const struct {
    const char *code, *detail;
} errors[] = {
    [AQ_ITEM_GOOD] = {NULL, NULL},
    [AQ_ITEM_NOT_JSON] = {"not-json", "the line is not one JSON value in UTF-8"},
    [AQ_ITEM_TOO_LONG] = {"line-too-long", "the line has more than 1048576 bytes"},
    [AQ_ITEM_TOO_DEEP] = {"too-deep", "arrays and objects lie in each other more than 512 levels deep"},
};

const char *aq_item_error_code(aq_item_verdict_t verdict)
{
    return errors[verdict].code;
}

const char *aq_item_error_detail(aq_item_verdict_t verdict)
{
    return errors[verdict].detail;
}
