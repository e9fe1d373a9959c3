/* SPDX-License-Identifier: Apache-2.0 */
/* The processes that hold places. See owners.h. */
#include "store/owners.h"

#include "base/aq_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define FILE_MODE 0600
#define NUMBER_TRIES 1000
/* Asking the kernel costs more than anything else in a charge: an answer holds for so long. */
#define ALIVE_MS 100
#define ALIVE_SLOTS 64

struct aq_owners_t {
    int fd;
    _Atomic uint64_t *last;              /* NULL: opened to look */
    _Atomic uint64_t self;               /* process id << 32 | number: a forked child is another owner */
    _Atomic uint64_t alive[ALIVE_SLOTS]; /* number << 32 | when it was seen alive, in units of ALIVE_MS */
};

static apr_status_t owners_close(void *data)
{
    aq_owners_t *owners = data;

    (void)close(owners->fd);
    owners->fd = -1;
    return APR_SUCCESS;
}

apr_status_t aq_owners_open(apr_pool_t *p, const char *path, _Atomic uint64_t *last, aq_owners_t **owners)
{
    aq_owners_t *opened = apr_pcalloc(p, sizeof(*opened));
    apr_status_t rv = aq_file_open(path, last != NULL ? O_RDWR | O_CREAT : O_RDONLY, FILE_MODE, &opened->fd);

    *owners = NULL;
    if (rv != APR_SUCCESS) {
        return rv;
    }
    opened->last = last;
    apr_pool_cleanup_register(p, opened, owners_close, apr_pool_cleanup_null);
    *owners = opened;
    return APR_SUCCESS;
}

int aq_owners_is_writable(const aq_owners_t *owners)
{
    return owners->last != NULL;
}

/* Locks, or asks for the lock of, the byte of a number. */
static apr_status_t byte_lock(const aq_owners_t *owners, int command, uint32_t number, struct flock *lock)
{
    int rc;

    *lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)number, .l_len = 1};
    do {
        rc = fcntl(owners->fd, command, lock);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 ? APR_SUCCESS : errno;
}

/* A number that nobody has, its byte locked. Two threads that come here at once take two; one of them is not used. */
static apr_status_t number_take(aq_owners_t *owners, uint32_t *number)
{
    apr_status_t rv = APR_EAGAIN;

    for (int tries = 0; tries < NUMBER_TRIES && (rv == APR_EAGAIN || rv == EACCES); tries++) {
        struct flock lock;

        *number = (uint32_t)(atomic_fetch_add(owners->last, 1) + 1);
        if (*number != 0) {
            rv = byte_lock(owners, F_SETLK, *number, &lock);
        }
    }
    return rv;
}

apr_status_t aq_owners_self(aq_owners_t *owners, uint32_t *self)
{
    const uint64_t process = (uint64_t)getpid();
    uint64_t known = atomic_load(&owners->self);
    apr_status_t rv;

    *self = (uint32_t)known;
    if (known >> 32 == process && *self != 0) {
        return APR_SUCCESS;
    }
    rv = number_take(owners, self);
    if (rv == APR_SUCCESS && !atomic_compare_exchange_strong(&owners->self, &known, process << 32 | *self)) {
        *self = (uint32_t)known;
    }
    return rv;
}

int aq_owners_is_alive(aq_owners_t *owners, uint32_t owner, aq_time_ms_t now_ms)
{
    _Atomic uint64_t *seen = &owners->alive[owner % ALIVE_SLOTS];
    const uint64_t here_and_now = (uint64_t)owner << 32 | (uint32_t)(now_ms / ALIVE_MS);
    struct flock lock;

    /* The kernel tells nobody of locks of their own. */
    if (atomic_load(&owners->self) == ((uint64_t)getpid() << 32 | owner) || atomic_load(seen) == here_and_now) {
        return 1;
    }
    if (byte_lock(owners, F_GETLK, owner, &lock) == APR_SUCCESS && lock.l_type == F_UNLCK) {
        return 0;
    }
    atomic_store(seen, here_and_now);
    return 1;
}
