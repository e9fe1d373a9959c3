/* SPDX-License-Identifier: Apache-2.0 */
/* Counters in Redis, strict. See redis_counters.h; the script is in redis_script.c. */
#include "store/redis_counting.h"

#include "store/redis_leased.h"
#include "store/redis_script.h"
#include "store/redis_secret.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

/* A hash outlives its longest counter by so much, so that a clock that steps back finds it. */
#define SLACK_MS INT64_C(60000)
/* Where tests set the time, the present of Redis says nothing of it. */
#define SLACK_GIVEN_MS INT64_C(3600000)
/* No request waits yet when the store is opened. */
#define START_BUDGET_MS INT64_C(2000)
/* So often in the life of its members a process says that it lives. */
#define RENEWALS_PER_LIFE 3

apr_status_t aq_redis_count_status(aq_redis_failure_t failure)
{
    switch (failure) {
    case AQ_REDIS_DONE:
        return APR_SUCCESS;
    case AQ_REDIS_TIMEOUT:
        return APR_TIMEUP;
    case AQ_REDIS_DOWN:
    case AQ_REDIS_REFUSED:
        return APR_ECONNREFUSED;
    case AQ_REDIS_CLOSED:
        return APR_ECONNRESET;
    case AQ_REDIS_NOAUTH:
        return APR_EACCES;
    case AQ_REDIS_OOM:
        return APR_ENOMEM;
    default:
        return APR_EGENERAL;
    }
}

aq_redis_saying_t aq_redis_count_saying(const aq_redis_store_t *store, aq_redis_verb_t verb, uint32_t cost,
                                        aq_time_ms_t now_ms)
{
    const int is_given = store->options.is_clock_given;

    return (aq_redis_saying_t){
        .verb = verb,
        .given_ms = is_given ? now_ms : AQ_TIME_NEVER,
        .present_ms = now_ms + (is_given ? 0 : atomic_load(&store->ahead_ms)),
        .cost = cost,
        .slack_ms = is_given ? SLACK_GIVEN_MS : SLACK_MS,
        .life_ms = store->options.member_life_ms,
    };
}

/* ---- take, look ------------------------------------------------------------------------------------------------- */

static int is_member(const aq_counter_t *counter)
{
    return counter->limit->window.algorithm == AQ_ALGORITHM_CONCURRENT;
}

/* Notes a member for each concurrent limit; 0: that could not be. */
static int members_begin(aq_redis_store_t *store, aq_counter_t *counters, unsigned count,
                         char owner[AQ_REDIS_OWNER_SIZE])
{
    int is_done = 1;

    for (unsigned i = 0; i < count; i++) {
        counters[i].receipt.cost = 0;
        if (is_member(&counters[i])) {
            char home[AQ_REDIS_HOME_SIZE];

            aq_redis_home_write(&counters[i], home);
            counters[i].receipt.slot = aq_redis_members_begin(store->members, &counters[i].key, home, owner);
            is_done &= counters[i].receipt.slot != 0;
        }
    }
    return is_done;
}

static void members_end(aq_redis_store_t *store, const aq_counter_t *counters, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (is_member(&counters[i])) {
            aq_redis_members_end(store->members, &counters[i].key, counters[i].receipt.slot);
        }
    }
}

apr_status_t aq_redis_count_take(aq_redis_store_t *store, aq_counter_t *counters, unsigned count, uint32_t cost,
                                 aq_time_ms_t now_ms, aq_redis_slice_t *slices, uint64_t (*words)[AQ_WINDOW_WORDS],
                                 int *is_denied)
{
    aq_redis_counting_t call = {.store = store, .counters = counters, .count = count, .now_ms = now_ms, .words = words};
    aq_redis_failure_t failure = AQ_REDIS_OTHER;

    *is_denied = 0;
    call.saying = aq_redis_count_saying(store, AQ_REDIS_TAKE, cost, now_ms);
    call.saying.slices = slices;
    call.saying.machine = store->slices != NULL ? aq_slice_table_machine(store->slices) : NULL;
    if (members_begin(store, counters, count, call.saying.owner)) {
        failure = aq_redis_counting_make(&call);
    }
    *is_denied = failure == AQ_REDIS_DONE && call.denied != 0;
    if (failure != AQ_REDIS_DONE || *is_denied) {
        /* In a cluster some homes may have been charged all the same. */
        (void)aq_redis_count_back(store, counters, count, now_ms);
        /* Where it timed out Redis may have made us a member: the next renewal tells it that we are none. */
        members_end(store, counters, count);
    }
    return aq_redis_count_status(failure);
}

