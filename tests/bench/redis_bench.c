/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a charge in Redis takes, in strict mode: one caller, two limits (a minute, sliding; a day), one connection.
 *
 *      redis_bench ADDRESS words     the command that such a charge sends, a word a line
 *      redis_bench ADDRESS N         charges N times, and prints the median in microseconds
 *
 * ADDRESS as in APIQuotaStore. What Redis and the network need of it, redis-benchmark tells with the same words.
 */
#include "limit/charge.h"
#include "store/redis_counters_private.h"

#include <apr_general.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WARM_UP 200

_Noreturn static void fail(const char *what, const char *error)
{
    fprintf(stderr, "redis_bench: %s: %s\n", what, error != NULL ? error : "failed");
    exit(1);
}

static aq_counter_store_t *store_open(apr_pool_t *p, const char *word)
{
    const char *const words[] = {word, "budget=5s"};
    const aq_redis_counters_options_t options = {.is_leased = 0};
    aq_redis_address_t *address;
    aq_counter_store_t *store;
    const char *error = NULL;

    if (aq_redis_address_parse(p, words, 2, &address, &error) != APR_SUCCESS ||
        aq_redis_counters_open(p, address, &options, &store, &error) != APR_SUCCESS) {
        fail(word, error);
    }
    return store;
}

static aq_counter_t counter_make(apr_pool_t *p, const aq_counter_store_t *store, const char *name, const char *rate,
                                 const aq_hash128_t *tenant)
{
    const char *arguments[] = {name, rate};
    const char *error;
    aq_limit_t *limit;

    if (aq_limit_parse(p, arguments, 2, &limit, &error) != APR_SUCCESS) {
        fail(rate, error);
    }
    aq_limit_identify(limit, &store->secret);
    return (aq_counter_t){.limit = limit, .key = aq_hash_join(limit->identity, *tenant), .home = tenant};
}

static void charge(aq_counter_store_t *store, aq_counter_t counters[2])
{
    int is_denied = 0;

    if (aq_counter_store_take(store, counters, 2, 1, aq_clock_now_ms(), &is_denied) != APR_SUCCESS || is_denied) {
        fail("a charge", NULL);
    }
}

static void words_print(aq_counter_store_t *base, const aq_counter_t counters[2])
{
    const aq_redis_store_t *store = aq_redis_store(base);
    const aq_redis_saying_t saying = aq_redis_count_saying(store, AQ_REDIS_TAKE, 1, aq_clock_now_ms());
    static aq_redis_request_t request;

    aq_redis_request_make(&request, &store->script, &saying, counters, 2);
    for (int i = 0; i < request.count; i++) {
        printf("%.*s\n", (int)request.sizes[i], request.words[i]);
    }
}

static int ns_compare(const void *a, const void *b)
{
    const int64_t first = *(const int64_t *)a;
    const int64_t second = *(const int64_t *)b;

    return (first > second) - (first < second);
}

static int64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void charges_time(apr_pool_t *p, aq_counter_store_t *store, aq_counter_t counters[2], size_t count)
{
    int64_t *took_ns = apr_palloc(p, count * sizeof(*took_ns));
    const size_t middle = count / 2;

    for (unsigned i = 0; i < WARM_UP; i++) {
        charge(store, counters);
    }
    for (size_t i = 0; i < count; i++) {
        const int64_t began_ns = now_ns();

        charge(store, counters);
        took_ns[i] = now_ns() - began_ns;
    }
    qsort(took_ns, count, sizeof(*took_ns), ns_compare);
    printf("%.3f\n", (double)took_ns[middle] / 1000);
}

int main(int argc, char **argv)
{
    apr_pool_t *p;
    aq_counter_store_t *store;
    aq_counter_t counters[2];
    aq_hash128_t tenant;
    const unsigned long count = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;

    if (argc != 3 || (count == 0 && strcmp(argv[2], "words") != 0)) {
        fprintf(stderr, "usage: redis_bench ADDRESS words|N\n");
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)apr_initialize();
    apr_pool_create(&p, NULL);
    store = store_open(p, argv[1]);
    tenant = aq_hash_keyed(&store->secret, "acme", 4);
    counters[0] = counter_make(p, store, "minute", "3000000/minute", &tenant);
    counters[1] = counter_make(p, store, "day", "100000000/day", &tenant);
    charge(store, counters);
    if (count == 0) {
        words_print(store, counters);
    } else {
        charges_time(p, store, counters, count);
    }
    apr_pool_destroy(p);
    apr_terminate();
    return 0;
}
