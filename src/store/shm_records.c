/* SPDX-License-Identifier: Apache-2.0 */
/* Records in a mapped file. See shm_records.h, which draws it. */
#include "store/shm_records.h"

#include "base/aq_file.h"

#include <apr_strings.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "AQRECRD1"
#define HEADER_BYTES 4096
#define SLOTS 16384
#define WAYS 4
#define FILE_BYTES (HEADER_BYTES + (size_t)SLOTS * sizeof(slot_t))

typedef struct {
    char magic[8];
    aq_hash_secret_t secret;
    aq_hash128_t owner;
} header_t;

typedef struct {
    aq_hash128_t checksum;
    unsigned char digest[AQ_SHA256_BYTES];
    int64_t known_at_ms;
    uint64_t size;
    char text[AQ_RECORD_TEXT_MAX];
} slot_t;

static_assert(sizeof(slot_t) == 1024, "a slot is 1,024 bytes");
static_assert(sizeof(header_t) <= HEADER_BYTES, "the header is one page");

/* Words that others may write at any moment. */
typedef struct {
    _Atomic uint64_t words[sizeof(slot_t) / sizeof(uint64_t)];
} shared_slot_t;

static_assert(sizeof(shared_slot_t) == sizeof(slot_t), "atomic words are plain in size");

struct aq_shm_records_t {
    header_t *header;
    shared_slot_t *slots;
};

/* ---- the file --------------------------------------------------------------------------------------------------- */

static apr_status_t records_unmap(void *data)
{
    return munmap(((aq_shm_records_t *)data)->header, FILE_BYTES) == 0 ? APR_SUCCESS : errno;
}

/* All of it is on the disk first, so that no later write finds the disk full. */
static apr_status_t file_map(int fd, aq_shm_records_t *records)
{
    const apr_status_t rv = aq_file_allocate(fd, FILE_BYTES);
    void *mapping = MAP_FAILED;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    mapping = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapping == MAP_FAILED) {
        return errno;
    }
    records->header = mapping;
    records->slots = (shared_slot_t *)(void *)((char *)mapping + HEADER_BYTES);
    return APR_SUCCESS;
}

static int is_of(const header_t *header, const char *owner)
{
    const aq_hash128_t hash = aq_hash_keyed(&header->secret, owner, strlen(owner));

    return memcmp(header->magic, MAGIC, sizeof(header->magic)) == 0 && header->owner.high == hash.high &&
           header->owner.low == hash.low;
}

/* Maps a file that is there. Another status than APR_SUCCESS: it is of no use. */
static apr_status_t file_use(const char *path, const char *owner, aq_shm_records_t *records)
{
    struct stat info;
    int fd;
    apr_status_t rv = aq_file_open(path, O_RDWR, 0, &fd);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = fstat(fd, &info) == 0 && info.st_size == (off_t)FILE_BYTES ? file_map(fd, records) : APR_EGENERAL;
    (void)close(fd);
    if (rv == APR_SUCCESS && !is_of(records->header, owner)) {
        (void)records_unmap(records);
        rv = APR_EGENERAL;
    }
    return rv;
}

/* Makes an empty one, in place of what is there: others may have that mapped, and go on with it. */
static apr_status_t file_make(const char *path, const char *owner, aq_shm_records_t *records)
{
    int fd;

    if (unlink(path) != 0 && errno != ENOENT) {
        return errno;
    }
    apr_status_t rv = aq_file_open(path, O_RDWR | O_CREAT | O_EXCL, 0600, &fd);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = file_map(fd, records);
    (void)close(fd);
    if (rv != APR_SUCCESS) {
        (void)unlink(path);
    }
    if (rv == APR_SUCCESS) {
        rv = aq_hash_random(&records->header->secret, sizeof(records->header->secret));
    }
    if (rv == APR_SUCCESS) {
        records->header->owner = aq_hash_keyed(&records->header->secret, owner, strlen(owner));
        memcpy(records->header->magic, MAGIC, sizeof(records->header->magic));
    }
    return rv;
}

apr_status_t aq_shm_records_open(apr_pool_t *p, const char *path, const char *owner, aq_shm_records_t **records)
{
    aq_shm_records_t *opened = apr_pcalloc(p, sizeof(*opened));

    *records = NULL;
    apr_status_t rv = file_use(path, owner, opened);
    if (rv != APR_SUCCESS) {
        rv = file_make(path, owner, opened);
    }
    if (rv == APR_SUCCESS) {
        apr_pool_cleanup_register(p, opened, records_unmap, apr_pool_cleanup_null);
        *records = opened;
    }
    return rv;
}

