/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conf lines: the directives of an httpd configuration file, one by one, as httpd would see them: without comments,
 * continued lines joined, ${NAME} replaced (by Define, else from the environment), files that are included in their
 * place (relative to ServerRoot, or where there is none to the folder of the first file).
 */
#ifndef AQ_CONF_LINES_H
#define AQ_CONF_LINES_H

#include <apr_pools.h>

typedef struct {
    const char *name;             /* "APIQuotaLimit", "<APIQuotaPlan", "</APIQuotaPlan>" */
    const char *arguments;        /* what stands behind it, without white space around; "" for none */
    const char *place;            /* "apache2.conf:12", where the line begins */
    const char *root;             /* ServerRoot, or what stands in for it */
    const char *unknown_variable; /* the first ${NAME} in it that could not be replaced; NULL: none */
} aq_conf_line_t;

/* What is done with a line: NULL, or a sentence that ends the reading. */
typedef const char *aq_conf_line_fn(void *data, const aq_conf_line_t *line);

/*
 * Reads the file at `path` and what it includes. APR_SUCCESS; or a status and a sentence in `p` with the place at
 * `*error`, which is NULL else.
 */
apr_status_t aq_conf_lines_read(apr_pool_t *p, const char *path, aq_conf_line_fn *each, void *data, const char **error);

/* A path of that line as httpd takes it: relative to `line->root`. In `p`. */
const char *aq_conf_path(apr_pool_t *p, const aq_conf_line_t *line, const char *path);

#endif
