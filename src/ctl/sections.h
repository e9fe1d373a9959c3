/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sections: what <Location> sections say of limits, and which of them a request of a log falls under.
 *
 * A path is matched as httpd matches it: query and fragment cut, %XX decoded (but %2F, which httpd does not take for a
 * slash), "//", "/./" and "/../" resolved; "/v1" holds for "/v1" and "/v1/x", not for "/v1x", "/v1/" only for what is
 * below it, "/v?" and "/v*" are patterns in which "*" takes no slash. Sections are merged in the order in which they
 * stand: a limit takes the place of the one of its name in the sections before.
 */
#ifndef AQ_SECTIONS_H
#define AQ_SECTIONS_H

#include "limit/plan.h"

#define AQ_SECTIONS_MAX 64

typedef struct {
    const char *path;           /* as written; "": the server's own level, which holds for all */
    apr_array_header_t *limits; /* of const aq_limit_t *, in the order written; NULL: none */
    uint32_t cost;              /* APIQuotaCost; 0: not set */
} aq_section_t;

/* The sections that hold for a request, merged: the same for all requests under the same ones. */
typedef struct {
    const char *name;           /* the path of the last one: what limits by endpoint of a plan count by */
    apr_array_header_t *limits; /* of const aq_limit_t *; NULL: none */
    uint32_t cost;              /* 0: not set */
} aq_section_set_t;

typedef struct aq_sections_t aq_sections_t;

/*
 * Of an array of aq_section_t *, at most AQ_SECTIONS_MAX, in the order in which httpd merges them; in `p`, with the array
 * kept. NULL where there are none.
 */
aq_sections_t *aq_sections_create(apr_pool_t *p, const apr_array_header_t *list);

/*
 * What holds for a request's target as the request line has it ("/v1/x?y=1", "http://host/v1/x", "*"). NULL: no section
 * does. Owned by `sections`, and the same pointer for the same sections. Not thread-safe.
 */
const aq_section_set_t *aq_sections_find(aq_sections_t *sections, const char *target, size_t size);

#endif
