/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records in shared memory: the texts that were last read elsewhere under a digest, for all processes of this machine, and
 * kept over restarts in a file.
 *
 *      0 +---------------------------------------------+
 *        | header, one page                            |
 *        |    0  magic "AQRECRD1"          8           |
 *        |    8  secret of the checksums   32          |
 *        |   40  whose records these are   16          |
 *   4096 +---------------------------------------------+
 *        | 16,384 slots of 1,024 bytes, in sets of 4   |
 *        |    0  checksum                  16          |
 *        |   16  digest                    32          |
 *        |   48  known at, ms since 1970   8           |
 *        |   56  size of the text          8           |
 *        |   64  the text                  960         |
 *        +---------------------------------------------+
 *
 * No lock: a slot is written as it is, and whoever reads one copies it and looks at the keyed checksum over all of it. What
 * two wrote at once, or somebody was killed over, is then no record. Numbers are in the byte order of the machine. A set
 * that is full loses the record that was known longest ago. A file of another make, or of another owner, is replaced.
 */
#ifndef AQ_SHM_RECORDS_H
#define AQ_SHM_RECORDS_H

#include "base/aq_clock.h"
#include "base/aq_hash.h"

#include <apr_pools.h>

#define AQ_RECORD_TEXT_MAX 960

typedef struct aq_shm_records_t aq_shm_records_t;

typedef struct {
    aq_time_ms_t known_at_ms;
    size_t size;                       /* of the text; 0: it is known that there is none */
    char text[AQ_RECORD_TEXT_MAX + 1]; /* zero-terminated */
} aq_shm_record_t;

/*
 * Maps the file at `path`, made with mode 0600 where it is not there; its records are those of `owner`, which tells one
 * origin from another. Children that are forked later share it. Lives as long as `p`. Not thread-safe.
 */
apr_status_t aq_shm_records_open(apr_pool_t *p, const char *path, const char *owner, aq_shm_records_t **records);

/* 1 with `*record` where there is one for the digest. Thread-safe. */
int aq_shm_records_get(const aq_shm_records_t *records, const unsigned char digest[AQ_SHA256_BYTES],
                       aq_shm_record_t *record);

/*
 * Keeps `size` bytes of `text` for the digest; a text that is too long, or NULL, has what was kept before forgotten, so that
 * it is not believed any more. Thread-safe.
 */
void aq_shm_records_put(aq_shm_records_t *records, const unsigned char digest[AQ_SHA256_BYTES], const char *text,
                        size_t size, aq_time_ms_t known_at_ms);

#endif
