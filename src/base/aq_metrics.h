/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics: numbers that all processes of a server add to, and that survive its restarts.
 *
 * They lie in a mapped file, made before the children are forked. A number is a row; what a row counts is said once, in the
 * file, by whoever starts the server, so that processes of two generations mean the same row by the same number. Each
 * process adds to one of 16 shards, so that two of them seldom share a cache line; adding is one instruction, holds no lock
 * and waits for nobody, so a process may be killed anywhere. A reader sums the shards up.
 *
 * The past hour: once a minute one process (whichever comes first) notes what all rows are at. Nothing is added twice.
 *
 *      0 +----------------------------------------------------------+
 *        | header, one page                                         |
 *        |    0  magic "AQMETRIC"           8                       |
 *        |    8  byte order mark            4   0x01020304          |
 *        |   12  rows there is room for     4                       |
 *        |   16  fingerprint                8   of the families, see aq_metrics_families.c, and of this layout
 *        |   24  rows in use                8                       |
 *        |   32  minute of the last note    8   minutes since 1970  |
 *        |   40  census of the counters     6 * 8   see aq_metrics_census_t
 *        |   88  minute of each note        64 * 8                  |
 *   4096 +----------------------------------------------------------+
 *        | what the rows count              rows * 128              |
 *        +----------------------------------------------------------+
 *        | the shards                       16 * rows * 8           |
 *        +----------------------------------------------------------+
 *        | the notes, by minute modulo 64   64 * rows * 8           |
 *        +----------------------------------------------------------+
 *
 * Row 0 counts nothing that anybody asks for: who finds no room for a row adds there. Numbers are in the byte order of the
 * machine. A file of another make is replaced by an empty one: what is lost is a graph's past.
 */
#ifndef AQ_METRICS_H
#define AQ_METRICS_H

#include "base/aq_clock.h"

#include <apr_pools.h>
#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>

/* What httpd's own file and a worker's have room for; multiples of 64. */
#define AQ_METRICS_ROWS_SERVER 2048
#define AQ_METRICS_ROWS_WORKER 64

#define AQ_METRICS_SHARDS 16
#define AQ_METRICS_NOTES 64
#define AQ_METRICS_HOUR 60 /* minutes that aq_metrics_hour tells */
#define AQ_METRICS_PLAN_SIZE 80
#define AQ_METRICS_LIMIT_SIZE 40

/* Behind the name of the queue's file: where a worker of that queue counts. */
#define AQ_WORKER_METRICS_SUFFIX ".metrics"

/* What is counted. aq_metrics_families.c has their names, labels and the values of fixed labels. */
typedef enum {
    AQ_METRIC_NONE,
    AQ_METRIC_REQUESTS,      /* by plan, and aq_decision_t */
    AQ_METRIC_LIMITED,       /* by plan and limit */
    AQ_METRIC_REFUSED,       /* callers who were not let in, by reason: the order of aq_identified_t, from MISSING */
    AQ_METRIC_STORE_ERRORS,  /* by aq_store_error_t */
    AQ_METRIC_STORE_SECONDS, /* a histogram, in nanoseconds */
    AQ_METRIC_BATCH_SECONDS, /* the same */
    AQ_METRIC_BATCHES_ENDED, /* by status: succeeded, failed, canceled */
    AQ_METRIC_SLICES,        /* taken from Redis in advance, by aq_slice_event_t */
    AQ_METRIC_SLICE_COST,    /* what they held, by the same */
    AQ_METRIC_HEARTBEAT,     /* no counter: when the worker last showed that it lives, by boot time */
    AQ_METRIC_COUNT
} aq_metric_t;

/* What came of a request. */
typedef enum {
    AQ_DECISION_ALLOWED,
    AQ_DECISION_LIMITED,
    AQ_DECISION_FREE,
    AQ_DECISION_EXEMPT,
    AQ_DECISION_DRYRUN_LIMITED,
    AQ_DECISION_STORE_ERROR,
    AQ_DECISION_COUNT
} aq_decision_t;

