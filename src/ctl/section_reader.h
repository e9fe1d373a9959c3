/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Section reader: which section a line of a configuration file stands in.
 *
 * Followed are <Location> sections with a path or a wildcard pattern, and the server's own level, of the main server
 * and of one virtual host: the first that says anything of ours, since a log need not tell hosts. <IfModule> and its like
 * are taken to hold; what stands in any other section cannot be told of the lines of a log.
 */
#ifndef AQ_SECTION_READER_H
#define AQ_SECTION_READER_H

#include "ctl/conf_lines.h"
#include "ctl/sections.h"

typedef struct aq_section_reader_t aq_section_reader_t;

/* In `p`. */
aq_section_reader_t *aq_section_reader_create(apr_pool_t *p);

/* To be told each line in its order: those that open or close a section are noted, all others passed over. */
void aq_section_reader_see(aq_section_reader_t *reader, const aq_conf_line_t *line);

/* The section that is open, for a directive of ours. NULL, and `*why` (in the pool) where it is none to be followed. */
aq_section_t *aq_section_reader_here(aq_section_reader_t *reader, const char **why);

/* The sections that were asked for, in the order in which httpd merges them; of the server's levels only those with something in them. */
apr_array_header_t *aq_section_reader_list(const aq_section_reader_t *reader);

#endif
