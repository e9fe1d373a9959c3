/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of slots. See shm_table.h.
 *
 * Slots leave the state "never used" once and for all, so a search may stop at the first such slot: what is inserted
 * takes the first slot on its way that is free, and only slots before it were passed.
 *
 * One counter, one slot. An inserter
 *
 *      1  claims a slot: compare-and-swap of its tag to (own, pending), with a new generation
 *      2  clears the words
 *      3  looks at every slot where the counter may lie. If one is live: gives its own up and takes that. If one before
 *         its own is pending: gives its own up and begins again. If one behind its own is pending: frees that
 *      4  confirms: compare-and-swap of its tag to (own, live); where it was freed meanwhile, begins again
 *
 * Say two inserters, X at a slot before Y's, both confirm. All these operations have one total order (all are
 * sequentially consistent). Y has not seen X's claim in its step 3, so that look came before X's claim, hence before
 * X's own step 3. Y's claim came before Y's look. So X in step 3 sees Y's slot pending or live. Live: X gives up.
 * Pending: X frees it; if that succeeds Y cannot confirm, if it fails since Y has confirmed X sees it live. Contradiction.
 * The look may stop at a never used slot for the same reason: who claims behind it later looks later.
 *
 * A process that dies or is stopped while pending holds nobody up: others of its counter free its slot after a few looks,
 * others pass it by and take it when nothing else is free.
 *
 * Reclaiming. Only a slot whose counter is over since AQ_SHM_MARGIN_S is claimed from a live state, and takers do not
 * charge one that is over since half of that, but begin it anew, with a new generation. They look at the tag again after
 * they have judged, since the words of a slot that is being cleared look alive. So a charge may get lost with a reclaimed
 * slot, or be given back to its new owner, only if its process slept for half the margin between two instructions; and
 * then it is that one charge. A taker that slept for less may add to a word of the new owner; it sees that the tag is
 * another one and gives back.
 *
 * Clearing is done by compare-and-swap too: an inserter that slept and has lost its slot may not clear what the new owner
 * counts. It loads a word, sees that the slot is still its own, and then swaps exactly that value, which is one of before.
 */
#include "store/shm_table.h"

#include <sched.h>

#define INSERT_TRIES 1000
/* So often an inserter looks again before it frees another's pending slot. */
#define PATIENCE 32
#define TICKS_PER_S 6
/* A place of a limit on what runs at once is not held for longer than 2^22 seconds: 48 days. */
#define MEMBER_LIFE 22

/* A slot on the way from home: its number counted from there, and its tag when it was seen. */
typedef struct {
    unsigned number; /* AQ_SHM_PROBES: none */
    uint64_t tag;
} sighting_t;

/* What an inserter has seen of the slots where its counter may lie: the first of each kind. */
typedef struct {
    sighting_t own;      /* the counter's live slot */
    sighting_t free;     /* can be claimed */
    sighting_t pending;  /* somebody prepares it for this counter */
    sighting_t stranger; /* somebody prepares it for another counter */
} survey_t;

aq_shm_table_t aq_shm_table(aq_shm_slot_t *slots, uint64_t slot_count)
{
    uint64_t longest = AQ_SHM_STEP_MAX;

    while (longest > 1 && longest * AQ_SHM_PROBES > slot_count) {
        longest /= 2;
    }
    return (aq_shm_table_t){.slots = slots, .slot_count = slot_count, .step_mask = longest - 1};
}

/* The slot that is so many steps from a counter's home. */
static aq_shm_slot_t *slot_at(const aq_shm_table_t *table, uint64_t tag, unsigned number)
{
    const uint64_t index = aq_shm_home(table, tag) + number * aq_shm_step(table, tag);

    return &table->slots[index < table->slot_count ? index : index - table->slot_count];
}

static uint64_t state_of(uint64_t tag)
{
    return tag & AQ_SHM_STATE_MASK;
}

static uint64_t with_state(uint64_t tag, uint64_t state)
{
    return (tag & ~AQ_SHM_STATE_MASK) | state;
}

/* `tag` as the pending one that follows `previous` in its slot. */
static uint64_t pending_after(uint64_t tag, uint64_t previous)
{
    return with_state(tag & ~AQ_SHM_GENERATION_MASK, AQ_SHM_PENDING) | ((previous + 1) & AQ_SHM_GENERATION_MASK);
}

static int is_same_counter(uint64_t tag, uint64_t other)
{
    return ((tag ^ other) & ~(AQ_SHM_STATE_MASK | AQ_SHM_GENERATION_MASK)) == 0;
}

static int swap(_Atomic uint64_t *at, uint64_t expected, uint64_t desired)
{
    return atomic_compare_exchange_strong(at, &expected, desired);
}

