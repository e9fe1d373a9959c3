/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch headers: which headers of a request are kept with its batch, for the worker to send to the target.
 *
 * What a request is about is kept (its type, encoding and language, what its client accepts), and what the operator
 * named with APIQuotaBatchForward. Credentials are neither stored nor forwarded, whatever was named.
 */
#ifndef AQ_BATCH_HEADERS_H
#define AQ_BATCH_HEADERS_H

#include "httpd/config.h"

/*
 * The headers as JSON object text with lower-case names, in `p`. NULL where one of them is not valid UTF-8 (`*bad` then
 * is its name), or memory ran out (`*bad` is NULL).
 */
const char *aq_batch_headers_keep(apr_pool_t *p, const apr_table_t *headers, const aq_location_config_t *location,
                                  const char **bad);

/* `text` with all but visible ASCII as %XX, so that a raw path or query can be stored; NULL for NULL. */
const char *aq_batch_uri_escape(apr_pool_t *p, const char *text);

#endif
