/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flag in front of the fcntl lock, and one deadline over both. (A mutex that is waited for by the monotonic clock would
 * do as well, but ThreadSanitizer does not know pthread_mutex_clocklock.) Waiting is in real time, so this is one of the
 * few places below the programs that read a clock.
 */
#include "store/sqlite_lock.h"

#include "base/aq_file.h"
#include "base/aq_log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

apr_status_t aq_sqlite_waiting_init(pthread_mutex_t *mutex, pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    int rc = pthread_condattr_init(&attributes);

    if (rc != 0) {
        return rc;
    }
    if ((rc = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)) == 0 &&
        (rc = pthread_cond_init(condition, &attributes)) == 0 && (rc = pthread_mutex_init(mutex, NULL)) != 0) {
        (void)pthread_cond_destroy(condition);
    }
    (void)pthread_condattr_destroy(&attributes);
    return rc;
}

struct timespec aq_sqlite_wait_until(int wait_ms)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    return until;
}

apr_status_t aq_sqlite_lock_open(aq_sqlite_lock_t *lock, const char *path, int wait_ms)
{
    struct stat info;

    *lock = (aq_sqlite_lock_t){.fd = -1, .wait_ms = wait_ms};
    apr_status_t rv = aq_file_open(path, O_RDWR | O_CREAT, 0600, &lock->fd);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (fstat(lock->fd, &info) != 0) {
        rv = errno;
    } else if (!S_ISREG(info.st_mode) || info.st_uid != geteuid()) {
        rv = EPERM;
    } else {
        rv = aq_sqlite_waiting_init(&lock->mutex, &lock->given);
    }
    if (rv != APR_SUCCESS) {
        (void)close(lock->fd);
        lock->fd = -1;
    }
    return rv;
}

void aq_sqlite_lock_close(aq_sqlite_lock_t *lock)
{
    if (lock->fd >= 0) {
        (void)close(lock->fd);
        lock->fd = -1;
        (void)pthread_cond_destroy(&lock->given);
        (void)pthread_mutex_destroy(&lock->mutex);
    }
}

static apr_status_t flag_take(aq_sqlite_lock_t *lock, int wait_ms)
{
    const struct timespec until = aq_sqlite_wait_until(wait_ms);
    int rc = 0;

    (void)pthread_mutex_lock(&lock->mutex);
    while (lock->is_taken && rc == 0) {
        rc = pthread_cond_timedwait(&lock->given, &lock->mutex, &until);
    }
    int is_ours = !lock->is_taken;
    lock->is_taken = 1;
    (void)pthread_mutex_unlock(&lock->mutex);
    return is_ours ? APR_SUCCESS : APR_EBUSY;
}

static void flag_give(aq_sqlite_lock_t *lock)
{
    (void)pthread_mutex_lock(&lock->mutex);
    lock->is_taken = 0;
    (void)pthread_cond_signal(&lock->given);
    (void)pthread_mutex_unlock(&lock->mutex);
}

apr_status_t aq_sqlite_lock_take(aq_sqlite_lock_t *lock, int wait_ms, int *left_ms)
{
    aq_time_ms_t began_ms = aq_clock_boot_ms();
    apr_status_t rv = flag_take(lock, wait_ms);

    *left_ms = 0;
    if (rv != APR_SUCCESS) {
        return rv;
    }
    aq_time_ms_t left = wait_ms - (aq_clock_boot_ms() - began_ms);
    rv = aq_file_lock(lock->fd, left > 0 ? (int)left : 0);
    if (rv != APR_SUCCESS) {
        flag_give(lock);
        return rv;
    }
    left = wait_ms - (aq_clock_boot_ms() - began_ms);
    *left_ms = left > 0 ? (int)left : 0;
    return APR_SUCCESS;
}

void aq_sqlite_lock_give(aq_sqlite_lock_t *lock)
{
    apr_status_t rv = aq_file_unlock(lock->fd);

    if (rv != APR_SUCCESS) {
        AQ_LOG(AQ_LOG_CRIT, 400, rv, "queue: the write lock cannot be given back");
    }
    flag_give(lock);
}
