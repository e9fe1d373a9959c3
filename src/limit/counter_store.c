/* SPDX-License-Identifier: Apache-2.0 */
/* What every store answers alike: see counter_store.h. */
#include "limit/counter_store.h"

/* When others will have ended their requests is no reset. */
static aq_time_ms_t reset_at_ms(const aq_limit_t *limit, aq_time_ms_t at_ms)
{
    return limit->window.algorithm == AQ_ALGORITHM_CONCURRENT ? AQ_TIME_NEVER : at_ms;
}

void aq_counter_answer(aq_counter_t *counter, const uint64_t words[AQ_WINDOW_WORDS], const aq_window_look_t *look,
                       uint32_t denied_cost)
{
    const aq_limit_t *limit = counter->limit;
    const aq_time_ms_t now_ms = look->place.now_ms;
    const uint64_t count = limit->capacity;

    counter->used = look->used;
    counter->remaining = look->used < count ? count - look->used : 0;
    counter->fits_at_ms = now_ms;
    counter->is_denied = denied_cost != 0;
    if (denied_cost != 0) {
        counter->fits_at_ms = aq_window_fits_at(&limit->window, words, look, count, denied_cost);
        counter->reset_at_ms = reset_at_ms(limit, counter->fits_at_ms);
    } else if (counter->remaining == 0 && !limit->rate.is_unlimited) {
        counter->fits_at_ms = aq_window_fits_at(&limit->window, words, look, count, 1);
        counter->reset_at_ms = reset_at_ms(limit, counter->fits_at_ms);
    } else if (limit->window.algorithm != AQ_ALGORITHM_TOKEN_BUCKET) {
        counter->reset_at_ms = aq_window_end_ms(&limit->window, now_ms);
    } else {
        counter->reset_at_ms = aq_window_full_ms(&limit->window, words, look);
    }
}

void aq_counter_store_id_write(const aq_counter_store_t *store, char id[AQ_STORE_ID_SIZE])
{
    static const char what[] = "store";
    const aq_hash128_t hash = aq_hash_keyed(&store->secret, what, sizeof(what) - 1);

    aq_hash_hex_write(id, (const unsigned char *)&hash, sizeof(hash));
}
