/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of a hash, in order. The order of an apr_hash_t changes from process to process, as its seed does: what a
 * person or a file sees of it goes through here, so that one configuration always says the same.
 */
#ifndef AQ_NAMES_H
#define AQ_NAMES_H

#include <apr_hash.h>
#include <apr_tables.h>

/* The keys of `hash`, which are texts, by strcmp; an array of const char * in `p` that points to them. */
apr_array_header_t *aq_names_sorted(apr_pool_t *p, apr_hash_t *hash);

#endif
