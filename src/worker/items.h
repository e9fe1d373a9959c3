/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Items: sends the lines of a batch to its target, one request each, so many at a time.
 *
 *   items.c          the loop: what is sent when, and until when
 *   items_source.c   the next line that is not done yet
 *   item_call.c      one item at the target
 *
 * An item has the outcomes of a batch (outcome.h), decided anew for each: what passes by is tried again within the run, as
 * often as the batch may be tried. A target that is out of reach, or says that it has enough, costs few items their tries:
 * while nothing gets through no new line is begun before those that wait have failed, and a Retry-After holds all of them.
 */
#ifndef AQ_WORKER_ITEMS_H
#define AQ_WORKER_ITEMS_H

#include "batch/batch_config.h"
#include "batch/segment.h"

typedef struct {
    const aq_batch_t *batch;
    const aq_batch_location_t *location;
    int body_fd;
    int64_t result_max_bytes;    /* beyond, answers are left out of the result */
    aq_time_ms_t until_ms;       /* boot time: then the batch has had its time */
    aq_items_known_t *known;     /* what is done before, and grows with the run */
    aq_segment_t *segment;       /* where it is noted */
    const _Atomic int *stop;     /* once it is not 0 what is at the target is given up */
    const _Atomic int *draining; /* once it is not 0 nothing new is sent */
    int (*is_ours)(void *data);  /* 0: the lease is over, nothing may be sent any more */
    void (*progress)(void *data, int64_t done, int64_t total, int64_t failed); /* about each second */
    void *data;
} aq_items_call_t;

typedef enum {
    AQ_ITEMS_DONE,
    AQ_ITEMS_STOPPED,   /* as asked, or because the lease is over */
    AQ_ITEMS_TIMED_OUT, /* until_ms came */
    AQ_ITEMS_PAUSED,    /* nothing can be sent for wait_ms */
    AQ_ITEMS_TROUBLE    /* of ours: `status` */
} aq_items_end_t;

typedef struct {
    aq_items_end_t end;
    int64_t wait_ms;
    apr_status_t status;
} aq_items_answer_t;

/* Returns when all lines are done, or as `answer` says. All that is known is in the segment then, flushed. */
void aq_items_run(apr_pool_t *p, const aq_items_call_t *call, aq_items_answer_t *answer);

#endif
