/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Principal: who a request is from. Made once when a keys file is loaded, then only read.
 */
#ifndef AQ_PRINCIPAL_H
#define AQ_PRINCIPAL_H

#include "limit/plan.h"

/*
 * Key ids, tenants and scopes are visible ASCII without spaces, `"` and `\`, 1 to 128 characters (RFC 6750's
 * scope-token): they stand in logs, headers and URLs as they are.
 */
#define AQ_PRINCIPAL_NAME_MAX 128

/* 1 when `name` is such a name. NULL is none. */
int aq_principal_name_is_valid(const char *name);

typedef struct {
    const char *key_id;  /* public, "k_7f3a9c" */
    const char *tenant;  /* "acme" */
    const char *plan;    /* "professional" */
    unsigned plan_tally; /* of the plan, see aq_plan_t */
    const char *const *scopes;
    unsigned scope_count;
    int is_disabled;
    int is_first_of_tenant;     /* of the keys of a set: each tenant with keys has one */
    aq_time_ms_t expires_at_ms; /* 0: never */
    apr_array_header_t *limits; /* of const aq_limit_t *: the plan's, with the tenant's and the key's overrides */
    aq_hash128_t subject[AQ_PER_COUNT]; /* by aq_per_t */
} aq_principal_t;

typedef enum {
    AQ_IDENTIFIED,
    AQ_KEY_MISSING,   /* none was presented */
    AQ_KEY_AMBIGUOUS, /* two were presented, or one header twice: 400 */
    AQ_KEY_UNKNOWN,
    AQ_KEY_DISABLED,
    AQ_KEY_EXPIRED,
    AQ_KEYS_AWAY /* it cannot be known now: 503 */
} aq_identified_t;

/* 1 when the principal holds the scope. */
int aq_principal_has_scope(const aq_principal_t *principal, const char *scope);

/*
 * Takes the credentials out of an Authorization value of scheme Bearer (RFC 6750; the scheme in any case, one or more
 * spaces; surrounding white space dropped). `*token` points into `value`, `*size` is its length. 0 where `value` is
 * NULL, of another scheme, or empty behind the scheme. Visible ASCII without commas only: anything else is not a key.
 */
int aq_bearer_token(const char *value, const char **token, size_t *size);

/* The same for a header that holds the bare key ("X-API-Key"): trimmed, visible ASCII, not empty. */
int aq_bare_token(const char *value, const char **token, size_t *size);

/*
 * 1 when the value of a header that is to hold one key holds a comma: httpd joins two headers of a name by it, so no
 * key may have one. Such a request is AQ_KEY_AMBIGUOUS. `value` may be NULL.
 */
int aq_token_is_joined(const char *value);

#endif
