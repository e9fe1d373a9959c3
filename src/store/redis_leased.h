/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leased counters: the mode of redis_counters.h in which a machine takes slices of limits in advance.
 *
 * A slice is some of a limit, charged in Redis when it is taken, in one window (a sub-window where the limit slides). It
 * lies in memory shared by all processes of the machine (slice_table.h) and is spent there without asking anybody, in that
 * window and never later: it dies by this machine's boot time, so long after its request was sent as Redis says that the
 * window lasts. So no clocks need agree, and over any number of machines no window ever holds more than its limit. What is
 * left of it is taken out of the table first, and then given back to Redis: what is lost on the way was charged and is
 * not used, never the other way round.
 *
 *     request --> all counters have slices? --- yes --> spend, answer from what Redis last said, less what is left here
 *                   | no
 *                   v
 *                 one call to Redis: counters of the strict kinds, and those whose slice is used up, with the next slice;
 *                 where one of them refuses, what was spent here is put back: all or nothing
 *
 * How much. slice = min(want, max(1, min(available / 2H, limit / 32))), and never less than the request costs. H: machines
 * that took slices from counters of this home within a second. want begins at 1, doubles where a slice lasted less than
 * 100 ms and halves where it lasted more than 400 ms. One process at a time asks for a slice of a counter; others that find
 * none meanwhile are charged in Redis for themselves. The next one is taken when half is spent. After a refusal requests
 * that cannot fit by what Redis said are refused here, for 100 ms.
 *
 * What may strand. A counter of limit L has at most S = max(c, floor(L / 32)) in a slice, c the cost of a request, and a
 * machine holds at most 1.5 S: half of one, and the next (floor(S / 2) + S). That is what is lost when the machine dies,
 * until the window ends; and S for each answer that never came. Idle slices (250 ms) are given back, and all of them when
 * a process ends in peace.
 *
 * Leased are fixed and sliding windows and totals of 64 and more, unless a limit says store=strict. Token buckets, what runs at once and smaller limits stay
 * strict: of less than 64 a slice would be a single request.
 */
#ifndef AQ_REDIS_LEASED_H
#define AQ_REDIS_LEASED_H

#include "limit/counter_store.h"

/* Smaller limits stay strict. */
#define AQ_LEASED_CAPACITY_MIN 64
/* A slice that nobody asked for so long is given back. */
#define AQ_LEASED_IDLE_MS INT64_C(250)
/* No slice lives longer, so that clocks of unequal speed do no harm. */
#define AQ_LEASED_LIFE_MS INT64_C(10000)

/* The functions of a store in this mode, see counter_store.h. */
apr_status_t aq_redis_leased_take(aq_counter_store_t *base, aq_counter_t *counters, unsigned count, uint32_t cost,
                                  aq_time_ms_t now_ms, int *is_denied);
apr_status_t aq_redis_leased_give_back(aq_counter_store_t *base, aq_counter_t *counters, unsigned count,
                                       aq_time_ms_t now_ms);
apr_status_t aq_redis_leased_look(aq_counter_store_t *base, aq_counter_t *counters, unsigned count,
                                  aq_time_ms_t now_ms);

/* Forgets what this machine holds of the counters, as a reset in Redis does. */
void aq_redis_leased_forget(aq_counter_store_t *base, const aq_counter_t *counters, unsigned count);

/*
 * Gives slices back that are idle or dead; with `is_end` all of them, waiting for each answer. `now_ms` is about the present,
 * to a year or so. For a timer of each process: one of them does it at a time.
 */
void aq_redis_leased_sweep(aq_counter_store_t *base, aq_time_ms_t now_ms, int is_end);

#endif
