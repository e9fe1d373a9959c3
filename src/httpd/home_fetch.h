/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Home fetch: a result that lies on another machine, its home, is asked for there and passed on.
 *
 * home_fetch.c asks: mod_proxy_http does the transfer, so that a body streams, and ranges and conditions go through. Of the
 * client's headers only those that it needs for that are sent, and the signature. home_handler.c answers, for the handler
 * apiquota-home: it believes the signature alone (home_signature.h), and charges nobody. Whether the client may see the batch
 * was decided by the machine that asks.
 */
#ifndef AQ_HOME_FETCH_H
#define AQ_HOME_FETCH_H

#include "batch/batch.h"

#include <httpd.h>

#define AQ_HOME_HEADER "APIQuota-Home"

/* While hooks are registered. */
void aq_home_fetch_register(void);

/* 1 where the modules are loaded that a fetch needs. */
int aq_home_can_fetch(void);

/*
 * Fetches the result of `batch`, which is elsewhere, and sends it. OK where that was done; DECLINED where home gives nothing
 * or cannot be reached, and nothing was sent; HTTP_GONE where home no longer has it; else the status of a refusal.
 */
int aq_home_fetch(request_rec *r, const aq_batch_t *batch);

/* Answers a GET or HEAD for the handler apiquota-home: the result of the batch that the URL ends with. */
int aq_home_answer(request_rec *r);

#endif
