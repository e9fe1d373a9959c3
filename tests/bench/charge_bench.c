/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one decision costs: a charge with two limits (a minute, sliding; a day) against the counter file, warm.
 *
 *      charge_bench [-s SIZE_MB] [-l LIVE] [-r] [-t] N
 *
 * makes a counter file of SIZE_MB (64), puts LIVE (1,000) live counters into it, half of them for each limit, and charges
 * N times: aq_charge_create, aq_charge_counter_set twice, aq_charge_take; with -r each charge is settled as free too.
 * With -t it prints nanoseconds a charge. Instructions are counted by
 *
 *      valgrind --tool=callgrind --collect-atstart=no --toggle-collect='charges_run*' charge_bench 2000
 *
 * whose `Collected`, over N, is the cost of one charge with the loop around it (some 30); or as the difference of a run
 * with N = 2500 and one with N = 500, over 2,000, which is less exact with many live counters: where they fall is random.
 */
#include "limit/charge.h"
#include "store/shm_counters.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define CHARGES_A_POOL 64
/* From one charge's subject to the next one's: prime, so that all get their turn. */
#define STRIDE 211

typedef struct {
    unsigned long charges, live, size_mb;
    int is_settled, is_timed;
} bench_options_t;

static aq_limit_t *limit_make(apr_pool_t *p, const aq_hash_secret_t *secret, const char *name, const char *rate)
{
    const char *arguments[] = {name, rate};
    const char *error;
    aq_limit_t *limit;

    if (aq_limit_parse(p, arguments, 2, &limit, &error) != APR_SUCCESS) {
        fprintf(stderr, "charge_bench: %s\n", error);
        exit(1);
    }
    aq_limit_identify(limit, secret);
    return limit;
}

static apr_status_t charge(apr_pool_t *p, aq_counter_store_t *store, aq_limit_t *const limits[2],
                           const aq_hash128_t *subject, aq_time_ms_t now_ms, int is_settled)
{
    aq_charge_t *made = aq_charge_create(p, 2);
    apr_status_t rv;

    aq_charge_counter_set(made, 0, limits[0], subject);
    aq_charge_counter_set(made, 1, limits[1], subject);
    rv = aq_charge_take(made, store, 1, now_ms);
    if (rv == APR_SUCCESS && made->state != AQ_CHARGE_TAKEN) {
        rv = APR_EGENERAL;
    }
    return rv == APR_SUCCESS && is_settled ? aq_charge_settle(made, store, 1, now_ms) : rv;
}

/* What is measured. Charges come every 5 ms, so that the windows slide under them. */
__attribute__((noinline)) static apr_status_t charges_run(const bench_options_t *options, aq_counter_store_t *store,
                                                          aq_limit_t *const limits[2], const aq_hash128_t *subjects,
                                                          aq_time_ms_t now_ms, apr_pool_t *loop)
{
    const unsigned long subject_count = options->live / 2;
    apr_status_t rv = APR_SUCCESS;

    for (unsigned long i = 0, whose = 0; i < options->charges && rv == APR_SUCCESS; i++) {
        if (i % CHARGES_A_POOL == 0) {
            apr_pool_clear(loop);
        }
        rv = charge(loop, store, limits, &subjects[whose], now_ms + (aq_time_ms_t)i * 5, options->is_settled);
        whose += whose + STRIDE < subject_count ? STRIDE : STRIDE - subject_count;
    }
    return rv;
}

static apr_status_t bench_run(const bench_options_t *options, aq_counter_store_t *store, apr_pool_t *p,
                              aq_time_ms_t now_ms)
{
    aq_limit_t *const limits[2] = {limit_make(p, &store->secret, "minute", "3000000/minute"),
                                   limit_make(p, &store->secret, "day", "100000000/day")};
    const unsigned long subject_count = options->live / 2;
    aq_hash128_t *subjects = apr_palloc(p, subject_count * sizeof(*subjects));
    apr_status_t rv = APR_SUCCESS;
    struct timespec began, ended;
    apr_pool_t *loop;

    apr_pool_create(&loop, p);
    for (unsigned long i = 0; i < subject_count && rv == APR_SUCCESS; i++) {
        subjects[i] = aq_hash_keyed(&store->secret, &i, sizeof(i));
        apr_pool_clear(loop);
        rv = charge(loop, store, limits, &subjects[i], now_ms, 0);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &began);
    if (rv == APR_SUCCESS) {
        rv = charges_run(options, store, limits, subjects, now_ms, loop);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &ended);
    if (rv == APR_SUCCESS && options->is_timed) {
        printf("%.1f ns a charge\n",
               ((double)(ended.tv_sec - began.tv_sec) * 1e9 + (double)(ended.tv_nsec - began.tv_nsec)) /
                   (double)options->charges);
    }
    return rv;
}

static int usage(void)
{
    fprintf(stderr, "usage: charge_bench [-s SIZE_MB] [-l LIVE] [-r] [-t] N\n");
    return 2;
}

static int options_parse(int argc, char **argv, bench_options_t *options)
{
    int letter;

    while ((letter = getopt(argc, argv, "s:l:rt")) != -1) {
        switch (letter) {
        case 's':
            options->size_mb = strtoul(optarg, NULL, 10);
            break;
        case 'l':
            options->live = strtoul(optarg, NULL, 10);
            break;
        case 'r':
            options->is_settled = 1;
            break;
        case 't':
            options->is_timed = 1;
            break;
        default:
            return 0;
        }
    }
    options->charges = optind < argc ? strtoul(argv[optind], NULL, 10) : 0;
    return options->charges > 0 && options->live >= 2 && options->size_mb > 0;
}

int main(int argc, char **argv)
{
    bench_options_t options = {.live = 1000, .size_mb = 64};
    const aq_time_ms_t now_ms = INT64_C(1790000000000);
    char folder[] = "/tmp/charge_bench.XXXXXX";
    aq_counter_store_t *store;
    const char *error = NULL;
    const char *path;
    apr_status_t rv;
    apr_pool_t *p;

    if (!options_parse(argc, argv, &options)) {
        return usage();
    }
    if (mkdtemp(folder) == NULL || apr_initialize() != APR_SUCCESS) {
        return 1;
    }
    apr_pool_create(&p, NULL);
    path = apr_pstrcat(p, folder, "/counters", NULL);
    rv = aq_shm_counters_open(p, path, (uint64_t)options.size_mb << 20, 1, now_ms, &store, &error);
    if (rv == APR_SUCCESS) {
        rv = bench_run(&options, store, p, now_ms);
    }
    if (rv != APR_SUCCESS) {
        fprintf(stderr, "charge_bench: %s (%d)\n", error ? error : "a charge failed", rv);
    }
    (void)unlink(path);
    (void)unlink(apr_pstrcat(p, path, ".lock", NULL));
    (void)rmdir(folder);
    apr_terminate();
    return rv == APR_SUCCESS ? 0 : 1;
}
