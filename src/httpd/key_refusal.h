/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refusals of who is not known: 401 with WWW-Authenticate (RFC 6750), 400 where two keys were presented, 503 while keys
 * cannot be asked for, 403 where there is no way to log in. All of them are off the way of requests that are served.
 */
#ifndef AQ_KEY_REFUSAL_H
#define AQ_KEY_REFUSAL_H

#include "httpd/request.h"

/* Sets WWW-Authenticate for that reason, where a better key would help. */
void aq_key_challenge_set(request_rec *r, aq_identified_t why);

/* Refuses a key, or its absence, as httpd's authentication: also in a dry run. Returns the status. */
int aq_key_refuse(request_rec *r, aq_identified_t why);

/*
 * Refuses, by the quota (see aq_quota_refuse), a request whose caller nothing identified. Where keys are taken, the answer asks
 * for one; else for what the location's AuthType takes.
 */
int aq_unknown_refuse(request_rec *r, const aq_request_t *request);

#endif
