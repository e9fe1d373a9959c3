/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plan file: what an httpd configuration file says of plans, read without httpd.
 *
 * So that limits can be tried before a server has them. Understood are comments, continued lines, quotes, Define and
 * ${NAME}, Include and IncludeOptional (also of a folder or a pattern), <APIQuotaPlan> with its APIQuotaLimit lines,
 * APIQuotaLimit and APIQuotaCost of sections (section_reader.h tells of which), APIQuotaKeyFile, APIQuotaFree,
 * APIQuotaDefaultPlan; all other directives are passed over, and conditional sections (<IfModule>, <IfDefine>) are taken
 * to hold. Limits go through aq_limit_parse, as the server's do.
 */
#ifndef AQ_PLAN_FILE_H
#define AQ_PLAN_FILE_H

#include "ctl/sections.h"

#define AQ_PLAN_FILE_FREE_MAX 8

typedef struct {
    apr_hash_t *plans;        /* name -> aq_plan_t *, sealed and identified */
    aq_sections_t *sections;  /* NULL: none says anything of ours */
    const char *key_file;     /* APIQuotaKeyFile; NULL: none */
    const char *default_plan; /* APIQuotaDefaultPlan; NULL: none */
    int free_statuses[AQ_PLAN_FILE_FREE_MAX];
    int free_count;
    apr_array_header_t *notes; /* of const char *: what the file says and is not followed, with its place */
} aq_plan_file_t;

/*
 * Reads the file at `path` into `p`, its limits identified for `secret`. APR_SUCCESS, or a status and a sentence in `p`
 * at `*error` with file and line; `*file` is then NULL.
 */
apr_status_t aq_plan_file_read(apr_pool_t *p, const char *path, const aq_hash_secret_t *secret, aq_plan_file_t **file,
                               const char **error);

#endif
