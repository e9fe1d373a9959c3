/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far the estimate of a sliding window is from an exact log of what was admitted, for kinds of traffic:
 *
 *      sliding_error [N]        N requests of each kind (200,000), at a limit of 60 a minute
 *
 * prints, of each: how many were admitted though the log held the limit already, how many were refused though it did not
 * (in % of the admitted, and of all requests), and the most that any 60 seconds held, over the limit. What is random is
 * drawn from a fixed seed.
 */
#include "limit/window.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define LIMIT 60
#define PERIOD_MS 60000
#define LOG_SIZE 256 /* a power of two above twice the limit */

typedef struct {
    aq_window_t window;
    uint64_t words[AQ_WINDOW_WORDS];
    aq_time_ms_t log[LOG_SIZE]; /* of the newest admitted */
    uint64_t admitted, over, early, worst, random;
    aq_time_ms_t now_ms;
} run_t;

static double draw(run_t *run)
{
    run->random ^= run->random << 13;
    run->random ^= run->random >> 7;
    run->random ^= run->random << 17;
    return (double)(run->random >> 11) / 9007199254740992.0;
}

/* How many the log holds of the last period. */
static uint64_t log_count(const run_t *run)
{
    uint64_t count = 0;

    while (count < run->admitted && count < LOG_SIZE &&
           run->log[(run->admitted - 1 - count) % LOG_SIZE] > run->now_ms - PERIOD_MS) {
        count++;
    }
    return count;
}

static void request(run_t *run)
{
    const uint64_t logged = log_count(run);
    aq_window_look_t look;

    aq_window_look(&run->window, run->words, run->now_ms, &look);
    if (look.used >= LIMIT) {
        run->early += logged < LIMIT;
        return;
    }
    run->words[look.place.index] = aq_window_word_add(&look.place, run->words[look.place.index], 1);
    run->log[run->admitted++ % LOG_SIZE] = run->now_ms;
    run->over += logged >= LIMIT;
    run->worst = logged + 1 > run->worst ? logged + 1 : run->worst;
}

/* Each waits for the next request, in milliseconds. */
static double poisson(run_t *run, unsigned long i, double a_minute)
{
    (void)i;
    return -log(1 - draw(run)) * PERIOD_MS / a_minute;
}

static double at_pace(run_t *run, unsigned long i)
{
    return poisson(run, i, LIMIT);
}

static double at_twice(run_t *run, unsigned long i)
{
    return poisson(run, i, 2 * LIMIT);
}

static double hammering(run_t *run, unsigned long i)
{
    (void)run;
    (void)i;
    return 20;
}

/* Forty at once, then a pause of up to two periods. */
static double bursts(run_t *run, unsigned long i)
{
    return i % 40 != 0 ? 5 : draw(run) * 2 * PERIOD_MS;
}

/* The worst that is known: all at the end of a sub-window, and then all the time while that slides out. */
static double adversarial(run_t *run, unsigned long i)
{
    const int64_t sub_ms = PERIOD_MS / AQ_WINDOW_SUBS;
    const unsigned long step = i % (LIMIT + 160);

    if (step == 0) {
        return (double)(2 * PERIOD_MS - 70 - run->now_ms % sub_ms);
    }
    return step < LIMIT ? 1 : step == LIMIT ? (double)(PERIOD_MS - sub_ms) : 62;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        double (*wait_ms)(run_t *run, unsigned long i);
    } kinds[] = {{"Poisson, at the limit's pace", at_pace},
                 {"Poisson, at twice that", at_twice},
                 {"hammering, 50 a second", hammering},
                 {"bursts of 40", bursts},
                 {"adversarial", adversarial}};
    const unsigned long requests = argc > 1 ? strtoul(argv[1], NULL, 10) : 200000;

    printf("%-30s %10s %10s %12s\n", "traffic", "above, %", "early, %", "fullest 60 s");
    for (unsigned k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        run_t run = {.window = {.algorithm = AQ_ALGORITHM_SLIDING, .period = AQ_PERIOD_SECONDS, .period_s = 60},
                     .random = UINT64_C(0x9e3779b97f4a7c15),
                     .now_ms = INT64_C(1795350050000)};
        double now_ms = (double)run.now_ms;

        for (unsigned long i = 0; i < requests; i++) {
            now_ms += kinds[k].wait_ms(&run, i);
            run.now_ms = (aq_time_ms_t)now_ms;
            request(&run);
        }
        printf("%-30s %10.1f %10.1f %12.2f\n", kinds[k].name, 100.0 * (double)run.over / (double)run.admitted,
               100.0 * (double)run.early / (double)requests, (double)run.worst / LIMIT);
    }
    return 0;
}
