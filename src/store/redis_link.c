/* SPDX-License-Identifier: Apache-2.0 */
/* The link to a Redis server: asking, the circuit breaker, what went wrong how often. See redis_link.h. */
#include "store/redis_private.h"

#include "base/aq_log.h"
#include "base/aq_metrics.h"

#include <apr_strings.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAUSE_MIN_MS INT64_C(100)
#define PAUSE_MAX_MS INT64_C(400)
/* So long a try to reach a server that was down may last: nobody waits for it. */
#define TRY_BUDGET_MS INT64_C(250)
#define LOG_PAUSE_MS INT64_C(1000)

static const char *const failure_names[AQ_REDIS_FAILURES] = {
    [AQ_REDIS_DONE] = "done",           [AQ_REDIS_DOWN] = "down",       [AQ_REDIS_TIMEOUT] = "timeout",
    [AQ_REDIS_REFUSED] = "refused",     [AQ_REDIS_CLOSED] = "closed",   [AQ_REDIS_PROTOCOL] = "protocol",
    [AQ_REDIS_NOSCRIPT] = "noscript",   [AQ_REDIS_OOM] = "oom",         [AQ_REDIS_MISCONF] = "misconf",
    [AQ_REDIS_READONLY] = "readonly",   [AQ_REDIS_LOADING] = "loading", [AQ_REDIS_NOAUTH] = "noauth",
    [AQ_REDIS_WRONGTYPE] = "wrongtype", [AQ_REDIS_BUSY] = "busy",       [AQ_REDIS_OTHER] = "other",
    [AQ_REDIS_MARK] = "mark",
};

const char *aq_redis_failure_name(aq_redis_failure_t failure)
{
    return failure_names[failure];
}

/* ---- opening ---------------------------------------------------------------------------------------------------- */

static void connection_destroy(void *data)
{
    aq_redis_connection_close(data);
    free(data);
}

static apr_status_t link_cleanup(void *data)
{
    aq_redis_link_t *link = data;
    aq_redis_connection_t *own = pthread_getspecific(link->connections);

    if (own != NULL) {
        (void)pthread_setspecific(link->connections, NULL);
        connection_destroy(own);
    }
    (void)pthread_key_delete(link->connections);
    (void)munmap(link->shared, sizeof(*link->shared));
    return APR_SUCCESS;
}

