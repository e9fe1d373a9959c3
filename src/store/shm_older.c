/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The older layouts, one after the other; each says how it differs from the next.
 *
 * Version 1. A counter lay at home or in one of the 127 slots right behind, where it now lies one to 64 slots a step away.
 * A life of 30 was a window of seventeen years and more, where it now means members. There was no number of owners. Tag and
 * words are the same, and the tag alone says where a counter belongs.
 */
#include "store/shm_older.h"

#include "store/shm_file_parts.h"

static const char *first_wrong(const aq_shm_header_t *header, uint64_t size_bytes)
{
    return aq_shm_header_wrong_as(header, size_bytes, 1);
}

/* Whether a life of 30 are members or seventeen years cannot be told: neither is worth keeping over a full stop. */
static int first_slot_carry(const aq_shm_table_t *to, const aq_shm_slot_t *from)
{
    const uint64_t life = (atomic_load(&from->tag) & AQ_SHM_LIFE_MASK) >> AQ_SHM_LIFE_SHIFT;

    return life == AQ_LIFE_MEMBERS || aq_shm_table_copy_in(to, from);
}

static void first_header_carry(aq_shm_header_t *to, const aq_shm_header_t *from)
{
    atomic_store(&to->overflows, atomic_load(&from->overflows));
}

static const aq_shm_older_t older[] = {
    {.version = 1, .wrong = first_wrong, .slot_carry = first_slot_carry, .header_carry = first_header_carry},
};

const aq_shm_older_t *aq_shm_older_find(uint32_t version)
{
    for (size_t i = 0; i < sizeof(older) / sizeof(older[0]); i++) {
        if (older[i].version == version) {
            return &older[i];
        }
    }
    return NULL;
}
