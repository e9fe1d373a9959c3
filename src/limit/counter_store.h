/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counter store: where counters live. A struct of functions, with thin wrappers that hide it.
 *
 * The verb is take, not get and set. A store is given all counters of a request, the costs and the moment, and is
 * all-or-nothing: it looks at all, then takes one by one in one canonical order, and gives back what it took if one
 * fails after all. So the sum never passes a limit, whoever races; three requests racing for the last places may,
 * rarely, all be refused.
 *
 * Every store passes tests/contract/test_counter_store.c. All functions are thread-safe and may be called from forked
 * children of the process that opened the store, unless said otherwise.
 */
#ifndef AQ_COUNTER_STORE_H
#define AQ_COUNTER_STORE_H

#include "limit/plan.h"

#define AQ_STORE_ID_SIZE 33

/* Where a charge went, so that it can be given back to the right window of the right counter. */
typedef struct {
    uint64_t slot; /* the store's own */
    uint64_t word; /* as it was just after: its upper half is the window's start, see window.h */
    uint32_t cost; /* 0: nothing was taken */
    uint8_t index; /* which word */
} aq_receipt_t;

/* One counter of a charge: what the caller asks, what the store answers. */
typedef struct {
    /* asked */
    const aq_limit_t *limit;
    aq_hash128_t key; /* aq_hash_join(limit->identity, subject) */
    /*
     * Counters of one home can be charged in one step where a store lies on several machines: the tenant's hash for limits
     * of a tenant and of its keys. NULL: the subject's own. Looked at by stores with has_homes; callers of others may leave
     * it unset.
     */
    const aq_hash128_t *home;
    /* answered by take, look and give_back */
    uint64_t used;           /* after the call */
    uint64_t remaining;      /* capacity - used, never negative; meaningless for unlimited */
    aq_time_ms_t fits_at_ms; /* denied: when this cost will fit. remaining == 0: when 1 will. Else now */
    aq_time_ms_t
        reset_at_ms; /* X-RateLimit-Reset: fits_at_ms, or the window's end; AQ_TIME_NEVER for total and concurrent */
    int is_denied;
    aq_receipt_t receipt;
} aq_counter_t;

typedef struct {
    uint64_t slots;     /* counters the table can hold; 0: no bound */
    uint64_t live;      /* counters that still matter */
    uint64_t dead;      /* counters whose windows are over, to be reused */
    uint64_t overflows; /* takes that found no place, since the store was created */
    uint64_t size_bytes;
    char path[256]; /* "" where the store has no file */
    char id[40];    /* identity of the store's content, hex */
} aq_counter_store_info_t;

typedef struct aq_counter_store_t aq_counter_store_t;

typedef struct {
    const char *name;      /* "shm", "memory" */
    int counts_its_errors; /* 1: it calls aq_store_error_count itself, with what it knows of a failure */
    int is_remote;         /* 1: asking it takes long enough that each time can be measured */
    apr_status_t (*take)(aq_counter_store_t *store, aq_counter_t *counters, unsigned count, uint32_t cost,
                         aq_time_ms_t now_ms, int *is_denied);
    apr_status_t (*give_back)(aq_counter_store_t *store, aq_counter_t *counters, unsigned count, aq_time_ms_t now_ms);
    apr_status_t (*look)(aq_counter_store_t *store, aq_counter_t *counters, unsigned count, aq_time_ms_t now_ms);
    apr_status_t (*info)(aq_counter_store_t *store, aq_time_ms_t now_ms, aq_counter_store_info_t *info);
    /* May be NULL: */
    apr_status_t (*reset)(aq_counter_store_t *store, aq_counter_t *counters, unsigned count, aq_time_ms_t now_ms);
    apr_status_t (*words)(aq_counter_store_t *store, const aq_counter_t *counter, uint64_t words[AQ_WINDOW_WORDS]);
    apr_status_t (*verify)(aq_counter_store_t *store, aq_time_ms_t now_ms, apr_array_header_t *findings);
} aq_counter_store_ops_t;