/* ---- slots ------------------------------------------------------------------------------------------------------ */

/* The first slot of the digest's set. */
static shared_slot_t *set_of(const aq_shm_records_t *records, const unsigned char *digest)
{
    uint64_t number;

    memcpy(&number, digest, sizeof(number));
    return &records->slots[number % (SLOTS / WAYS) * WAYS];
}

static aq_hash128_t checksum_of(const aq_shm_records_t *records, const slot_t *slot)
{
    return aq_hash_keyed(&records->header->secret, slot->digest,
                         sizeof(*slot) - offsetof(slot_t, digest) - AQ_RECORD_TEXT_MAX + slot->size);
}

/* A copy, whole or not: see slot_is_whole. */
static void slot_read(const shared_slot_t *shared, slot_t *slot)
{
    for (size_t i = 0; i < sizeof(*slot) / sizeof(uint64_t); i++) {
        const uint64_t word = atomic_load_explicit(&shared->words[i], memory_order_relaxed);
        memcpy((char *)slot + i * sizeof(word), &word, sizeof(word));
    }
}

static int slot_is_whole(const aq_shm_records_t *records, const slot_t *slot)
{
    if (slot->size > AQ_RECORD_TEXT_MAX) {
        return 0;
    }
    const aq_hash128_t checksum = checksum_of(records, slot);
    return checksum.high == slot->checksum.high && checksum.low == slot->checksum.low;
}

int aq_shm_records_get(const aq_shm_records_t *records, const unsigned char digest[AQ_SHA256_BYTES],
                       aq_shm_record_t *record)
{
    const shared_slot_t *set = set_of(records, digest);
    slot_t slot;

    for (int i = 0; i < WAYS; i++) {
        slot_read(&set[i], &slot);
        if (memcmp(slot.digest, digest, AQ_SHA256_BYTES) == 0 && slot_is_whole(records, &slot)) {
            record->known_at_ms = slot.known_at_ms;
            record->size = slot.size;
            memcpy(record->text, slot.text, slot.size);
            record->text[slot.size] = '\0';
            return 1;
        }
    }
    return 0;
}

/* The slot of that digest, else one that holds no record, else the one that was known longest ago. */
static shared_slot_t *slot_choose(const aq_shm_records_t *records, const unsigned char *digest, int *is_there)
{
    shared_slot_t *set = set_of(records, digest), *chosen = NULL;
    int64_t oldest_ms = INT64_MAX;
    slot_t slot;

    *is_there = 0;
    for (int i = 0; i < WAYS; i++) {
        slot_read(&set[i], &slot);
        if (memcmp(slot.digest, digest, AQ_SHA256_BYTES) == 0) {
            *is_there = 1;
            return &set[i];
        }
        const int64_t known_at_ms = slot_is_whole(records, &slot) ? slot.known_at_ms : INT64_MIN;
        if (!chosen || known_at_ms < oldest_ms) {
            chosen = &set[i];
            oldest_ms = known_at_ms;
        }
    }
    return chosen;
}

void aq_shm_records_put(aq_shm_records_t *records, const unsigned char digest[AQ_SHA256_BYTES], const char *text,
                        size_t size, aq_time_ms_t known_at_ms)
{
    const int is_kept = text && size <= AQ_RECORD_TEXT_MAX;
    int is_there;
    shared_slot_t *shared = slot_choose(records, digest, &is_there);
    slot_t slot = {.known_at_ms = known_at_ms, .size = is_kept ? size : 0};

    if (!is_kept && !is_there) {
        return;
    }
    memcpy(slot.digest, digest, AQ_SHA256_BYTES);
    if (is_kept) {
        memcpy(slot.text, text, size);
    }
    slot.checksum = checksum_of(records, &slot);
    for (size_t i = 0; i < sizeof(slot) / sizeof(uint64_t); i++) {
        uint64_t word;
        memcpy(&word, (const char *)&slot + i * sizeof(word), sizeof(word));
        atomic_store_explicit(&shared->words[i], word, memory_order_relaxed);
    }
}
