/* SPDX-License-Identifier: Apache-2.0 */
/* A body of NDJSON: split anywhere it has the same lines, their results are one line each, and progress of programs. */
#include "base/aq_json.h"
#include "batch/item_result.h"
#include "batch/items.h"
#include "fuzz/fuzz.h"
#include "worker/exec_lines.h"

#include <string.h>

typedef struct {
    int64_t lines, good, end;
} seen_t;

static void see(seen_t *seen, const aq_item_t *item)
{
    FUZZ_HOLDS(item->line == ++seen->lines && item->offset >= seen->end && item->bytes >= 0);
    seen->good += item->verdict == AQ_ITEM_GOOD;
    seen->end = item->offset + item->bytes;
    FUZZ_HOLDS((item->verdict == AQ_ITEM_GOOD) == (aq_item_error_code(item->verdict) == NULL));
}

/* In pieces of `piece` bytes. */
static seen_t read_all(const char *data, size_t size, size_t piece)
{
    aq_items_reader_t reader;
    seen_t seen = {0};
    aq_item_t item;
    size_t used;

    aq_items_begin(&reader);
    for (size_t at = 0; at < size;) {
        const size_t here = size - at < piece ? size - at : piece;

        if (aq_items_read(&reader, data + at, here, &used, &item)) {
            see(&seen, &item);
        } else {
            FUZZ_HOLDS(used == here);
        }
        FUZZ_HOLDS(used <= here);
        at += used;
    }
    if (aq_items_end(&reader, &item)) {
        see(&seen, &item);
    }
    return seen;
}

static void result_feed(apr_pool_t *p, const char *data, size_t size)
{
    const aq_item_result_t result = {.line = 7,
                                     .status = 201,
                                     .content_type = size % 2 ? "application/json" : "text/plain; charset=utf-8",
                                     .body = data,
                                     .body_bytes = size < AQ_ITEM_ANSWER_MAX_BYTES ? size : AQ_ITEM_ANSWER_MAX_BYTES};
    size_t text_size;
    const char *text = aq_item_result_text(p, &result, &text_size);

    FUZZ_HOLDS(text && !memchr(text, '\n', text_size));
    FUZZ_HOLDS(text[0] == '{' && text[text_size - 1] == '}' && text_size <= 6 * result.body_bytes + 512);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const char *data = (const char *)bytes;
    apr_pool_t *p = fuzz_pool();
    const seen_t whole = read_all(data, size, size + 1), pieces = read_all(data, size, 1 + size % 7);
    aq_items_count_t count = {0};
    aq_exec_lines_t lines = {0};

    FUZZ_HOLDS(whole.lines == pieces.lines && whole.good == pieces.good && whole.end == pieces.end);
    aq_items_count(&count, data, size);
    FUZZ_HOLDS(aq_items_total(&count) == whole.lines);
    result_feed(p, data, size);
    aq_exec_lines_add(&lines, data, size);
    FUZZ_HOLDS(lines.done >= 0 && lines.total >= 0 && lines.failed >= 0);
    return 0;
}