static apr_status_t redis_take(aq_counter_store_t *base, aq_counter_t *counters, unsigned count, uint32_t cost,
                               aq_time_ms_t now_ms, int *is_denied)
{
    return aq_redis_count_take(aq_redis_store(base), counters, count, cost, now_ms, NULL, NULL, is_denied);
}

apr_status_t aq_redis_count_look(aq_redis_store_t *store, aq_counter_t *counters, unsigned count, aq_time_ms_t now_ms,
                                 uint64_t (*words)[AQ_WINDOW_WORDS])
{
    aq_redis_counting_t call = {.store = store, .counters = counters, .count = count, .now_ms = now_ms, .words = words};

    call.saying = aq_redis_count_saying(store, AQ_REDIS_LOOK, 0, now_ms);
    if (count == 0) {
        return APR_SUCCESS;
    }
    return aq_redis_count_status(aq_redis_counting_make(&call));
}

static apr_status_t redis_look(aq_counter_store_t *base, aq_counter_t *counters, unsigned count, aq_time_ms_t now_ms)
{
    return aq_redis_count_look(aq_redis_store(base), counters, count, now_ms, NULL);
}

/* ---- giving back ------------------------------------------------------------------------------------------------ */

/* What was last known, less the charge. */
static void answer_without(aq_counter_t *counter, aq_time_ms_t now_ms)
{
    const aq_limit_t *limit = counter->limit;
    const uint64_t cost = is_member(counter) ? 1 : counter->receipt.cost;
    const int was_full = counter->remaining == 0;

    counter->used = counter->used > cost ? counter->used - cost : 0;
    counter->remaining = counter->used < limit->capacity ? limit->capacity - counter->used : 0;
    counter->is_denied = 0;
    if (counter->remaining > 0) {
        counter->fits_at_ms = now_ms;
    }
    if (limit->window.algorithm == AQ_ALGORITHM_TOKEN_BUCKET) {
        const int64_t earlier_ms =
            (int64_t)cost * limit->window.bucket.token * AQ_MS_PER_S / aq_bucket_units_per_s(&limit->window.bucket);

        counter->reset_at_ms = counter->reset_at_ms - earlier_ms > now_ms ? counter->reset_at_ms - earlier_ms : now_ms;
    } else if (was_full && counter->remaining > 0) {
        counter->reset_at_ms = aq_window_end_ms(&limit->window, now_ms);
    }
}

static unsigned receipts_count(const aq_counter_t *counters, unsigned count)
{
    unsigned found = 0;

    for (unsigned i = 0; i < count; i++) {
        found += counters[i].receipt.cost != 0;
    }
    return found;
}

apr_status_t aq_redis_count_back(aq_redis_store_t *store, aq_counter_t *counters, unsigned count, aq_time_ms_t now_ms)
{
    aq_redis_counting_t call = {.store = store, .counters = counters, .count = count, .now_ms = now_ms};
    aq_redis_failure_t failure = AQ_REDIS_DONE;

    if (receipts_count(counters, count) != 0) {
        call.saying = aq_redis_count_saying(store, AQ_REDIS_BACK, 0, now_ms);
        aq_redis_members_owner(store->members, call.saying.owner);
        failure = aq_redis_counting_send(&call);
    }
    for (unsigned i = 0; i < count; i++) {
        if (counters[i].receipt.cost != 0) {
            answer_without(&counters[i], now_ms);
            members_end(store, &counters[i], 1);
        }
        counters[i].receipt.cost = 0;
    }
    return aq_redis_count_status(failure);
}

static apr_status_t redis_give_back(aq_counter_store_t *base, aq_counter_t *counters, unsigned count,
                                    aq_time_ms_t now_ms)
{
    aq_redis_store_t *store = aq_redis_store(base);
    const apr_status_t rv = aq_redis_count_back(store, counters, count, now_ms);

    return rv == APR_SUCCESS && store->options.waits_to_settle ? redis_look(base, counters, count, now_ms) : rv;
}

