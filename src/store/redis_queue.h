/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redis queue: job rows in one Redis, for the batches of many machines.
 *
 * Bodies and results lie on spools. A machine whose spool is its own is the home of what it takes: jobs are claimed at home
 * only, and only home trims and removes files. Machines that share one spool have one home together.
 *
 * Whose clock. A lease goes by the boot clock of the machine that holds it, and only workers of that machine judge it so.
 * For all others it is over when they have watched it for one and a half times its length, by their own boot clock, while
 * nobody renewed it: no two clocks are compared, and Redis's own may be stepped. What clients see goes by the clock of the
 * machine that writes it.
 *
 * An answer that was lost. Who does not hear what came of a call cannot know whether it was done. Submitting then answers
 * APR_INCOMPLETE. A claim is taken back before the next one, and can come no more once it was. The end of a job may simply be
 * written again: it has a name, and one of that name is done once.
 */
#ifndef AQ_REDIS_QUEUE_H
#define AQ_REDIS_QUEUE_H

#include "batch/queue.h"
#include "store/redis_durability.h"

typedef struct {
    const char *machine;  /* this machine's name among all, its home; copied */
    int is_shared;        /* 1: the spool is that of all machines */
    const char *home_url; /* where the others are given what lies here; NULL: nowhere; copied */
    aq_redis_durability_t durability;
} aq_redis_queue_options_t;

/*
 * Opens the queue at `address`, which must outlive it and be complete. It does not connect: while Redis is away each call
 * fails. Before the first call, and again after each that failed, the server is asked whether it writes as `durability`
 * says; while it does not, each call fails, and the log says why. Closed by aq_queue_close, or with `p`. APR_SUCCESS, or a
 * status and a sentence in `p` at `*error`.
 */
apr_status_t aq_redis_queue_open(apr_pool_t *p, const aq_redis_address_t *address,
                                 const aq_redis_queue_options_t *options, aq_queue_t **queue, const char **error);

#endif
