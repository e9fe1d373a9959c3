/* SPDX-License-Identifier: Apache-2.0 */
/* Access logs for `apiquotactl simulate`: the first line is a LogFormat, the others are lines of it. */
#include "ctl/log_format.h"
#include "fuzz/fuzz.h"

static void part_is_inside(const aq_log_text_t *part, const uint8_t *line, size_t size)
{
    if (part->size > 0) {
        const uint8_t *at = (const uint8_t *)part->at;

        FUZZ_HOLDS(at >= line && at + part->size <= line + size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    const char *text = fuzz_line(p, &data, &size);
    aq_log_format_t *format;
    aq_log_line_t line;
    const char *error;

    if (aq_log_format_parse(p, text, (int)(size % 3), &format, &error) != APR_SUCCESS) {
        FUZZ_HOLDS(error && *error);
        return 0;
    }
    if (!aq_log_line_parse(format, (const char *)data, size, &line)) {
        FUZZ_HOLDS(line.time_ms >= 0);
        part_is_inside(&line.user, data, size);
        part_is_inside(&line.address, data, size);
        part_is_inside(&line.target, data, size);
    }
    return 0;
}
