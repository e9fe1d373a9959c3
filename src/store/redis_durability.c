/* SPDX-License-Identifier: Apache-2.0 */
/* What a Redis has on disk when it answers. See redis_durability.h. */
#include "store/redis_durability.h"

#include "base/aq_log.h"
#include "store/redis_info.h"
#include "store/redis_queue_script.h"

#include <apr_strings.h>
#include <errno.h>
#include <string.h>

static const char *const names[] = {
    [AQ_REDIS_DURABLE_NONE] = "none",
    [AQ_REDIS_DURABLE_EVERYSEC] = "everysec",
    [AQ_REDIS_DURABLE_ALWAYS] = "always",
};

apr_status_t aq_redis_durability_parse(const char *word, aq_redis_durability_t *durability)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(word, names[i]) == 0) {
            *durability = (aq_redis_durability_t)i;
            return APR_SUCCESS;
        }
    }
    return APR_EGENERAL;
}

const char *aq_redis_durability_name(aq_redis_durability_t durability)
{
    return names[durability];
}

/* The server that has the queue, in a cluster one of several. */
static int server_of(const aq_redis_link_t *link)
{
    return aq_redis_link_server_of(link, AQ_REDIS_QUEUE_PREFIX);
}

/* What the server does; `*is_told` 0 where it will not say how its log is synced. */
static aq_redis_failure_t durability_find(aq_redis_link_t *link, aq_redis_durability_t *durability, int *is_told)
{
    const char *const persistence[] = {"INFO", "persistence", NULL};
    const char *const appendfsync[] = {"CONFIG", "GET", "appendfsync", NULL};
    const int server = server_of(link);
    char answer[AQ_REDIS_INFO_SIZE] = "";
    aq_redis_failure_t failure = aq_redis_info_ask(link, server, persistence, answer);

    *durability = AQ_REDIS_DURABLE_NONE;
    *is_told = 1;
    if (failure != AQ_REDIS_DONE || !aq_redis_info_has_line(answer, "aof_enabled:1")) {
        return failure;
    }
    (void)apr_cpystrn(answer, "?", sizeof(answer));
    failure = aq_redis_info_ask(link, server, appendfsync, answer);
    if (failure == AQ_REDIS_NOAUTH || failure == AQ_REDIS_OTHER || (failure == AQ_REDIS_DONE && answer[0] == '?')) {
        *is_told = 0;
        return AQ_REDIS_DONE;
    }
    /* "no": when the system likes. */
    (void)aq_redis_durability_parse(answer, durability);
    return failure;
}

apr_status_t aq_redis_durability_check(apr_pool_t *p, aq_redis_link_t *link, aq_redis_durability_t wanted,
                                       const char **error)
{
    const char *name = aq_redis_link_address(link)->name;
    aq_redis_durability_t found = AQ_REDIS_DURABLE_NONE;
    aq_redis_failure_t failure = AQ_REDIS_DONE;
    int is_told = 1;

    *error = NULL;
    if (wanted != AQ_REDIS_DURABLE_NONE) {
        failure = durability_find(link, &found, &is_told);
    }
    if (failure != AQ_REDIS_DONE) {
        *error = apr_psprintf(p, "%s does not answer (%s)", name, aq_redis_failure_name(failure));
        return ECONNREFUSED;
    }
    if (!is_told) {
        *error =
            apr_psprintf(p,
                         "%s does not say how it writes (CONFIG GET appendfsync is not allowed): allow that, or write "
                         "durability=none if what this may lose is known",
                         name);
    } else if (found < wanted) {
        *error = apr_psprintf(
            p,
            "%s acknowledges before it has written (%s) where durability=%s is wanted: set appendonly yes and "
            "appendfsync %s there, or write durability=%s, which may lose batches that were acknowledged",
            name, found == AQ_REDIS_DURABLE_NONE ? "no log, or one that is not synced" : "once a second", names[wanted],
            names[wanted], names[found]);
    }
    return *error == NULL ? APR_SUCCESS : APR_EGENERAL;
}

void aq_redis_durability_warn(aq_redis_link_t *link)
{
    const char *name = aq_redis_link_address(link)->name;
    const int server = server_of(link);

    aq_redis_link_quiet_set(link, 1);
    if (aq_redis_info_may_evict(link, server)) {
        AQ_LOG(AQ_LOG_WARNING, 440, APR_SUCCESS,
               "%s may throw batches away when its memory is full: set maxmemory-policy noeviction", name);
    }
    if (aq_redis_info_keeps_nothing(link, server)) {
        AQ_LOG(AQ_LOG_WARNING, 441, APR_SUCCESS,
               "%s keeps nothing on disk: a restart of it loses all batches; set appendonly yes", name);
    }
    aq_redis_link_quiet_set(link, 0);
}