static apr_status_t redis_reset(aq_counter_store_t *base, aq_counter_t *counters, unsigned count, aq_time_ms_t now_ms)
{
    aq_redis_store_t *store = aq_redis_store(base);
    aq_redis_counting_t call = {.store = store, .counters = counters, .count = count, .now_ms = now_ms};
    aq_redis_failure_t failure;

    call.saying = aq_redis_count_saying(store, AQ_REDIS_RESET, 0, now_ms);
    failure = aq_redis_counting_ask(&call);
    return failure == AQ_REDIS_DONE ? redis_look(base, counters, count, now_ms) : aq_redis_count_status(failure);
}

/* ---- info ------------------------------------------------------------------------------------------------------- */

typedef struct {
    char cursor[24];
    aq_counter_store_info_t *info;
} census_t;

static aq_redis_failure_t census_read(void *data, const redisReply *reply)
{
    census_t *census = data;
    int64_t live;
    int64_t dead;
    int64_t bytes;

    if (!aq_redis_number_read(reply, 1, &live) || !aq_redis_number_read(reply, 2, &dead) ||
        !aq_redis_number_read(reply, 3, &bytes) || reply->element[0]->type != REDIS_REPLY_STRING) {
        return AQ_REDIS_PROTOCOL;
    }
    apr_cpystrn(census->cursor, reply->element[0]->str, sizeof(census->cursor));
    census->info->live += (uint64_t)live;
    census->info->dead += (uint64_t)dead;
    census->info->size_bytes += (uint64_t)bytes;
    return AQ_REDIS_DONE;
}

static apr_status_t redis_info(aq_counter_store_t *base, aq_time_ms_t now_ms, aq_counter_store_info_t *info)
{
    const aq_redis_store_t *store = aq_redis_store(base);
    census_t census = {.cursor = "0", .info = info};
    char now_s[24];
    const char *words[] = {"EVAL", aq_redis_script_census(), "0", census.cursor, "aq:{?:*}", now_s};
    size_t sizes[sizeof(words) / sizeof(words[0])];
    const aq_redis_command_t command = {.count = sizeof(words) / sizeof(words[0]), .words = words, .sizes = sizes};
    aq_redis_failure_t failure = AQ_REDIS_DONE;

    memset(info, 0, sizeof(*info));
    (void)apr_snprintf(now_s, sizeof(now_s), "%" APR_INT64_T_FMT, now_ms / AQ_MS_PER_S);
    apr_cpystrn(info->path, aq_redis_link_address(store->link)->name, sizeof(info->path));
    aq_counter_store_id_write(base, info->id);
    for (int server = aq_redis_link_server(store->link, 0); failure == AQ_REDIS_DONE && server >= 0;
         server = aq_redis_link_server(store->link, server + 1)) {
        do {
            for (int i = 0; i < command.count; i++) {
                sizes[i] = strlen(words[i]);
            }
            failure = aq_redis_ask_server(store->link, server, &command, census_read, &census);
        } while (failure == AQ_REDIS_DONE && strcmp(census.cursor, "0") != 0);
    }
    return aq_redis_count_status(failure);
}

/* ---- the timer -------------------------------------------------------------------------------------------------- */

static void members_renew(aq_redis_store_t *store, apr_pool_t *ptemp)
{
    const apr_array_header_t *held = aq_redis_members_list(store->members, ptemp);
    aq_redis_saying_t saying = aq_redis_count_saying(store, AQ_REDIS_RENEW, 0, 0);

    aq_redis_members_owner(store->members, saying.owner);
    for (int i = 0; i < held->nelts; i += AQ_LIMITS_MAX) {
        const int count = held->nelts - i < AQ_LIMITS_MAX ? held->nelts - i : AQ_LIMITS_MAX;

        aq_redis_counting_renew(store, &saying, &APR_ARRAY_IDX(held, i, aq_redis_held_t), (unsigned)count);
    }
}

