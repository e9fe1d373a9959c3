/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits and plans: what APIQuotaLimit and <APIQuotaPlan> say, as data.
 *
 * A limit is parsed once, at start-up, and then only read. A plan is a named, ordered list of limits. Overrides make a
 * copy of a limit with another count; its counters stay the same ones, since a counter's identity is the limit's name,
 * algorithm and period and the subject, never the plan nor the count: moving between plans refills nothing.
 */
#ifndef AQ_PLAN_H
#define AQ_PLAN_H

#include "base/aq_hash.h"
#include "limit/window.h"

#include <apr_hash.h>
#include <apr_tables.h>

/* The most limits that may apply to one request. */
#define AQ_LIMITS_MAX 16
#define AQ_LIMIT_NAME_MAX 32
#define AQ_CAPACITY_TEXT_SIZE 21
#define AQ_LIFE_ENDLESS 31

/* A life that is none of seconds: over when no request is running, see AQ_ALGORITHM_CONCURRENT. */
#define AQ_LIFE_MEMBERS 30

/* Who shares a counter. The subjects from AQ_PER_IP on are those that anyone can invent. */
typedef enum {
    AQ_PER_KEY,
    AQ_PER_TENANT,
    AQ_PER_ENDPOINT,        /* all who call the section that carries the limit */
    AQ_PER_TENANT_ENDPOINT, /* each tenant there */
    AQ_PER_IP,
    AQ_PER_USER, /* who httpd's own authentication says it is */
    AQ_PER_EXPR, /* what an expression says of the request */
    AQ_PER_COUNT
} aq_per_t;

/*
 * 1 where anyone can make up as many subjects as he likes, as with addresses. Such counters may fill only their part of
 * a store, so that keys and tenants always find a place. Users count as invented, since who may become one is not ours
 * to say. Endpoints do not: they are sections of the configuration.
 */
static inline int aq_per_is_invented(aq_per_t per)
{
    return per >= AQ_PER_IP;
}

/* 1 where a counter belongs to one tenant: its own, its keys', its use of an endpoint. */
static inline int aq_per_is_of_tenant(aq_per_t per)
{
    return per == AQ_PER_KEY || per == AQ_PER_TENANT || per == AQ_PER_TENANT_ENDPOINT;
}

/* How a limit shows in X-RateLimit-*. */
typedef enum {
    AQ_SHOWN_AUTO,    /* the first of a plan is primary unless one is marked */
    AQ_SHOWN_PRIMARY, /* unsuffixed trio */
    AQ_SHOWN_SUFFIX,  /* trio with `header_suffix` */
    AQ_SHOWN_LISTED,  /* in the IETF's lists alone: what a plan says nothing of, beside its primary */
    AQ_SHOWN_NONE
} aq_shown_t;

/* Whether a store of several machines may give them slices of the limit in advance. */
typedef enum {
    AQ_LIMIT_AS_STORE, /* as the store does with all */
    AQ_LIMIT_STRICT,   /* store=strict */
    AQ_LIMIT_LEASED    /* store=leased */
} aq_limit_mode_t;

typedef struct {
    const char *name;  /* lower-case letters, digits, "-", "_" */
    aq_rate_t rate;    /* what the policy says */
    uint64_t capacity; /* what a store holds it to, and clients see: rate.count; the size of a token bucket */
    char capacity_text[AQ_CAPACITY_TEXT_SIZE]; /* of a limit that was parsed: in decimal, for headers */
    char window_text[AQ_RATE_TEXT_SIZE]; /* for what time, as clients see it: rate.text; what a bucket takes to fill */
    aq_window_t window;
    aq_per_t per;
    aq_shown_t shown;
    aq_limit_mode_t mode;
    int is_early;              /* a guard by address: before authentication, and for every request */
    const char *expression;    /* with AQ_PER_EXPR, else NULL */
    const char *section;       /* that carries it, for AQ_PER_ENDPOINT; set by who reads it; NULL: a plan's */
    const char *header_suffix; /* "Daily" with AQ_SHOWN_SUFFIX, else NULL */
    const char *message;       /* for the body of a 429; NULL: none */
    unsigned tally;            /* where its refusals are counted, see aq_metrics.h; 0: not known. Copies keep it */
    /* Set by aq_limit_identify: */
    aq_hash128_t identity;
    unsigned traits; /* bits, see below */
    unsigned life; /* a counter is over 2^life seconds after its newest window began; or AQ_LIFE_ENDLESS or _MEMBERS */
} aq_limit_t;

/* What a request must know of all its limits, and most limits have not. */
#define AQ_LIMIT_IS_HELD 1U    /* counts what runs at once, so that a request gives it back at its end */
#define AQ_LIMIT_HAS_SUFFIX 2U /* shows in headers of its own */

/* 1 where a counter that has `used` has room for `cost`. A concurrent limit asks for one place, whatever the cost. */
static inline int aq_limit_admits(const aq_limit_t *limit, uint64_t used, uint32_t cost)
{
    return used + cost <= limit->capacity || limit->rate.is_unlimited ||
           (limit->window.algorithm == AQ_ALGORITHM_CONCURRENT && used < limit->capacity);
}

