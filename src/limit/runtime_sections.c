/* SPDX-License-Identifier: Apache-2.0 */
/* Sections as JSON: reading them. See runtime_sections.h. */
#include "limit/runtime_sections.h"

#include <apr_strings.h>
#include <string.h>

int aq_section_encloses(const char *outer, const char *path)
{
    const size_t size = strlen(outer);

    return strncmp(outer, path, size) == 0 &&
           (size == 0 || outer[size - 1] == '/' || path[size] == '/' || path[size] == '\0');
}

int aq_runtime_names_hold(const json_t *names, const char *name)
{
    const json_t *item;
    size_t i;

    json_array_foreach(names, i, item)
    {
        if (json_is_string(item) && strcmp(json_string_value(item), name) == 0) {
            return 1;
        }
    }
    return 0;
}

static apr_status_t section_read(apr_pool_t *p, const json_t *json, aq_runtime_section_t *section, const char **error)
{
    *section = (aq_runtime_section_t){
        .path = aq_json_string(json, "section"),
        .host = aq_json_string(json, "host"),
        .is_on = json_is_true(json_object_get(json, "is_on")),
        .finds_plans = json_is_true(json_object_get(json, "finds_plans")),
        .callers = json_object_get(json, "callers"),
        .own = json_object_get(json, "own"),
    };
    if (!section->path) {
        *error = "a section needs \"section\"";
        return APR_EGENERAL;
    }
    return aq_runtime_limits_read(p, json_object_get(json, "limits"), NULL, &section->limits, error);
}

apr_status_t aq_runtime_sections_read(apr_pool_t *p, const json_t *list, apr_array_header_t **sections,
                                      const char **error)
{
    const json_t *item;
    size_t i;

    *error = NULL;
    *sections = apr_array_make(p, 8, sizeof(aq_runtime_section_t));
    json_array_foreach(list, i, item)
    {
        aq_runtime_section_t section;
        apr_status_t rv = section_read(p, item, &section, error);

        if (rv != APR_SUCCESS) {
            *error = apr_psprintf(p, "sections[%d]: %s", (int)i, *error);
            return rv;
        }
        APR_ARRAY_PUSH(*sections, aq_runtime_section_t) = section;
    }
    return APR_SUCCESS;
}
