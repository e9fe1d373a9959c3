/* SPDX-License-Identifier: Apache-2.0 */
/* Signing one machine's request to another. See home_signature.h. */
#include "batch/home_signature.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <string.h>

#define PREFIX "v1,"
#define SECONDS_DIGITS_MAX 12

static const char *text_make(apr_pool_t *p, const aq_hash_secret_t *secret, const char *machine, const char *id,
                             int64_t seconds)
{
    const char *told =
        apr_psprintf(p, "apiquota-home v1\n%" APR_INT64_T_FMT "\n%s\n%s", (apr_int64_t)seconds, machine, id);
    unsigned char mac[AQ_SHA256_BYTES];
    char hex[AQ_SHA256_HEX_SIZE];

    if (aq_hash_hmac_sha256(secret->bytes, sizeof(secret->bytes), told, strlen(told), mac) != APR_SUCCESS) {
        return NULL;
    }
    aq_hash_hex_write(hex, mac, sizeof(mac));
    return apr_psprintf(p, PREFIX "%" APR_INT64_T_FMT ",%s", (apr_int64_t)seconds, hex);
}

const char *aq_home_signature_make(apr_pool_t *p, const aq_hash_secret_t *secret, const char *machine, const char *id,
                                   aq_time_ms_t now_ms)
{
    return text_make(p, secret, machine, id, now_ms / AQ_MS_PER_S);
}

/* The seconds that it names, or -1. */
static int64_t seconds_of(const char *text)
{
    const char *digits = text + sizeof(PREFIX) - 1;
    size_t count;

    if (strncmp(text, PREFIX, sizeof(PREFIX) - 1) != 0) {
        return -1;
    }
    count = strspn(digits, "0123456789");
    return count > 0 && count <= SECONDS_DIGITS_MAX && digits[count] == ',' ? apr_atoi64(digits) : -1;
}

int aq_home_signature_is_good(apr_pool_t *p, const char *text, const aq_hash_secret_t *secret, const char *machine,
                              const char *id, aq_time_ms_t now_ms)
{
    const int64_t seconds = text ? seconds_of(text) : -1;
    const int64_t off_ms = seconds * AQ_MS_PER_S - now_ms;
    const char *right;

    if (seconds < 0 || off_ms > AQ_HOME_SIGNATURE_MS || off_ms < -AQ_HOME_SIGNATURE_MS) {
        return 0;
    }
    right = text_make(p, secret, machine, id, seconds);
    return right && strlen(text) == strlen(right) && aq_hash_equal(text, right, strlen(right));
}