/* Why a counter store could not be asked, or did not do what it was asked. */
typedef enum {
    AQ_STORE_ERROR_FULL,       /* no place for a new counter; or out of memory */
    AQ_STORE_ERROR_TIMEOUT,    /* no answer in time */
    AQ_STORE_ERROR_CONNECTION, /* no connection, or it broke */
    AQ_STORE_ERROR_BREAKER,    /* not asked, since it failed just before */
    AQ_STORE_ERROR_REFUSED,    /* credentials, permissions */
    AQ_STORE_ERROR_READONLY,   /* a replica, or a disk that fails */
    AQ_STORE_ERROR_LOADING,    /* it has just started */
    AQ_STORE_ERROR_ANSWER,     /* an answer that makes no sense */
    AQ_STORE_ERROR_OTHER,
    AQ_STORE_ERROR_COUNT
} aq_store_error_t;

/* What became of slices of limits, see store/redis_leased.h. */
typedef enum {
    AQ_SLICE_TAKEN,
    AQ_SLICE_RETURNED, /* what was left of one was given back */
    AQ_SLICE_LOST,     /* what was left could not be given back: it counts as used until its window ends */
    AQ_SLICE_EVENT_COUNT
} aq_slice_event_t;

/* The last values of a histogram's label, behind its bounds. */
#define AQ_METRICS_BOUND_ABOVE "+Inf"
#define AQ_METRICS_BOUND_SUM "sum"

/* A family: for the text that scrapers read, and for adding. */
typedef struct {
    const char *name; /* "apiquota_requests_total"; NULL: not shown */
    const char *help;
    const char *type;          /* counter, histogram */
    const char *labels[2];     /* NULL: none. The last one takes `values` where there are some */
    const char *const *values; /* of the fixed label, in the order of their enum, NULL at the end; or NULL */
    const int64_t *bounds_ns;  /* of a histogram, as many as `values` has before "+Inf" */
} aq_metric_family_t;

typedef struct {
    uint16_t metric; /* aq_metric_t */
    uint16_t value;  /* which of the family's fixed values */
    uint32_t zero;
    char plan[AQ_METRICS_PLAN_SIZE];   /* the first label, "" where that is the fixed one */
    char limit[AQ_METRICS_LIMIT_SIZE]; /* the second, "" where it is fixed or there is none */
} aq_metrics_row_t;

/* How full the counter table was when somebody last walked it, which takes too long to be done for each reader. */
typedef struct {
    _Atomic int64_t at_ms; /* UTC; 0: never */
    _Atomic uint64_t live, dead, slots, overflows;
    _Atomic uint64_t failure; /* the status of the store when it was asked */
} aq_metrics_census_t;

typedef struct {
    char magic[8];
    uint32_t byte_order;
    uint32_t room;
    uint64_t fingerprint;
    _Atomic uint64_t used;
    _Atomic int64_t noted_minute;
    aq_metrics_census_t census;
    _Atomic int64_t note_minutes[AQ_METRICS_NOTES]; /* 0: none, or it is being written */
} aq_metrics_header_t;

static_assert(sizeof(aq_metrics_row_t) == 128, "layout");
static_assert(offsetof(aq_metrics_header_t, fingerprint) == 16, "layout");
static_assert(offsetof(aq_metrics_header_t, census) == 40, "layout");
static_assert(offsetof(aq_metrics_header_t, note_minutes) == 88, "layout");
static_assert(sizeof(aq_metrics_header_t) <= 4096, "layout");

typedef struct {
    aq_metrics_header_t *header;
    aq_metrics_row_t *rows;
    _Atomic uint64_t *cells;  /* of this process's shard */
    _Atomic uint64_t *shards; /* all of them, one after the other */
    _Atomic uint64_t *notes;
    uint64_t room, size_bytes;
    const char *path; /* NULL: it has no file */
} aq_metrics_t;

/*
 * Opens the file at `path` or makes it, with room for so many rows, for adding. Before the children are forked. Where no
 * file can be had they lie in memory that the children share, and are gone with the next restart: `*metrics` is usable
 * then, too, and the status is why. Lives as long as `p`.
 */
