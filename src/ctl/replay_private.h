/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind replay.h share; for them alone. */
#ifndef AQ_REPLAY_PRIVATE_H
#define AQ_REPLAY_PRIVATE_H

#include "ctl/reorder.h"
#include "ctl/replay.h"
#include "limit/charge.h"

/* Where the name that a limit counts by comes from. */
typedef enum {
    AQ_FROM_KEY,
    AQ_FROM_TENANT,
    AQ_FROM_ADDRESS,
    AQ_FROM_ENDPOINT,
    AQ_FROM_TENANT_ENDPOINT,
    AQ_FROM_NOWHERE
} aq_replay_from_t;

/* The limits of a plan with its overrides and of sections: the same for all callers who have the same ones there. */
typedef struct {
    aq_replay_plan_t *plan;
    unsigned count;
    struct {
        aq_replay_limit_t *limit;
        aq_replay_from_t from;
    } rows[AQ_LIMITS_MAX];
} aq_replay_limits_t;

/* A caller under the same sections. */
typedef struct aq_caller_t {
    const aq_replay_limits_t *limits;
    const char *key, *tenant, *plan;
    apr_array_header_t *own;         /* of aq_limit_t *: the plan's, with overrides */
    const aq_section_set_t *under;   /* NULL: no section */
    struct aq_caller_t *next;        /* the same caller under others */
    aq_replay_subject_t *subjects[]; /* by limit; NULL: it counts by address, which is the line's */
} aq_caller_t;

typedef struct {
    const char *name;
    aq_caller_t *caller; /* of lines without a user; NULL: there was none yet */
} aq_replay_address_t;

struct aq_replay_t {
    apr_pool_t *p;
    aq_replay_settings_t settings;
    aq_charge_t *charge, *needs_charge;
    aq_reorder_t *reorder;
    aq_replay_result_t result;
    apr_hash_t *principals; /* const aq_principal_t * by key id */
    apr_hash_t *users;      /* aq_caller_t * by user */
    apr_hash_t *addresses;  /* aq_replay_address_t * by name */
    apr_hash_t *limit_sets; /* aq_replay_limits_t * by the plan's array of limits, and sections */
    apr_hash_t *limits;     /* aq_replay_limit_t * by plan, name, rate and what else tells them apart */
    int is_by_address;      /* a limit counts by address */
    int is_without_target;  /* that some lines have no path was noted */
};

/* Makes the tables of a new replay. */
void aq_replay_callers_prepare(aq_replay_t *replay);

/*
 * What counts for those of a plan who have these limits of their own, under these sections (NULL: none). Made once for
 * each pair.
 */
const aq_replay_limits_t *aq_replay_limits_of(aq_replay_t *replay, const char *plan, apr_array_header_t *own,
                                              const aq_section_set_t *under);

/* Notes once for the answer what is left out. `text` is kept. */
void aq_replay_note(aq_replay_t *replay, const char *text);

/* Who is charged for a line, NULL where nobody is known; `*address` only where it matters. */
aq_caller_t *aq_replay_caller_find(aq_replay_t *replay, const aq_log_line_t *line, void **address);

/* The subjects to be charged; how many. `address` may be NULL. */
unsigned aq_replay_subjects_of(aq_replay_t *replay, const aq_caller_t *caller, const aq_replay_address_t *address,
                               aq_replay_subject_t *subjects[AQ_LIMITS_MAX]);

#endif