int aq_shm_slot_is_dead(const aq_shm_slot_t *slot, uint64_t tag, aq_time_ms_t now_ms, int64_t margin_s)
{
    const uint64_t life = (tag & AQ_SHM_LIFE_MASK) >> AQ_SHM_LIFE_SHIFT;
    const uint32_t now_ticks = (uint32_t)((uint64_t)(now_ms / AQ_MS_PER_S) * TICKS_PER_S);
    int32_t youngest = INT32_MAX;
    uint32_t claimed = 0;

    if (life == AQ_LIFE_ENDLESS) {
        return 0;
    }
    for (unsigned i = 0; i < AQ_WINDOW_WORDS; i++) {
        uint64_t word = atomic_load(&slot->words[i]);
        int32_t age = (int32_t)(now_ticks - (uint32_t)(word >> 32));

        claimed |= (uint32_t)word;
        if (word != 0 && age < youngest) {
            youngest = age;
        }
    }
    return youngest / TICKS_PER_S > (INT64_C(1) << (life != AQ_LIFE_MEMBERS ? life
                                                    : claimed != 0          ? MEMBER_LIFE
                                                                            : 0)) +
                                        margin_s;
}

int aq_shm_place_is_live(const aq_shm_place_t *place, aq_time_ms_t now_ms)
{
    return !aq_shm_slot_is_dead(place->slot, place->tag, now_ms, AQ_SHM_MARGIN_S / 2) &&
           atomic_load(&place->slot->tag) == place->tag;
}

/* 1 where the block of the slot has room for one more invented counter. */
static int block_has_room(const aq_shm_table_t *table, const aq_shm_slot_t *slot)
{
    const uint64_t begin = (uint64_t)(slot - table->slots) / AQ_SHM_BLOCK * AQ_SHM_BLOCK;
    unsigned invented = 0;

    for (uint64_t i = begin; i < begin + AQ_SHM_BLOCK && i < table->slot_count; i++) {
        uint64_t tag = atomic_load(&table->slots[i].tag);

        invented += tag & AQ_SHM_INVENTED && state_of(tag) != AQ_SHM_FREED;
    }
    return invented < AQ_SHM_BLOCK_INVENTED_MAX;
}

/* 1 where the slot, seen with `seen`, may be claimed for the counter `tag`. */
static int is_free_for(const aq_shm_table_t *table, const aq_shm_slot_t *slot, uint64_t seen, uint64_t tag,
                       aq_time_ms_t now_ms)
{
    const int is_dead = state_of(seen) == AQ_SHM_LIVE && aq_shm_slot_is_dead(slot, seen, now_ms, AQ_SHM_MARGIN_S);

    if (seen != 0 && state_of(seen) != AQ_SHM_FREED && !is_dead) {
        return 0;
    }
    return !(tag & AQ_SHM_INVENTED) || (is_dead && seen & AQ_SHM_INVENTED) || block_has_room(table, slot);
}

static void sight(sighting_t *first, unsigned number, uint64_t tag)
{
    if (first->number == AQ_SHM_PROBES) {
        *first = (sighting_t){number, tag};
    }
}

/* Looks at all slots where the counter may lie. */
static survey_t survey(const aq_shm_table_t *table, uint64_t tag, aq_time_ms_t now_ms)
{
    const sighting_t none = {AQ_SHM_PROBES, 0};
    survey_t seen = {none, none, none, none};

    for (unsigned i = 0; i < AQ_SHM_PROBES; i++) {
        const aq_shm_slot_t *slot = slot_at(table, tag, i);
        uint64_t here = atomic_load(&slot->tag);

        if (aq_shm_tag_is_same(here, tag)) {
            sight(&seen.own, i, here);
            break;
        }
        if (state_of(here) == AQ_SHM_PENDING && is_same_counter(here, tag)) {
            sight(&seen.pending, i, here);
        } else if (state_of(here) == AQ_SHM_PENDING && !(tag & AQ_SHM_INVENTED)) {
            sight(&seen.stranger, i, here);
        } else if (seen.free.number == AQ_SHM_PROBES && is_free_for(table, slot, here, tag, now_ms)) {
            sight(&seen.free, i, here);
        }
        if (here == 0) {
            break;
        }
    }
    return seen;
}

/* Step 2. 0 where the slot was lost. */
static int words_clear(aq_shm_slot_t *slot, uint64_t mine, uint64_t birth)
{
    for (unsigned i = 0; i < AQ_WINDOW_WORDS; i++) {
        uint64_t word;

        do {
            word = atomic_load(&slot->words[i]);
            if (atomic_load(&slot->tag) != mine) {
                return 0;
            }
        } while (word != birth && !swap(&slot->words[i], word, birth));
    }
    return 1;
}

/* Step 3, for the slot claimed as number `mine`. 0 where another is in the way. */
static int rivals_are_settled(const aq_shm_table_t *table, uint64_t tag, unsigned mine)
{
    for (unsigned i = 0; i < AQ_SHM_PROBES; i++) {
        aq_shm_slot_t *slot = slot_at(table, tag, i);
        uint64_t seen = atomic_load(&slot->tag);

        if (seen == 0) {
            break;
        }
        if (i == mine || !is_same_counter(seen, tag)) {
            continue;
        }
        while (i > mine && state_of(seen) == AQ_SHM_PENDING && is_same_counter(seen, tag)) {
            if (atomic_compare_exchange_strong(&slot->tag, &seen, with_state(seen, AQ_SHM_FREED))) {
                break;
            }
        }
        if (aq_shm_tag_is_same(seen, tag) || (i < mine && state_of(seen) == AQ_SHM_PENDING)) {
            return 0;
        }
    }
    return 1;
}

