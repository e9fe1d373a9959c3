/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batch handler: what its files share. batch_handler.c decides whether a request is ours, batch_upload.c takes a batch,
 * batch_status.c finds the batch that a URL names, shows, cancels and deletes it, batch_list.c lists them, batch_result.c
 * replays the answer of a target.
 */
#ifndef AQ_BATCH_HANDLER_H
#define AQ_BATCH_HANDLER_H

#include "httpd/batch_runtime.h"
#include "httpd/request.h"

/* Seconds until a client should try again what a busy or broken queue or spool refused. */
#define AQ_BATCH_RETRY_AFTER_S 5

#define AQ_BATCH_RESPOND_ASYNC "respond-async"

/* 1 where the client says Prefer: respond-async (RFC 7240). */
int aq_batch_prefers_async(const request_rec *r);

/* 1 where the request is an upload, and this location makes a batch of it. */
int aq_batch_is_taken(request_rec *r, const aq_location_config_t *location);

/*
 * batch_upload.c: takes the request as a batch of `principal`. OK once it is on disk, DECLINED where no section that takes
 * batches is in force, else the status of a refusal.
 */
int aq_batch_upload(request_rec *r, const aq_location_config_t *location, const aq_principal_t *principal);

/*
 * batch_status.c: answers OPTIONS below the status URL, with what may be asked there, whoever asks: a browser asks before it
 * sends a key. OK, or the status of a refusal.
 */
int aq_batch_status_options(request_rec *r, const aq_location_config_t *location);

/* batch_status.c: answers a request below the status URL. OK, or the status of a refusal. */
int aq_batch_status(request_rec *r, const aq_location_config_t *location, const aq_principal_t *principal);

/* batch_result.c: the answer of the target, for a batch that its owner asks for. OK, or the status of a refusal. */
int aq_batch_result(request_rec *r, const aq_batch_t *batch);

/* batch_list.c: a page of the tenant's batches. OK, or the status of a refusal. */
int aq_batch_list(request_rec *r, const aq_principal_t *principal, const char *base_url);

/* The batch as text in r->pool. NULL when memory ran out. */
const char *aq_batch_text(request_rec *r, const aq_batch_t *batch, const char *base_url);

/* Sends the text as application/json with the status that r->status holds. Returns OK. */
int aq_batch_text_send(request_rec *r, const char *text);

/* 503: queue or spool cannot be used now. What was wrong has been logged. */
int aq_batch_refuse_unavailable(request_rec *r, const char *detail);

#endif
