/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong, in sentences for somebody who was woken up by it: what, and what follows from it. What to do stands in
 * docs/operations.md. The bounds are those of the alerts in conf/monitoring.
 */
#include "httpd/status_data.h"

#include <apr_strings.h>

#define COUNTERS_WARNING 0.8
#define SPOOL_WARNING 0.85
#define SPOOL_BAD 0.98
#define QUEUE_AGE_WARNING_MS (INT64_C(15) * 60 * AQ_MS_PER_S)

const char *aq_verdict_name(aq_verdict_t verdict)
{
    static const char *const names[] = {
        [AQ_VERDICT_GOOD] = "good", [AQ_VERDICT_WARNING] = "warning", [AQ_VERDICT_BAD] = "bad"};

    return names[verdict];
}

static void add(aq_status_t *status, aq_part_t part, aq_verdict_t verdict, const char *text)
{
    APR_ARRAY_PUSH(status->troubles, aq_trouble_t) = (aq_trouble_t){.verdict = verdict, .part = part, .text = text};
    if (verdict > status->part_verdicts[part]) {
        status->part_verdicts[part] = verdict;
    }
    if (verdict > status->verdict) {
        status->verdict = verdict;
    }
}

static const char *reason(apr_pool_t *p, apr_status_t rv)
{
    char text[160];

    return apr_pstrdup(p, apr_strerror(rv, text, sizeof(text)));
}

/* Redis is away, and this machine counts in its own shared memory meanwhile. */
static int is_counted_here(const aq_server_config_t *server)
{
    return server->redis != NULL && server->store_failure != AQ_STORE_FAILURE_DENY &&
           server->store_failure != AQ_STORE_FAILURE_ALLOW;
}

static void store_errors_judge(apr_pool_t *p, aq_status_t *status)
{
    const aq_server_config_t *server = status->health.server;
    const uint64_t count = status->health.store_errors_lately;

    if (is_counted_here(server)) {
        add(status, AQ_PART_STORE, AQ_VERDICT_WARNING,
            apr_psprintf(p,
                         "Redis failed %" APR_UINT64_T_FMT
                         " times in the last five minutes: requests were counted by this "
                         "machine alone.",
                         count));
        return;
    }
    add(status, AQ_PART_STORE, AQ_VERDICT_BAD,
        apr_psprintf(p, "%" APR_UINT64_T_FMT " requests could not be counted in the last five minutes: they %s.", count,
                     server->store_failure == AQ_STORE_FAILURE_DENY ? "were refused" : "passed uncounted"));
}

static void store_judge(apr_pool_t *p, aq_status_t *status)
{
    const aq_health_t *health = &status->health;
    const char *then = is_counted_here(health->server)                          ? "are counted by this machine alone"
                       : health->server->store_failure == AQ_STORE_FAILURE_DENY ? "are refused"
                                                                                : "pass uncounted";

    if (health->store_failure != APR_SUCCESS) {
        add(status, AQ_PART_STORE, AQ_VERDICT_BAD,
            apr_psprintf(p, "The counter store does not answer (%s): requests %s.", reason(p, health->store_failure),
                         then));
    }
    if (health->store_errors_lately != 0) {
        store_errors_judge(p, status);
    }
    if (health->slots != 0 && (double)health->counters_live > COUNTERS_WARNING * (double)health->slots) {
        add(status, AQ_PART_STORE, AQ_VERDICT_WARNING,
            "The counter table is filling up: give APIQuotaStore a larger size=, at a full stop and start.");
    }
}

static void keys_judge(apr_pool_t *p, aq_status_t *status)
{
    if (status->health.keys_are_failing) {
        add(status, AQ_PART_KEYS, AQ_VERDICT_BAD,
            "The keys file cannot be read: the keys read before stay in force, new and revoked ones are not.");
    }
    if (status->health.refused_entries != 0) {
        add(status, AQ_PART_KEYS, AQ_VERDICT_WARNING,
            apr_psprintf(p, "%u entries of the keys file are not in force; the error log names them.",
                         status->health.refused_entries));
    }
}

static void batches_judge(apr_pool_t *p, aq_status_t *status)
{
    const aq_health_t *health = &status->health;
    const int64_t queued = health->batches.by_status[AQ_BATCH_QUEUED];

    if (health->queue_failure != APR_SUCCESS) {
        add(status, AQ_PART_BATCHES, AQ_VERDICT_BAD,
            apr_psprintf(p, "Queue or spool cannot be used (%s): uploads are refused with 503.",
                         reason(p, health->queue_failure)));
    }
    if (!health->worker_is_up && (health->worker_is_wanted || queued != 0)) {
        add(status, AQ_PART_BATCHES, AQ_VERDICT_BAD,
            apr_psprintf(p, "No worker shows a sign of life: %" APR_INT64_T_FMT " batches wait, none is lost.",
                         queued));
    }
    if (health->queue_age_ms > QUEUE_AGE_WARNING_MS) {
        add(status, AQ_PART_BATCHES, AQ_VERDICT_WARNING,
            apr_psprintf(p, "A batch has waited for %" APR_INT64_T_FMT " minutes.",
                         health->queue_age_ms / AQ_MS_PER_S / AQ_S_PER_MIN));
    }
}

static void spool_judge(aq_status_t *status)
{
    const double max = (double)status->health.spool_max_bytes, used = (double)status->health.spool_bytes;

    if (max > 0 && used >= SPOOL_WARNING * max) {
        add(status, AQ_PART_SPOOL, used >= SPOOL_BAD * max ? AQ_VERDICT_BAD : AQ_VERDICT_WARNING,
            "The spool is filling up: uploads get 507 when it is full.");
    }
}

/* The worst first; what is equally bad stays in its order. There are few. */
static void troubles_sort(apr_array_header_t *troubles)
{
    aq_trouble_t *all = (aq_trouble_t *)troubles->elts;

    for (int i = 1; i < troubles->nelts; i++) {
        const aq_trouble_t one = all[i];
        int at = i;

        for (; at > 0 && all[at - 1].verdict < one.verdict; at--) {
            all[at] = all[at - 1];
        }
        all[at] = one;
    }
}

void aq_status_judge(apr_pool_t *p, aq_status_t *status)
{
    status->troubles = apr_array_make(p, 8, sizeof(aq_trouble_t));
    store_judge(p, status);
    if (status->health.has_keys) {
        keys_judge(p, status);
    }
    if (status->health.has_batches) {
        batches_judge(p, status);
        spool_judge(status);
    }
    troubles_sort(status->troubles);
}