typedef struct {
    const char *name;
    apr_array_header_t *limits; /* of const aq_limit_t *, in the order written, with at most one AQ_SHOWN_PRIMARY */
    unsigned tally;             /* where its requests are counted, see aq_metrics.h; 0: nowhere */
} aq_plan_t;

/*
 * The words an option may take, for parser, messages and status page: "key", "tenant+endpoint" ("expr", which in the
 * option goes on with "=" and the expression); "fixed", "token-bucket".
 */
const char *aq_per_name(aq_per_t per);
const char *aq_algorithm_name(aq_algorithm_t algorithm);

/*
 * Parses NAME RATE [option=value …] as written behind APIQuotaLimit. `arguments` are `count` strings that the new limit
 * does not keep. `*limit` in `p`; or APR_EGENERAL and a sentence in `p` at `*error` that names the value and what is
 * allowed. `*error` is NULL on success.
 */
apr_status_t aq_limit_parse(apr_pool_t *p, const char *const *arguments, int count, aq_limit_t **limit,
                            const char **error);

/* Makes a limit ready for the store with that secret. */
void aq_limit_identify(aq_limit_t *limit, const aq_hash_secret_t *secret);

/* Who a counter is for, as a keyed hash: the kind and the name, so that tenant "a" and key "a" never meet. */
aq_hash128_t aq_subject_hash(const aq_hash_secret_t *secret, aq_per_t per, const char *name);

/*
 * The same for subjects of two parts, each as aq_subject_hash gives it: for AQ_PER_TENANT_ENDPOINT the tenant's and the
 * endpoint's. No two pairs meet, whatever the names hold.
 */
aq_hash128_t aq_subject_join(const aq_hash_secret_t *secret, aq_per_t per, const aq_hash128_t *first,
                             const aq_hash128_t *second);

/* A new empty plan. The name may hold letters, digits, ".", "-", "_", at most 64. APR_EGENERAL and `*error` else. */
apr_status_t aq_plan_create(apr_pool_t *p, const char *name, aq_plan_t **plan, const char **error);

/*
 * Why `limit` cannot stand beside `other` in one plan or section, a sentence in `p`; or NULL: they share the name, the suffix,
 * or both are primary.
 */
const char *aq_limit_clash(apr_pool_t *p, const aq_limit_t *limit, const aq_limit_t *other);

/* Appends; refuses a second limit of that name, a second primary, a suffix twice, and more than AQ_LIMITS_MAX. */
apr_status_t aq_plan_limit_add(apr_pool_t *p, aq_plan_t *plan, aq_limit_t *limit, const char **error);

/* Resolves AQ_SHOWN_AUTO when a plan is complete: the first becomes primary unless one is marked, the others listed. */
void aq_plan_seal(aq_plan_t *plan);

/* The limit of that name, or NULL. */
const aq_limit_t *aq_plan_limit_find(const aq_plan_t *plan, const char *name);

/*
 * The limits of `plan` with the counts of `overrides` (limit name -> rate text such as "20000/day" or "200/second
 * burst=400"; may be NULL), as a new array of const aq_limit_t * in `p`. An override of a limit that the plan has changes
 * its rate; the period must be the limit's unless it names another one, which then starts a counter of its own. The size
 * of a token bucket grows with its rate where no burst= is given. A name that the plan lacks adds a limit per key or per
 * tenant (`added_per`), not shown in headers. Apply tenant first, then key: call it twice by
 * passing the first result as `limits`. `secret` as for aq_limit_identify. APR_EGENERAL and `*error` for a bad rate.
 */
apr_status_t aq_limits_override(apr_pool_t *p, const apr_array_header_t *limits, apr_hash_t *overrides,
                                aq_per_t added_per, const aq_hash_secret_t *secret, apr_array_header_t **result,
                                const char **error);

/*
 * `limits` with each AQ_ANCHOR_TENANT replaced by `billing_day` (1 to 31): the same array where there is none, else a new
 * one in `p`. `secret` as for aq_limit_identify.
 */
apr_array_header_t *aq_limits_anchor(apr_pool_t *p, apr_array_header_t *limits, int billing_day,
                                     const aq_hash_secret_t *secret);

/*
 * The limits of two sections, one within the other, of aq_limit_t *: a limit of `inner` takes the place of the one of
 * its name in `outer`. Those of `inner` come last, so that a header that two of them show shows the inner one. Either may
 * be NULL; the result is one of them, or new in `p`.
 */
apr_array_header_t *aq_limits_merge(apr_pool_t *p, apr_array_header_t *outer, apr_array_header_t *inner);

/* Parses a whole number from 1 to AQ_RATE_COUNT_MAX, all of `text`. APR_EGENERAL else, `*cost` unchanged. Pure. */
apr_status_t aq_cost_parse(const char *text, int64_t *cost);

#endif
