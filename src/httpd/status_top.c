/* SPDX-License-Identifier: Apache-2.0 */
/* Who uses most: when it is looked at. See status_top.h; the looking is in status_walk.c. */
#include "httpd/status_top.h"

#include <pthread.h>

#define EVERY_MS 1000
/* Of a page, and of a timer; of a Redis that others need as well, less. */
#define PAGE_SLICE_MS 50
#define TICK_SLICE_MS 25
#define REMOTE_SLICE_MS 10
/* Walks that the timer goes on with are forgotten when nobody has looked for so long. */
#define WANTED_MS (INT64_C(60) * AQ_MS_PER_S)

/* Of this child. What is being walked is the walker's alone, while is_walking is 1; the rest is under the mutex. */
static struct {
    pthread_mutex_t mutex;
    int is_walking, is_whole; /* is_whole: `shown` is of a walk that came to its end */
    aq_time_ms_t next_ms;     /* boot time from which on another slice may be begun */
    aq_time_ms_t wanted_ms;   /* boot time until which somebody wants it */
    aq_top_t shown, walked;   /* walked.seen: the next key */
} cache = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* ---- the cache --------------------------------------------------------------------------------------------------- */

/* 1 where the walk is this thread's now. */
static int walk_begin(aq_time_ms_t boot_ms, int is_page)
{
    int is_ours;

    (void)pthread_mutex_lock(&cache.mutex);
    if (is_page) {
        if (!cache.is_walking && boot_ms >= cache.wanted_ms) {
            cache.walked.seen = cache.walked.key_count; /* what nobody waited for is begun anew */
        }
        cache.wanted_ms = boot_ms + WANTED_MS;
        is_ours = !cache.is_walking && boot_ms >= cache.next_ms;
    } else {
        is_ours = !cache.is_walking && boot_ms < cache.wanted_ms && cache.walked.seen < cache.walked.key_count;
    }
    cache.is_walking |= is_ours;
    (void)pthread_mutex_unlock(&cache.mutex);
    return is_ours;
}

static void walk_end(void)
{
    const int is_whole = cache.walked.seen >= cache.walked.key_count;

    (void)pthread_mutex_lock(&cache.mutex);
    if (is_whole || !cache.is_whole) {
        cache.shown = cache.walked;
    }
    cache.is_whole |= is_whole;
    cache.next_ms = aq_clock_boot_ms() + EVERY_MS;
    cache.is_walking = 0;
    (void)pthread_mutex_unlock(&cache.mutex);
}

static void slice_take(const aq_runtime_t *runtime, const aq_key_set_t *set, aq_time_ms_t now_ms, aq_time_ms_t until_ms)
{
    if (set) {
        aq_top_walk(runtime->store, set, now_ms, until_ms, &cache.walked);
    }
    walk_end();
}

void aq_status_top_tick(const aq_runtime_t *runtime, aq_time_ms_t now_ms)
{
    const aq_time_ms_t boot_ms = aq_clock_boot_ms();

    if (runtime->keys && walk_begin(boot_ms, 0)) {
        const aq_key_set_t *set = aq_keys_acquire(runtime->keys);

        slice_take(runtime, set, now_ms, boot_ms + (runtime->store->ops->is_remote ? REMOTE_SLICE_MS : TICK_SLICE_MS));
        aq_key_set_release(set);
    }
}

void aq_status_top(request_rec *r, aq_time_ms_t now_ms, aq_top_t *top)
{
    const aq_runtime_t *runtime = aq_config_server(r->server)->runtime;
    const aq_time_ms_t boot_ms = aq_clock_boot_ms();

    if (walk_begin(boot_ms, 1)) {
        slice_take(runtime, aq_request_key_set(r, aq_request_state(r)), now_ms, boot_ms + PAGE_SLICE_MS);
    }
    (void)pthread_mutex_lock(&cache.mutex);
    *top = cache.shown;
    (void)pthread_mutex_unlock(&cache.mutex);
}
