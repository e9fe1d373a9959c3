/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subjects: for whom a limit counts a request, where it is neither the key nor its tenant.
 *
 *     per=ip                the client's address as httpd (and mod_remoteip) knows it; IPv6 by its network
 *     per=user              the authenticated user, or else the principal itself
 *     per=endpoint          the section that carries the limit, in the virtual host of the request; never the URI
 *     per=tenant+endpoint   both
 *     per=expr=…            the expression's value, also where it is empty
 *
 * Each is made when a limit first asks for it; address and user once a request.
 */
#ifndef AQ_SUBJECT_H
#define AQ_SUBJECT_H

#include "httpd/request.h"

/* What one request has made already. */
typedef struct aq_subjects_t aq_subjects_t;

/* The subject of `limit`, for the request's principal (NULL in the early phase). Never NULL; in the request's pool. */
const aq_hash128_t *aq_subject_find(request_rec *r, aq_request_t *request, const aq_location_config_t *location,
                                    const aq_limit_t *limit);

#endif