void aq_redis_counters_tend(aq_counter_store_t *base, apr_pool_t *ptemp)
{
    aq_redis_store_t *store = aq_redis_store(base);
    const int64_t now_ms = aq_clock_boot_ms();
    int64_t renewed_ms = atomic_load(&store->renewed_ms);
    const int is_back = aq_redis_link_tend(store->link);

    if (aq_redis_link_is_down(store->link) ||
        (!is_back && now_ms - renewed_ms < store->options.member_life_ms / RENEWALS_PER_LIFE)) {
        return;
    }
    if (atomic_compare_exchange_strong(&store->renewed_ms, &renewed_ms, now_ms)) {
        members_renew(store, ptemp);
    }
}

void aq_redis_counters_return(aq_counter_store_t *base, aq_time_ms_t now_ms, int is_end)
{
    if (aq_redis_store(base)->slices != NULL) {
        aq_redis_leased_sweep(base, now_ms, is_end);
    }
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

static const aq_counter_store_ops_t redis_ops = {
    .name = "redis",
    .is_remote = 1,
    .counts_its_errors = 1,
    .take = redis_take,
    .give_back = redis_give_back,
    .look = redis_look,
    .info = redis_info,
    .reset = redis_reset,
};

static apr_status_t leased_reset(aq_counter_store_t *base, aq_counter_t *counters, unsigned count, aq_time_ms_t now_ms)
{
    aq_redis_leased_forget(base, counters, count);
    return redis_reset(base, counters, count, now_ms);
}

static const aq_counter_store_ops_t leased_ops = {
    .name = "redis",
    .is_remote = 1,
    .counts_its_errors = 1,
    .take = aq_redis_leased_take,
    .give_back = aq_redis_leased_give_back,
    .look = aq_redis_leased_look,
    .info = redis_info,
    .reset = leased_reset,
};

void aq_redis_counters_watch(aq_counter_store_t *base, aq_redis_counters_seen_fn *seen, void *data)
{
    aq_redis_store_t *store = aq_redis_store(base);

    store->seen_data = data;
    store->seen = seen;
}

aq_redis_link_t *aq_redis_counters_link(const aq_counter_store_t *base)
{
    return aq_redis_store(base)->link;
}

static apr_status_t store_prepare(apr_pool_t *p, aq_redis_store_t *store, const aq_redis_counters_options_t *options)
{
    store->base.ops = options->is_leased ? &leased_ops : &redis_ops;
    store->base.has_homes = 1;
    store->options = *options;
    if (store->options.member_life_ms == 0) {
        store->options.member_life_ms = AQ_REDIS_MEMBER_LIFE_MS;
    }
    store->script.text = aq_redis_script_count(p);
    return aq_hash_sha1_hex(store->script.text, strlen(store->script.text), store->script.sha);
}

apr_status_t aq_redis_counters_open(apr_pool_t *p, const aq_redis_address_t *address,
                                    const aq_redis_counters_options_t *options, aq_counter_store_t **store,
                                    const char **error)
{
    aq_redis_store_t *opened = apr_pcalloc(p, sizeof(*opened));
    int is_reached = 0;
    apr_status_t rv = store_prepare(p, opened, options);

    *store = NULL;
    *error = "Redis: no memory, or no SHA-1";
    if (rv == APR_SUCCESS) {
        rv = aq_redis_members_create(p, &opened->members);
    }
    if (rv == APR_SUCCESS && options->is_leased) {
        rv = aq_slice_table_create(p, AQ_SLICE_PLACES, &opened->slices);
    }
    if (rv == APR_SUCCESS) {
        rv = aq_redis_link_open(p, address, &opened->link, error);
    }
    if (rv == APR_SUCCESS) {
        aq_redis_link_budget_set(opened->link, START_BUDGET_MS);
        rv = options->is_tool ? aq_redis_secret_read(p, opened->link, &opened->base.secret, error)
                              : aq_redis_secret_find(p, opened->link, options->secret_file, &opened->base.secret,
                                                     &is_reached, error);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (is_reached) {
        aq_redis_server_check(opened->link);
    }
    aq_redis_link_release(opened->link);
    aq_redis_link_budget_set(opened->link, address->budget_ms);
    *error = NULL;
    *store = &opened->base;
    return APR_SUCCESS;
}
