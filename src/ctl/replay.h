/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay: lines of an access log, charged and settled as the server would have charged them, at the log's own times.
 *
 * Each line goes twice through the code of src/limit, with a counter store in memory: once with the limits as they are,
 * which tells what is refused, and once with the same limits without a bound, which tells how much room the request
 * needed (tally.h). Lines are put in order first (reorder.h). Memory grows with callers, limits and the requests of some
 * seconds, not with lines.
 *
 * A line belongs to the key that its user names, if the keys file has it; else, where there is a default plan, to its
 * user, or to its address where it has none, who is then key and tenant in one; else it is not identified. Limits that
 * need to know what a log does not tell are left out, and noted.
 */
#ifndef AQ_REPLAY_H
#define AQ_REPLAY_H

#include "ctl/log_format.h"
#include "ctl/tally.h"
#include "ctl/sections.h"
#include "identity/keyfile.h"
#include "limit/counter_store.h"

typedef struct {
    aq_counter_store_t *store; /* empty; plans and keys are identified for its secret */
    apr_hash_t *plans;         /* name -> aq_plan_t * */
    const aq_key_set_t *keys;  /* NULL: no keys file */
    aq_sections_t *sections;   /* what they say of limits; NULL: nothing */
    const char *default_plan;  /* whose plan others get; NULL: they are not identified */
    const int *free_statuses;
    int free_count;
} aq_replay_settings_t;

typedef struct {
    const char *name;
    aq_tally_t tally; /* a request is refused once, whichever limits refuse it */
} aq_replay_plan_t;

/* A limit with one rate of a plan, or of a section for those who have that plan: overrides have a row of their own. */
typedef struct {
    aq_replay_plan_t *plan;
    const aq_limit_t *limit;
    const aq_limit_t *unbounded; /* NULL where the algorithm has no count that a need could be told from */
    aq_tally_t tally;            /* refusals by this limit, alone or among others */
    aq_needs_t needs;
    int is_bound; /* what needs tell is enough, and less might be: requests cost more, or others share the counters */
    uint64_t subjects, subjects_refused;
} aq_replay_limit_t;

/* Who a limit's counter is for. Counter and limit together are what it is found by. */
typedef struct {
    aq_hash128_t key;
    aq_replay_limit_t *limit;
    const char *name;
    aq_tally_t tally;
} aq_replay_subject_t;

typedef struct {
    uint64_t replayed, unidentified, without_request, free_of_charge, late;
    aq_time_ms_t first_ms, last_ms; /* of the lines replayed; 0: none */
    apr_array_header_t *plans;      /* of aq_replay_plan_t *, in the order in which they came */
    apr_array_header_t *limits;     /* of aq_replay_limit_t * */
    apr_hash_t *subjects;           /* aq_replay_subject_t * */
    apr_array_header_t *unknown;    /* of const char *: the first users that were not identified */
    apr_array_header_t *notes;      /* of const char *: limits that were left out */
} aq_replay_result_t;

typedef struct aq_replay_t aq_replay_t;

/* In `p`; what the settings point to must live as long. APR_EGENERAL and `*error`: there is no such plan. */
apr_status_t aq_replay_create(apr_pool_t *p, const aq_replay_settings_t *settings, aq_replay_t **replay,
                              const char **error);

/* Replays a line; keeps nothing of its text. A failure of the store. Not thread-safe. */
apr_status_t aq_replay_line(aq_replay_t *replay, const aq_log_line_t *line);

/* Replays what still waits. Owned by the replay. */
apr_status_t aq_replay_finish(aq_replay_t *replay, const aq_replay_result_t **result);

#endif
