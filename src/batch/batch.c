/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Words of the states, and IDs. An ID is a ULID behind "batch_": it sorts by the time it was made, which keeps the
 * queue's index growing at one end, and nobody can guess another's (80 random bits).
 */
#include "batch/batch.h"

#include <assert.h>
#include <string.h>

#define ID_PREFIX "batch_"
#define ID_PREFIX_LENGTH (sizeof ID_PREFIX - 1)
#define ID_DIGITS 26
#define ID_BYTES 16

static_assert(ID_PREFIX_LENGTH + ID_DIGITS + 1 == AQ_BATCH_ID_SIZE, "an ID fits its array exactly");

/* Crockford's base 32: no i, l, o, u. */
static const char base32[] = "0123456789abcdefghjkmnpqrstvwxyz";

static const char *const status_names[AQ_BATCH_STATUS_COUNT] = {
    [AQ_BATCH_QUEUED] = "queued",       [AQ_BATCH_RUNNING] = "running", [AQ_BATCH_CANCELING] = "canceling",
    [AQ_BATCH_SUCCEEDED] = "succeeded", [AQ_BATCH_FAILED] = "failed",   [AQ_BATCH_CANCELED] = "canceled",
};

const char *aq_batch_status_name(aq_batch_status_t status)
{
    return (unsigned)status < AQ_BATCH_STATUS_COUNT ? status_names[status] : "unknown";
}

apr_status_t aq_batch_status_parse(const char *name, aq_batch_status_t *status)
{
    for (int i = 0; i < AQ_BATCH_STATUS_COUNT; i++) {
        if (strcmp(name, status_names[i]) == 0) {
            *status = (aq_batch_status_t)i;
            return APR_SUCCESS;
        }
    }
    *status = AQ_BATCH_QUEUED;
    return APR_EGENERAL;
}

int aq_batch_is_over(aq_batch_status_t status)
{
    return status == AQ_BATCH_SUCCEEDED || status == AQ_BATCH_FAILED || status == AQ_BATCH_CANCELED;
}

/* The five bits of `bytes` that digit `i` shows; the first digit has two bits that do not exist, which are zero. */
static unsigned id_digit(const unsigned char bytes[ID_BYTES], int i)
{
    unsigned value = 0;

    for (int bit = i * 5 - 2; bit < i * 5 + 3; bit++) {
        value <<= 1;
        if (bit >= 0) {
            value |= (unsigned)(bytes[bit / 8] >> (7 - bit % 8)) & 1U;
        }
    }
    return value;
}

void aq_batch_id_write(char id[AQ_BATCH_ID_SIZE], aq_time_ms_t now_ms, const unsigned char random[10])
{
    unsigned char bytes[ID_BYTES];
    uint64_t time_ms = now_ms > 0 ? (uint64_t)now_ms : 0;

    for (int i = 0; i < 6; i++) {
        bytes[i] = (unsigned char)(time_ms >> (40 - 8 * i));
    }
    memcpy(bytes + 6, random, 10);
    memcpy(id, ID_PREFIX, ID_PREFIX_LENGTH);
    for (int i = 0; i < ID_DIGITS; i++) {
        id[ID_PREFIX_LENGTH + (size_t)i] = base32[id_digit(bytes, i)];
    }
    id[AQ_BATCH_ID_SIZE - 1] = '\0';
}

int aq_batch_id_is_valid(const char *text)
{
    if (strncmp(text, ID_PREFIX, ID_PREFIX_LENGTH) != 0) {
        return 0;
    }
    const char *digits = text + ID_PREFIX_LENGTH;
    return strspn(digits, base32) == ID_DIGITS && digits[ID_DIGITS] == '\0' && digits[0] <= '7';
}
