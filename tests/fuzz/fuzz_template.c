/* SPDX-License-Identifier: Apache-2.0 */
/* A template of an error body: the first line is a value, the rest the document. What is filled in is valid JSON. */
#include "base/aq_json.h"
#include "base/aq_template.h"
#include "fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    const aq_template_value_t values[] = {
        {.name = "detail", .kind = AQ_TEMPLATE_TEXT, .text = fuzz_line(p, &data, &size)},
        {.name = "limit", .kind = AQ_TEMPLATE_NUMBER, .number = INT64_MIN + (int64_t)size},
        {.name = "tenant", .kind = AQ_TEMPLATE_NONE},
    };
    const char *document = fuzz_text(p, data, size);
    const aq_template_t *template;
    const char *error, *text;
    json_t *json;

    (void)aq_template_text(p, document, values, 3);
    if (aq_template_parse(p, "429.json", document, values, 3, &template, &error) != APR_SUCCESS) {
        FUZZ_HOLDS(error && *error && !template);
        return 0;
    }
    text = aq_template_render(p, template, values, 3);
    FUZZ_HOLDS(text);
    json = json_loads(text, 0, NULL);
    FUZZ_HOLDS(json_is_object(json));
    json_decref(json);
    return 0;
}
