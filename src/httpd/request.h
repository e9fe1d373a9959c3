/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request state: what we know of one request of a client, kept on its initial request.
 *
 * httpd runs one request of a client as several request_recs: subrequests (r->main), internal redirects and
 * ErrorDocuments (r->prev). All share the state of the initial one, so a request is identified and charged once.
 */
#ifndef AQ_REQUEST_H
#define AQ_REQUEST_H

#include "httpd/config.h"
#include "httpd/problem.h"

typedef struct {
    apr_pool_t *pool;                     /* of the initial request */
    const aq_location_config_t *location; /* the one that charged; NULL until then */
    const aq_key_set_t *key_set;          /* held until the request's pool is cleared */
    const aq_principal_t *principal;      /* NULL: not identified */
    aq_identified_t identified;
    int is_identified;                /* the look-up was made, whatever came of it */
    int identify_status;              /* the refusal of a caller without a key; OK */
    const char *vary;                 /* the header that had the key, where shared caches do not know it; else NULL */
    unsigned is_by_key : 1;           /* `principal` presented a key */
    unsigned is_exempt : 1;           /* not counted, by what its last phase with us found */
    unsigned is_dry_limited : 1;      /* a dry run let pass what would have been refused */
    unsigned has_store_failed : 1;    /* not counted, since the store could not be asked */
    int is_upload_doubted;            /* the connection ends with the answer, unless authorisation is passed */
    aq_charge_t *charge;              /* NULL: not charged */
    aq_charge_t *early;               /* of limits of phase=early; NULL: none */
    struct aq_subjects_t *subjects;   /* what was made already; NULL: nothing */
    unsigned counted;                 /* the row of the metrics that counts it; 0: not yet, or nothing was decided */
    int status_to_return;             /* what the charge decided: OK, or 429 or 503, for later phases to repeat */
    aq_problem_t *problem;            /* what our own refusal says; NULL: httpd's own error */
    int problem_status;               /* the status whose body is ours; 0: none */
    const char *problem_content_type; /* of that body */
    struct aq_deadline_t *deadline;   /* NULL: none, or its handler has not begun */
    aq_time_ms_t now_ms;              /* of the request's first phase with us */
} aq_request_t;

/* The initial request of a subrequest or internal redirect. */
static inline request_rec *aq_request_initial(request_rec *r)
{
    while (r->main || r->prev) {
        r = r->main ? r->main : r->prev;
    }
    return r;
}

/* The state that lies on this very request, which then is an initial one; NULL: not there. */
static inline aq_request_t *aq_request_own(const request_rec *r)
{
    return (aq_request_t *)ap_get_module_config(r->request_config, &apiquota_module);
}

/* The state, or NULL where no phase of ours has made one. */
static inline aq_request_t *aq_request_find(request_rec *r)
{
    return aq_request_own(aq_request_initial(r));
}

/* The state, made where there is none. */
aq_request_t *aq_request_state(request_rec *r);

/* Who asks; NULL where nobody was identified. */
const aq_principal_t *aq_request_principal(request_rec *r);

/*
 * The charge that a limit denied, its `refusing` says which; NULL: none. In a dry run too.
 */
static inline const aq_charge_t *aq_request_refusing(const aq_request_t *request)
{
    if (request->charge && request->charge->state == AQ_CHARGE_DENIED) {
        return request->charge;
    }
    return request->early && request->early->state == AQ_CHARGE_DENIED ? request->early : NULL;
}

/* 1 where the client is told nothing of what we know: the request is exempt, or was tried in a dry run. */
static inline int aq_request_is_silent(const aq_request_t *request)
{
    return request->is_exempt || (request->location && request->location->quota == AQ_QUOTA_DRY_RUN);
}

/* A cleanup of pools, for aq_request_key_set alone. */
apr_status_t aq_request_key_set_drop(void *set);

/* Holds `set` until the request's pool is cleared; NULL is none. */
void aq_request_key_set_keep(const aq_request_t *request, const aq_key_set_t *set);

/* The current key set of the keys file, held until the request's pool is cleared; NULL where there is none. */
static inline const aq_key_set_t *aq_request_key_set(request_rec *r, aq_request_t *request)
{
    const aq_runtime_t *runtime = aq_config_server(r->server)->runtime;

    if (!request->key_set && runtime && runtime->keys) {
        request->key_set = aq_keys_acquire(runtime->keys);
        if (request->key_set) {
            apr_pool_cleanup_register(request->pool, request->key_set, aq_request_key_set_drop, apr_pool_cleanup_null);
        }
    }
    return request->key_set;
}

/* The client's address as callers are told apart (subject.c). In the request's pool. */
const char *aq_request_address(request_rec *r);

/* The id of a request, for bodies and logs: X-Request-Id of the client if it is sane, else mod_unique_id's, else "". */
const char *aq_request_id(request_rec *r);

#endif