/* A store begins with this; the implementation's own fields follow. */
struct aq_counter_store_t {
    const aq_counter_store_ops_t *ops;
    aq_hash_secret_t secret; /* of this store's content: hashes made with it are good for this store alone */
    int has_homes;           /* 1: the store looks at aq_counter_t.home */
    /*
     * The clock, for the one case in which a store must know whether a moment it was given is still the present: it has
     * found counts of a future more than a window away, and either the clock stepped back or the caller slept. NULL (as
     * a new store has it): the caller never sleeps.
     */
    aq_time_ms_t (*clock)(void);
};

/*
 * Takes `cost` (>= 1) from all counters, or from none. `*is_denied` tells which; denied ones have is_denied set, and the
 * answered fields of all are filled either way. Unlimited limits are counted and never deny. At most AQ_LIMITS_MAX
 * counters; no two may have the same key. APR_SUCCESS, or the store's failure (nothing is then taken): APR_ENOSPC where
 * a new counter found no place.
 */
static inline apr_status_t aq_counter_store_take(aq_counter_store_t *store, aq_counter_t *counters, unsigned count,
                                                 uint32_t cost, aq_time_ms_t now_ms, int *is_denied)
{
    return store->ops->take(store, counters, count, cost, now_ms, is_denied);
}

/*
 * Gives back what the receipts say, to the windows they name, never below zero, never into another window; then fills
 * the answered fields anew and clears the receipts, so that a second call gives nothing.
 */
static inline apr_status_t aq_counter_store_give_back(aq_counter_store_t *store, aq_counter_t *counters, unsigned count,
                                                      aq_time_ms_t now_ms)
{
    return store->ops->give_back(store, counters, count, now_ms);
}

/* Fills the answered fields and changes nothing, creates nothing. */
static inline apr_status_t aq_counter_store_look(aq_counter_store_t *store, aq_counter_t *counters, unsigned count,
                                                 aq_time_ms_t now_ms)
{
    return store->ops->look(store, counters, count, now_ms);
}

/*
 * Has the counters begin anew, as if nothing had been used, and fills the answered fields. What runs at this moment stays
 * in its concurrent limits. Requests in flight may be given back later to what is empty then, and stay so. Counters that
 * are not there stay away. APR_ENOTIMPL where the store, or the way it was opened, knows no such thing.
 */
static inline apr_status_t aq_counter_store_reset(aq_counter_store_t *store, aq_counter_t *counters, unsigned count,
                                                  aq_time_ms_t now_ms)
{
    return store->ops->reset ? store->ops->reset(store, counters, count, now_ms) : APR_ENOTIMPL;
}

/* Counts the table: slow (walks it), for people. */
static inline apr_status_t aq_counter_store_info(aq_counter_store_t *store, aq_time_ms_t now_ms,
                                                 aq_counter_store_info_t *info)
{
    return store->ops->info(store, now_ms, info);
}

/*
 * The words of a counter as they are, see window.h; zero where it is not there. Not for concurrent limits, nor for subjects
 * that anyone can invent. APR_ENOTIMPL where the store has no such words.
 */
static inline apr_status_t aq_counter_store_words(aq_counter_store_t *store, const aq_counter_t *counter,
                                                  uint64_t words[AQ_WINDOW_WORDS])
{
    return store->ops->words ? store->ops->words(store, counter, words) : APR_ENOTIMPL;
}

/*
 * Looks whether all that is in the store makes sense, and adds a sentence for each thing that does not to `findings` (of
 * const char *, in its pool; 100 at most). Changes nothing. Slow, for people. APR_ENOTIMPL where the store has no such
 * thing.
 */
static inline apr_status_t aq_counter_store_verify(aq_counter_store_t *store, aq_time_ms_t now_ms,
                                                   apr_array_header_t *findings)
{
    return store->ops->verify ? store->ops->verify(store, now_ms, findings) : APR_ENOTIMPL;
}

/*
 * Writes 32 hex digits that stand for the store's content: made from its secret, which they do not betray. Two openings
 * of one file show the same, a file made anew shows another.
 */
void aq_counter_store_id_write(const aq_counter_store_t *store, char id[AQ_STORE_ID_SIZE]);

/*
 * Fills remaining, fits_at_ms, reset_at_ms of one counter from its words: the one place where this stands, for all
 * stores. `denied_cost` > 0: the charge of that cost was denied.
 */
void aq_counter_answer(aq_counter_t *counter, const uint64_t words[AQ_WINDOW_WORDS], const aq_window_look_t *look,
                       uint32_t denied_cost);

#endif
