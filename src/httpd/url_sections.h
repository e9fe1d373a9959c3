/* SPDX-License-Identifier: Apache-2.0 */
/* <Location> sections as httpd keeps them: of each server in the order written, a virtual host's behind the main server's. */
#ifndef AQ_URL_SECTIONS_H
#define AQ_URL_SECTIONS_H

#include "httpd/config.h"

#include <http_core.h>

typedef ap_conf_vector_t aq_url_section_t;

/* Of aq_url_section_t *. Owned by httpd. */
static inline const apr_array_header_t *aq_url_sections_of(const server_rec *s)
{
    const core_server_config *core = ap_get_core_module_config(s->module_config);

    return core->sec_url;
}

static inline const core_dir_config *aq_url_section_core(aq_url_section_t *section)
{
    return ap_get_core_module_config(section);
}

/* NULL where the section says nothing of ours, or there is none. */
static inline aq_location_config_t *aq_url_section_ours(aq_url_section_t *section)
{
    return section ? ap_get_module_config(section, &apiquota_module) : NULL;
}

/* 1 where it has a path, and neither an expression nor a pattern. */
static inline int aq_url_section_is_plain(aq_url_section_t *section)
{
    return !aq_url_section_core(section)->r && !aq_url_section_core(section)->d_is_fnmatch;
}

#endif
