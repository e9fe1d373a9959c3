/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answer: which headers of a target's answer are kept for replay, and which headers of a request are never sent on.
 *
 * Pure. Kept is what describes the content. Not kept is what speaks of a connection, of a session, of limits or of how
 * to deliver, since the replay is another exchange with another server.
 */
#ifndef AQ_ANSWER_H
#define AQ_ANSWER_H

#include <apr_tables.h>

/* All headers of an answer together, as they are received; what comes later is dropped. */
#define AQ_ANSWER_HEADERS_MAX_BYTES 65536

/*
 * The headers that are kept, as JSON object text in `p`, names in lower case; several of one name are joined by ", ".
 * NULL when memory ran out.
 */
const char *aq_answer_headers_json(apr_pool_t *p, const apr_table_t *headers);

/* The Content-Type of an answer; NULL where there is none, or one that neither a header nor JSON can hold. */
const char *aq_answer_content_type(const apr_table_t *headers);

/* 1 for a request header that the worker sets itself, or that must not pass: hop-by-hop, credentials, `apiquota-…`. */
int aq_answer_is_reserved(const char *request_header);

#endif