/* Steps 1 to 4 for the slot `at`. 0 where another was in the way. */
static int claim(const aq_shm_table_t *table, uint64_t tag, sighting_t at, uint64_t birth, aq_shm_place_t *place)
{
    const uint64_t mine = pending_after(tag, at.tag);
    aq_shm_slot_t *slot = slot_at(table, tag, at.number);

    *place = (aq_shm_place_t){slot, with_state(mine, AQ_SHM_LIVE)};
    if (!swap(&slot->tag, at.tag, mine) || !words_clear(slot, mine, birth)) {
        return 0;
    }
    if (!rivals_are_settled(table, tag, at.number)) {
        (void)swap(&slot->tag, mine, with_state(mine, AQ_SHM_FREED));
        return 0;
    }
    return swap(&slot->tag, mine, place->tag);
}

/* Frees a slot that another inserter of this counter does not get ready. */
static void sighting_free(const aq_shm_table_t *table, uint64_t tag, sighting_t pending)
{
    aq_shm_slot_t *slot = slot_at(table, tag, pending.number);

    (void)swap(&slot->tag, pending.tag, with_state(pending.tag, AQ_SHM_FREED));
}

/*
 * The slot to claim now: the counter's own dead one, a free one, or as the last resort one that a stranger does not get
 * ready. None where somebody else should go on first.
 */
static sighting_t candidate(const survey_t *seen, int is_patient)
{
    const sighting_t none = {AQ_SHM_PROBES, 0};

    if (seen->own.number < AQ_SHM_PROBES) {
        return seen->own;
    }
    if (seen->pending.number < AQ_SHM_PROBES) {
        return none;
    }
    if (seen->free.number < AQ_SHM_PROBES) {
        return seen->free;
    }
    return is_patient ? none : seen->stranger;
}

apr_status_t aq_shm_table_insert(const aq_shm_table_t *table, uint64_t tag, uint64_t birth, aq_time_ms_t now_ms,
                                 aq_shm_place_t *place)
{
    for (unsigned tries = 0, waits = 0; tries < INSERT_TRIES; tries++) {
        const survey_t seen = survey(table, tag, now_ms);
        const sighting_t at = candidate(&seen, waits < PATIENCE);

        *place = (aq_shm_place_t){slot_at(table, tag, at.number % AQ_SHM_PROBES), at.tag};
        if (seen.own.number < AQ_SHM_PROBES && aq_shm_place_is_live(place, now_ms)) {
            return APR_SUCCESS;
        }
        if (at.number < AQ_SHM_PROBES) {
            if (claim(table, tag, at, birth, place)) {
                return APR_SUCCESS;
            }
        } else if (seen.pending.number == AQ_SHM_PROBES && seen.stranger.number == AQ_SHM_PROBES) {
            return APR_ENOSPC;
        } else if (waits++ < PATIENCE) {
            (void)sched_yield();
        } else if (seen.pending.number < AQ_SHM_PROBES) {
            sighting_free(table, tag, seen.pending);
        }
    }
    return APR_EAGAIN;
}

int aq_shm_slot_is_live(const aq_shm_slot_t *slot, aq_time_ms_t now_ms)
{
    const uint64_t tag = atomic_load(&slot->tag);

    return state_of(tag) == AQ_SHM_LIVE && !aq_shm_slot_is_dead(slot, tag, now_ms, AQ_SHM_MARGIN_S);
}

int aq_shm_table_copy_in(const aq_shm_table_t *table, const aq_shm_slot_t *slot)
{
    const uint64_t tag = atomic_load(&slot->tag);

    for (unsigned i = 0; i < AQ_SHM_PROBES; i++) {
        aq_shm_slot_t *copy = slot_at(table, tag, i);

        if (atomic_load(&copy->tag) == 0) {
            for (unsigned word = 0; word < AQ_WINDOW_WORDS; word++) {
                atomic_store(&copy->words[word], atomic_load(&slot->words[word]));
            }
            atomic_store(&copy->tag, tag);
            return 1;
        }
    }
    return 0;
}

aq_shm_census_t aq_shm_table_count(const aq_shm_table_t *table, aq_time_ms_t now_ms)
{
    aq_shm_census_t census = {0};

    for (uint64_t i = 0; i < table->slot_count; i++) {
        const aq_shm_slot_t *slot = &table->slots[i];

        if (aq_shm_slot_is_live(slot, now_ms)) {
            census.live++;
        } else if (atomic_load(&slot->tag) != 0) {
            census.dead++;
        }
    }
    return census;
}
