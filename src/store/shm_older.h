/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counter files of older layouts: how they are known, and which of their counters are taken into a file of this one.
 *
 * A table has a row for each older version. An upgrade is a resize whose old file is of another layout: a new file is
 * written beside it and takes its name when it is complete, so that a crash on the way leaves the old one. The old one is
 * kept as PATH.version-N, for who has to go back.
 */
#ifndef AQ_SHM_OLDER_H
#define AQ_SHM_OLDER_H

#include "store/shm_table.h"

typedef struct {
    uint32_t version;
    /* Why a file that begins so, with the sizes that it says, is none of that version; NULL: it is one. */
    const char *(*wrong)(const aq_shm_header_t *header, uint64_t size_bytes);
    /* Puts a slot that holds a live counter into the new table. 0 where there is no place. */
    int (*slot_carry)(const aq_shm_table_t *to, const aq_shm_slot_t *from);
    /* What of the header's second half is carried over. */
    void (*header_carry)(aq_shm_header_t *to, const aq_shm_header_t *from);
} aq_shm_older_t;

/* The row of that version; NULL: there was none, or it is this one. */
const aq_shm_older_t *aq_shm_older_find(uint32_t version);

#endif
