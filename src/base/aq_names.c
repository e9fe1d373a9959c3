/* SPDX-License-Identifier: Apache-2.0 */
/* The names of a hash, in order. See aq_names.h. */
#include "base/aq_names.h"

#include <stdlib.h>
#include <string.h>

static int name_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

apr_array_header_t *aq_names_sorted(apr_pool_t *p, apr_hash_t *hash)
{
    apr_array_header_t *names = apr_array_make(p, (int)apr_hash_count(hash) + 1, sizeof(const char *));

    for (apr_hash_index_t *i = apr_hash_first(p, hash); i != NULL; i = apr_hash_next(i)) {
        APR_ARRAY_PUSH(names, const char *) = apr_hash_this_key(i);
    }
    qsort(names->elts, (size_t)names->nelts, sizeof(const char *), name_compare);
    return names;
}
