/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layout of the counter file, version 2. Numbers are in the byte order of the machine, which the header names.
 *
 *      0 +----------------------------------------------------------+
 *        | header, one page                                         |
 *        |    0  magic "AQCOUNT\n"          8                       |
 *        |    8  version                    4                       |
 *        |   12  byte order mark            4   0x01020304          |
 *        |   16  size of the header         4   4096                |
 *        |   20  size of a slot             4   64                  |
 *        |   24  number of slots            8                       |
 *        |   32  size of the file           8                       |
 *        |   40  made at                    8   UTC milliseconds    |
 *        |   48  secret of the hashes      32                       |
 *        |   80  SHA-256 of the first 80   32                       |
 *        |  112  zero                                               |
 *        | 2048  takes without a place      8   \  change all the   |
 *        | 2056  second of the last alert   8   /  time, unchecked  |
 *        | 2064  number of the newest owner 8      see owners.h     |
 *        | 2072  zero                                               |
 *   4096 +----------------------------------------------------------+
 *        | slot 0                                                   |
 *        |    0  tag                        8                       |
 *        |    8  seven words                7 * 8   see window.h    |
 *   4160 +----------------------------------------------------------+
 *        | slot 1 ...                                               |
 *        +----------------------------------------------------------+
 *
 * The tag says whose counter the slot holds. 0: never used.
 *
 *      63                                  12 11      7   6  5   4 3          0
 *     +--------------------------------------+---------+---+-----+------------+
 *     |   upper 52 bits of the key's `low`   |  life   | i |state| generation |
 *     +--------------------------------------+---------+---+-----+------------+
 *
 *   life        a counter is dead 2^class seconds after the start of its newest word; 31: it never dies; 30: its words are
 *               members (shm_members.h), it is dead a second after its newest word when none is claimed
 *   i           1 where anyone can invent such subjects; they may fill three quarters of the table, no more
 *   state       1 live, 2 pending (being inserted), 3 freed (an insertion that was given up)
 *   generation  goes up by one whenever the slot gets another owner or state begins anew, so that a process that slept
 *               in between does not take the new for the old
 *
 * A counter's home is its hash, scaled to the number of slots; it lies there or one, two, three ... up to 127 steps
 * behind, where a step is 1 to 64 slots by the hash's lowest bits. Since the tag alone says all this, a file can be
 * carried over into one of another size.
 *
 * Whatever is changed here takes the next version, and the layout until then a row in shm_older.c, which carries its files
 * over. The first 16 bytes are the same in all versions.
 */
#ifndef AQ_SHM_LAYOUT_H
#define AQ_SHM_LAYOUT_H

#include "base/aq_hash.h"
#include "limit/plan.h"

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>

#define AQ_SHM_MAGIC "AQCOUNT\n"
#define AQ_SHM_VERSION UINT32_C(2)
#define AQ_SHM_BYTE_ORDER UINT32_C(0x01020304)
#define AQ_SHM_HEADER_SIZE 4096
#define AQ_SHM_SLOT_SIZE 64
#define AQ_SHM_CHECKED_SIZE 80

typedef struct {
    char magic[8];
    uint32_t version;
    uint32_t byte_order;
    uint32_t header_size;
    uint32_t slot_size;
    uint64_t slot_count;
    uint64_t size_bytes;
    int64_t made_at_ms;
    aq_hash_secret_t secret;
    unsigned char checksum[AQ_SHA256_BYTES];
    unsigned char zero[2048 - AQ_SHM_CHECKED_SIZE - AQ_SHA256_BYTES];
    _Atomic uint64_t overflows;
    _Atomic uint64_t alerted_at_s;
    _Atomic uint64_t owners;
    unsigned char zero_too[2048 - 24];
} aq_shm_header_t;

typedef struct {
    _Alignas(AQ_SHM_SLOT_SIZE) _Atomic uint64_t tag;
    _Atomic uint64_t words[AQ_WINDOW_WORDS];
} aq_shm_slot_t;

static_assert(offsetof(aq_shm_header_t, version) == 8, "layout");
static_assert(offsetof(aq_shm_header_t, byte_order) == 12, "layout");
static_assert(offsetof(aq_shm_header_t, header_size) == 16, "layout");
static_assert(offsetof(aq_shm_header_t, slot_size) == 20, "layout");
static_assert(offsetof(aq_shm_header_t, slot_count) == 24, "layout");
static_assert(offsetof(aq_shm_header_t, size_bytes) == 32, "layout");
static_assert(offsetof(aq_shm_header_t, made_at_ms) == 40, "layout");
static_assert(offsetof(aq_shm_header_t, secret) == 48, "layout");
static_assert(offsetof(aq_shm_header_t, checksum) == AQ_SHM_CHECKED_SIZE, "layout");
static_assert(offsetof(aq_shm_header_t, overflows) == 2048, "layout");
static_assert(offsetof(aq_shm_header_t, alerted_at_s) == 2056, "layout");
static_assert(offsetof(aq_shm_header_t, owners) == 2064, "layout");
static_assert(sizeof(aq_shm_header_t) == AQ_SHM_HEADER_SIZE, "layout");
static_assert(offsetof(aq_shm_slot_t, tag) == 0, "layout");
static_assert(offsetof(aq_shm_slot_t, words) == 8, "layout");
static_assert(sizeof(aq_shm_slot_t) == AQ_SHM_SLOT_SIZE, "layout");
static_assert(AQ_LIFE_ENDLESS == 31, "the life has five bits");
static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && sizeof(_Atomic uint64_t) == 8, "words are shared between processes");

#define AQ_SHM_GENERATION_MASK UINT64_C(0xf)
#define AQ_SHM_STATE_SHIFT 4
#define AQ_SHM_STATE_MASK (UINT64_C(3) << AQ_SHM_STATE_SHIFT)
#define AQ_SHM_LIVE (UINT64_C(1) << AQ_SHM_STATE_SHIFT)
#define AQ_SHM_PENDING (UINT64_C(2) << AQ_SHM_STATE_SHIFT)
#define AQ_SHM_FREED (UINT64_C(3) << AQ_SHM_STATE_SHIFT)
#define AQ_SHM_INVENTED (UINT64_C(1) << 6)
#define AQ_SHM_LIFE_SHIFT 7
#define AQ_SHM_LIFE_MASK (UINT64_C(31) << AQ_SHM_LIFE_SHIFT)
#define AQ_SHM_HASH_SHIFT 12
#define AQ_SHM_HASH_MASK (~UINT64_C(0xfff))

#endif