static apr_status_t shared_map(aq_redis_link_t *link)
{
    void *mapping = mmap(NULL, sizeof(*link->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (mapping == MAP_FAILED) {
        return APR_FROM_OS_ERROR(errno);
    }
    link->shared = mapping;
    return APR_SUCCESS;
}

apr_status_t aq_redis_link_open(apr_pool_t *p, const aq_redis_address_t *address, aq_redis_link_t **link,
                                const char **error)
{
    aq_redis_link_t *opened = apr_pcalloc(p, sizeof(*opened));
    apr_status_t rv;

    *link = NULL;
    *error = aq_redis_tls_prepare(p, address, &opened->tls);
    if (*error != NULL) {
        return APR_EGENERAL;
    }
    opened->address = address;
    opened->p = p;
    opened->budget_ms = address->budget_ms;
    opened->pause_ms = PAUSE_MIN_MS;
    rv = shared_map(opened);
    if (rv == APR_SUCCESS) {
        rv = apr_thread_mutex_create(&opened->lock, APR_THREAD_MUTEX_DEFAULT, p);
    }
    if (rv == APR_SUCCESS && !aq_redis_bounds_prepare()) {
        rv = APR_ENOMEM;
    }
    if (rv == APR_SUCCESS && pthread_key_create(&opened->connections, connection_destroy) != 0) {
        rv = APR_EGENERAL;
    }
    if (rv != APR_SUCCESS) {
        *error = "the link to Redis cannot be prepared";
        return rv;
    }
    apr_pool_cleanup_register(p, opened, link_cleanup, apr_pool_cleanup_null);
    atomic_store(&opened->is_down, !aq_redis_resolve(opened));
    *link = opened;
    return APR_SUCCESS;
}

void aq_redis_link_budget_set(aq_redis_link_t *link, int64_t budget_ms)
{
    link->budget_ms = budget_ms;
}

void aq_redis_link_quiet_set(aq_redis_link_t *link, int is_quiet)
{
    link->is_quiet = is_quiet;
}

const aq_redis_address_t *aq_redis_link_address(const aq_redis_link_t *link)
{
    return link->address;
}

void aq_redis_link_mark(aq_redis_link_t *link, const char *key, const char *value)
{
    link->mark_value = apr_pstrdup(link->p, value);
    link->mark_key = apr_pstrdup(link->p, key);
}

/* ---- failures and the breaker ----------------------------------------------------------------------------------- */

/* Of a connection, and not an error that the server answered. */
static int is_of_connection(aq_redis_failure_t failure)
{
    return failure == AQ_REDIS_TIMEOUT || failure == AQ_REDIS_REFUSED || failure == AQ_REDIS_CLOSED ||
           failure == AQ_REDIS_PROTOCOL || failure == AQ_REDIS_MARK;
}

static uint64_t failures_total(const aq_redis_link_t *link)
{
    uint64_t total = 0;

    for (int i = AQ_REDIS_DOWN; i < AQ_REDIS_FAILURES; i++) {
        total += atomic_load(&link->shared->failures[i]);
    }
    return total;
}

/* What a failure is to the metrics. */
static aq_store_error_t error_of(aq_redis_failure_t failure)
{
    static const aq_store_error_t errors[AQ_REDIS_FAILURES] = {
        [AQ_REDIS_DONE] = AQ_STORE_ERROR_OTHER,        [AQ_REDIS_DOWN] = AQ_STORE_ERROR_BREAKER,
        [AQ_REDIS_TIMEOUT] = AQ_STORE_ERROR_TIMEOUT,   [AQ_REDIS_REFUSED] = AQ_STORE_ERROR_CONNECTION,
        [AQ_REDIS_CLOSED] = AQ_STORE_ERROR_CONNECTION, [AQ_REDIS_PROTOCOL] = AQ_STORE_ERROR_ANSWER,
        [AQ_REDIS_NOSCRIPT] = AQ_STORE_ERROR_OTHER,    [AQ_REDIS_OOM] = AQ_STORE_ERROR_FULL,
        [AQ_REDIS_MISCONF] = AQ_STORE_ERROR_READONLY,  [AQ_REDIS_READONLY] = AQ_STORE_ERROR_READONLY,
        [AQ_REDIS_LOADING] = AQ_STORE_ERROR_LOADING,   [AQ_REDIS_NOAUTH] = AQ_STORE_ERROR_REFUSED,
        [AQ_REDIS_WRONGTYPE] = AQ_STORE_ERROR_ANSWER,  [AQ_REDIS_BUSY] = AQ_STORE_ERROR_OTHER,
        [AQ_REDIS_OTHER] = AQ_STORE_ERROR_OTHER,       [AQ_REDIS_MARK] = AQ_STORE_ERROR_OTHER,
    };

    return errors[failure];
}

void aq_redis_failure_note(aq_redis_link_t *link, aq_redis_failure_t failure)
{
    aq_store_error_count(error_of(failure));
    const int64_t now_ms = aq_clock_boot_ms();
    int64_t logged_ms = atomic_load(&link->shared->logged_ms);

    atomic_fetch_add(&link->shared->failures[failure], 1);
    if (failure != AQ_REDIS_DOWN && !link->is_quiet && (logged_ms == 0 || now_ms - logged_ms >= LOG_PAUSE_MS) &&
        atomic_compare_exchange_strong(&link->shared->logged_ms, &logged_ms, now_ms)) {
        AQ_LOG(AQ_LOG_ERROR, 420, APR_SUCCESS,
               "%s failed: %s (%" APR_UINT64_T_FMT " calls failed so far, of all processes since the start)",
               link->address->name, aq_redis_failure_name(failure), failures_total(link));
    }
}

static void breaker_open(aq_redis_link_t *link, aq_redis_failure_t failure)
{
    int was_down = 0;

    if (atomic_compare_exchange_strong(&link->is_down, &was_down, 1)) {
        atomic_store(&link->pause_ms, PAUSE_MIN_MS);
        atomic_store(&link->try_at_ms, aq_clock_boot_ms() + PAUSE_MIN_MS);
        AQ_LOG(AQ_LOG_INFO, 421, APR_SUCCESS, "%s: %s; this process asks it no more until it answers a try",
               link->address->name, aq_redis_failure_name(failure));
    }
}

/* What a call comes to. */
static aq_redis_failure_t call_end(aq_redis_connection_t *connection, aq_redis_failure_t failure)
{
    if (failure == AQ_REDIS_DONE) {
        return failure;
    }
    aq_redis_failure_note(connection->link, failure);
    if (is_of_connection(failure)) {
        aq_redis_connection_close(connection);
        breaker_open(connection->link, failure);
    }
    return failure;
}

void aq_redis_link_release(aq_redis_link_t *link)
{
    aq_redis_connection_t *own = pthread_getspecific(link->connections);

    if (own != NULL) {
        aq_redis_connection_close(own);
    }
}

int aq_redis_link_is_down(const aq_redis_link_t *link)
{
    return atomic_load_explicit(&link->is_down, memory_order_relaxed);
}

/* ---- calls ------------------------------------------------------------------------------------------------------ */

static aq_redis_failure_t ask_until(aq_redis_connection_t *connection, const aq_redis_command_t *command,
                                    aq_time_ms_t deadline_ms, aq_redis_read_fn *read, void *data)
{
    aq_redis_failure_t failure = aq_redis_connection_add(connection, command);

    if (failure == AQ_REDIS_DONE) {
        failure = aq_redis_connection_flush(connection, deadline_ms);
    }
    if (failure == AQ_REDIS_DONE) {
        atomic_fetch_add_explicit(&connection->link->shared->waits, 1, memory_order_relaxed);
        failure = aq_redis_connection_read(connection, deadline_ms, read, data);
    }
    return failure;
}

/* The thread's connection, for a call; NULL where nothing can be tried, with `*failure` said. */
static aq_redis_connection_t *call_begin(aq_redis_link_t *link, aq_time_ms_t deadline_ms, aq_redis_failure_t *failure)
{
    aq_redis_connection_t *connection;

    *failure = AQ_REDIS_DOWN;
    if (aq_redis_link_is_down(link)) {
        aq_redis_failure_note(link, AQ_REDIS_DOWN);
        return NULL;
    }
    connection = aq_redis_connection_get(link);
    if (connection != NULL) {
        *failure = aq_redis_connection_ready(connection, deadline_ms);
    }
    return connection;
}

aq_redis_failure_t aq_redis_ask(aq_redis_link_t *link, const aq_redis_command_t *command,
                                const aq_redis_command_t *otherwise, aq_redis_read_fn *read, void *data)
{
    const aq_time_ms_t deadline_ms = aq_redis_deadline(link);
    aq_redis_failure_t failure;
    aq_redis_connection_t *connection = call_begin(link, deadline_ms, &failure);

    if (connection == NULL) {
        return failure;
    }
    if (failure == AQ_REDIS_DONE) {
        failure = ask_until(connection, command, deadline_ms, read, data);
    }
    if (failure == AQ_REDIS_NOSCRIPT && otherwise != NULL) {
        failure = ask_until(connection, otherwise, deadline_ms, read, data);
    }
    return call_end(connection, failure);
}

aq_redis_failure_t aq_redis_send(aq_redis_link_t *link, const aq_redis_command_t *command)
{
    const aq_time_ms_t deadline_ms = aq_redis_deadline(link);
    aq_redis_failure_t failure;
    aq_redis_connection_t *connection = call_begin(link, deadline_ms, &failure);

    if (connection == NULL) {
        return failure;
    }
    if (failure == AQ_REDIS_DONE) {
        failure = aq_redis_connection_add(connection, command);
    }
    if (failure == AQ_REDIS_DONE) {
        failure = aq_redis_connection_flush(connection, deadline_ms);
    }
    connection->unread += failure == AQ_REDIS_DONE;
    return call_end(connection, failure);
}

/* ---- coming back ------------------------------------------------------------------------------------------------ */

static aq_redis_failure_t server_try(aq_redis_link_t *link)
{
    static const char *ping[] = {"PING"};
    static const size_t size[] = {4};
    static const aq_redis_command_t command = {.count = 1, .words = ping, .sizes = size};
    const aq_time_ms_t deadline_ms = aq_clock_boot_ms() + TRY_BUDGET_MS;
    aq_redis_connection_t *connection = aq_redis_resolve(link) ? aq_redis_connection_get(link) : NULL;
    aq_redis_failure_t failure = AQ_REDIS_REFUSED;

    if (connection != NULL) {
        failure = aq_redis_connection_ready(connection, deadline_ms);
    }
    if (failure == AQ_REDIS_DONE) {
        failure = ask_until(connection, &command, deadline_ms, NULL, NULL);
    }
    if (connection != NULL && failure != AQ_REDIS_DONE) {
        aq_redis_connection_close(connection);
    }
    return failure;
}

int aq_redis_link_tend(aq_redis_link_t *link)
{
    const int64_t pause_ms = atomic_load(&link->pause_ms) * 2;
    aq_redis_failure_t failure;

    if (!aq_redis_link_is_down(link) || aq_clock_boot_ms() < atomic_load(&link->try_at_ms)) {
        return 0;
    }
    failure = server_try(link);
    if (failure == AQ_REDIS_DONE) {
        atomic_store(&link->is_down, 0);
        AQ_LOG(AQ_LOG_INFO, 422, APR_SUCCESS, "%s answers again", link->address->name);
        return 1;
    }
    aq_redis_failure_note(link, failure);
    atomic_store(&link->pause_ms, pause_ms < PAUSE_MAX_MS ? pause_ms : PAUSE_MAX_MS);
    atomic_store(&link->try_at_ms, aq_clock_boot_ms() + atomic_load(&link->pause_ms));
    return 0;
}

void aq_redis_link_failures(const aq_redis_link_t *link, uint64_t counts[AQ_REDIS_FAILURES])
{
    for (int i = 0; i < AQ_REDIS_FAILURES; i++) {
        counts[i] = atomic_load(&link->shared->failures[i]);
    }
}

uint64_t aq_redis_link_waits(const aq_redis_link_t *link)
{
    return atomic_load(&link->shared->waits);
}
