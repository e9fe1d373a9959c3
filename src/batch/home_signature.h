/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Home signature: how one machine shows another that it may have a result. Both know a secret from the queue that they share;
 * who asks signs the time, the machine that is asked and the batch:
 *
 *     v1,SECONDS,HMAC-SHA256 in hex of "apiquota-home v1\nSECONDS\nMACHINE\nBATCH"
 *
 * So what is seen on the way is good for that one result, from that machine, for a minute.
 */
#ifndef AQ_HOME_SIGNATURE_H
#define AQ_HOME_SIGNATURE_H

#include "base/aq_clock.h"
#include "base/aq_hash.h"

#include <apr_pools.h>

/* How far the clocks of two machines may be apart, and how long a signature is good. */
#define AQ_HOME_SIGNATURE_MS INT64_C(60000)

/* The signature in `p`, or NULL where libcrypto refuses. `now_ms`: wall clock. Thread-safe. */
const char *aq_home_signature_make(apr_pool_t *p, const aq_hash_secret_t *secret, const char *machine, const char *id,
                                   aq_time_ms_t now_ms);

/* 1 where `text` (NULL: there is none) is a signature of just this, made no more than AQ_HOME_SIGNATURE_MS off `now_ms`. */
int aq_home_signature_is_good(apr_pool_t *p, const char *text, const aq_hash_secret_t *secret, const char *machine,
                              const char *id, aq_time_ms_t now_ms);

#endif