apr_status_t aq_metrics_open(apr_pool_t *p, const char *path, uint32_t room, aq_metrics_t **metrics);

/* Opens the file to read it. APR_SUCCESS; or a status, and `*metrics` is NULL: nobody counts there, or it is no such file. */
apr_status_t aq_metrics_open_readonly(apr_pool_t *p, const char *path, aq_metrics_t **metrics);

/* Chooses the shard of this process, by its number. After the fork. */
void aq_metrics_shard_choose(aq_metrics_t *metrics, uint64_t number);

/*
 * The row of that family and those labels, or the first of as many as the family has fixed values; added where it is
 * missing. `plan` and `limit` are "" where the family lacks such a label; what is too long is cut. 0 where there is no
 * room. By one thread of a process; other processes may do the same.
 */
unsigned aq_metrics_row(aq_metrics_t *metrics, aq_metric_t metric, const char *plan, const char *limit);

/* The same, of those that are there. 0: none. Thread-safe. */
unsigned aq_metrics_row_find(const aq_metrics_t *metrics, aq_metric_t metric, const char *plan, const char *limit);

/* Adds to a row. Thread-safe. */
static inline void aq_metrics_add(const aq_metrics_t *metrics, unsigned row, uint64_t count)
{
    (void)atomic_fetch_add_explicit(&metrics->cells[row], count, memory_order_relaxed);
}

/* Adds an observation to the histogram whose first row is `row` (0: it is dropped). Thread-safe. */
void aq_metrics_observe(const aq_metrics_t *metrics, aq_metric_t metric, unsigned row, int64_t ns);

/* What a row that is no counter holds. One process at a time writes it. */
void aq_metrics_set(const aq_metrics_t *metrics, unsigned row, uint64_t value);

/* The sum of a row. */
uint64_t aq_metrics_total(const aq_metrics_t *metrics, unsigned row);

/* How many rows are in use, with row 0. */
unsigned aq_metrics_used(const aq_metrics_t *metrics);

/*
 * Notes what all rows are at, if nobody did since this minute began. Cheap where there is nothing to do: to be called once
 * or more a second. Thread-safe.
 */
void aq_metrics_tick(const aq_metrics_t *metrics, aq_time_ms_t now_ms);

/*
 * What was added to a row in each of the last 60 minutes of the clock, the present one last. Minutes in which nobody
 * noted anything have 0, and what was added in them is in the next one.
 */
void aq_metrics_hour(const aq_metrics_t *metrics, unsigned row, aq_time_ms_t now_ms, uint64_t minutes[AQ_METRICS_HOUR]);

/* The family; its name is NULL where there is none. */
const aq_metric_family_t *aq_metric_family(aq_metric_t metric);

/* How many rows one set of labels takes. */
unsigned aq_metric_width(aq_metric_t metric);

/* "allowed", "limited" … as logs, backends and metrics have it. */
const char *aq_decision_name(aq_decision_t decision);

/* What the rows of a file mean by this build: another one's file is not read. */
uint64_t aq_metrics_fingerprint(void);

/* ---- store errors ------------------------------------------------------------------------------------------------ */

/*
 * Where this process's store errors are counted: for stores, which are not handed any metrics. NULL: nowhere. `row` is the
 * first of AQ_METRIC_STORE_ERRORS. Before threads start.
 */
void aq_store_errors_install(const aq_metrics_t *metrics, unsigned row);

/*
 * Counts a failure of a counter store. For stores that know why they failed, or that go on without telling their caller;
 * they return one of the statuses that aq_store_error_is_counted knows, or none. Thread-safe.
 */
void aq_store_error_count(aq_store_error_t reason);

/* The same for slices: the first rows of AQ_METRIC_SLICES and AQ_METRIC_SLICE_COST. */
void aq_slices_install(const aq_metrics_t *metrics, unsigned row, unsigned cost_row);

/* Counts a slice, and what it held. Thread-safe. */
void aq_slices_count(aq_slice_event_t event, uint64_t cost);

/* The reason that a status tells, for stores that do not count by themselves. */
aq_store_error_t aq_store_error_of(apr_status_t rv);

#endif
