/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The place of a key's byte, and the lock on it. Two keys that fall on one place (one pair in 2^62) exclude each other for
 * the time of an upload, no more.
 */
#include "batch/upload_lock.h"

#include "base/aq_file.h"
#include "base/aq_hash.h"
#include "batch/spool_private.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME "/uploading"

/* The tenant with its ending zero keeps ("a", "bc") apart from ("ab", "c"). */
static apr_status_t place_of(apr_pool_t *ptemp, const char *tenant, const char *idempotency_key, off_t *place)
{
    size_t tenant_size = strlen(tenant) + 1, key_size = strlen(idempotency_key);
    char *joined = apr_palloc(ptemp, tenant_size + key_size);
    unsigned char digest[AQ_SHA256_BYTES];

    memcpy(joined, tenant, tenant_size);
    memcpy(joined + tenant_size, idempotency_key, key_size);
    apr_status_t rv = aq_hash_sha256(joined, tenant_size + key_size, digest);
    *place = 0;
    for (size_t i = 0; i < sizeof(*place); i++) {
        *place = (off_t)((uint64_t)*place << 8 | digest[i]);
    }
    *place = (off_t)((uint64_t)*place >> 2);
    return rv;
}

static apr_status_t byte_lock(int fd, short type, off_t place)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = place, .l_len = 1};
    int rc;

    do {
        rc = fcntl(fd, F_OFD_SETLK, &lock);
    } while (rc != 0 && errno == EINTR);
    if (rc == 0) {
        return APR_SUCCESS;
    }
    return errno == EAGAIN || errno == EACCES ? APR_EBUSY : errno;
}

typedef struct {
    int fd;
    off_t place;
} held_t;

/* Unlocked first: a process forked meanwhile may have the open file too, until it runs its program. */
static apr_status_t held_end(void *data)
{
    const held_t *held = data;

    (void)byte_lock(held->fd, F_UNLCK, held->place);
    (void)close(held->fd);
    return APR_SUCCESS;
}

apr_status_t aq_upload_lock_take(const aq_spool_t *spool, apr_pool_t *p, const char *tenant,
                                 const char *idempotency_key)
{
    held_t *held = apr_palloc(p, sizeof(*held));
    apr_status_t rv = place_of(p, tenant, idempotency_key, &held->place);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = aq_file_open(apr_pstrcat(p, spool->folder, FILE_NAME, NULL), O_RDWR | O_CREAT, 0600, &held->fd);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = byte_lock(held->fd, F_WRLCK, held->place);
    if (rv != APR_SUCCESS) {
        (void)close(held->fd);
        return rv;
    }
    apr_pool_cleanup_register(p, held, held_end, apr_pool_cleanup_null);
    return APR_SUCCESS;
}
