/* SPDX-License-Identifier: Apache-2.0 */
/* Which headers are kept with a batch. See batch_headers.h. */
#include "httpd/batch_headers.h"

#include "base/aq_json.h"
#include "httpd/batch_directives.h"

#include <apr_strings.h>
#include <string.h>

static const char *const kept[] = {"Content-Type", "Content-Encoding", "Content-Language",
                                   "Accept",       "Accept-Language",  "User-Agent"};

/* The header that this location takes keys from, also where it says so itself in APIQuotaBatchForward. */
static int is_key_header(const aq_location_config_t *location, const char *name)
{
    if (!location->key_from) {
        return ap_cstr_casecmp(name, "X-API-Key") == 0;
    }
    for (int i = 0; i < location->key_from->nelts; i++) {
        if (ap_cstr_casecmp(name, APR_ARRAY_IDX(location->key_from, i, aq_key_source_t).header) == 0) {
            return 1;
        }
    }
    return 0;
}

/* 0 where the value cannot be stored. A header that is not there is stored as nothing. */
static int header_add(apr_pool_t *p, json_t *json, const apr_table_t *headers, const char *name)
{
    const char *value = apr_table_get(headers, name);
    char *lower;

    if (!value) {
        return 1;
    }
    lower = apr_pstrdup(p, name);
    ap_str_tolower(lower);
    return json_object_set_new(json, lower, json_string(value)) == 0;
}

const char *aq_batch_headers_keep(apr_pool_t *p, const apr_table_t *headers, const aq_location_config_t *location,
                                  const char **bad)
{
    json_t *json = json_object();
    const char *text = NULL;

    *bad = NULL;
    for (size_t i = 0; json && !*bad && i < sizeof kept / sizeof kept[0]; i++) {
        *bad = header_add(p, json, headers, kept[i]) ? NULL : kept[i];
    }
    for (int i = 0; json && !*bad && location->batch.forward && i < location->batch.forward->nelts; i++) {
        const char *name = APR_ARRAY_IDX(location->batch.forward, i, const char *);
        if (!is_key_header(location, name) && !aq_batch_header_is_private(name)) {
            *bad = header_add(p, json, headers, name) ? NULL : name;
        }
    }
    if (json && !*bad) {
        text = aq_json_text(p, json);
    }
    json_decref(json);
    return text;
}

const char *aq_batch_uri_escape(apr_pool_t *p, const char *text)
{
    static const char HEX[] = "0123456789ABCDEF";
    char *escaped, *out;

    if (!text) {
        return NULL;
    }
    escaped = out = apr_palloc(p, 3 * strlen(text) + 1);
    for (const unsigned char *in = (const unsigned char *)text; *in; in++) {
        if (*in > ' ' && *in < 0x7f) {
            *out++ = (char)*in;
        } else {
            *out++ = '%';
            *out++ = HEX[*in >> 4];
            *out++ = HEX[*in & 15];
        }
    }
    *out = '\0';
    return escaped;
}
