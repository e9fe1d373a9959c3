/* SPDX-License-Identifier: Apache-2.0 */
/* Redis queue: what machines know of each other. */
#include "store/redis_queue_private.h"

#include "base/aq_hash.h"

#include <apr_strings.h>
#include <string.h>

#define SECRET_HEX_SIZE (2 * sizeof(aq_hash_secret_t) + 1)

typedef struct {
    apr_pool_t *p;
    aq_queue_home_t *home;
} home_t;

/* A home of an earlier version says "1" in place of a URL. */
static int home_answer(aq_redis_call_t *call, const redisReply *reply, void *data)
{
    const home_t *into = data;
    const char *url = aq_redis_text_at(reply, 1);
    const char *secret = aq_redis_text_at(reply, 2);

    (void)call;
    if (url == NULL || secret == NULL ||
        aq_hash_hex_parse(secret, into->home->secret.bytes, sizeof(into->home->secret.bytes)) != APR_SUCCESS) {
        return 0;
    }
    into->home->url =
        strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0 ? apr_pstrdup(into->p, url) : NULL;
    return 1;
}

apr_status_t aq_redis_home(aq_queue_t *q, apr_pool_t *p, const char *machine, aq_queue_home_t *home)
{
    home_t into = {.p = p, .home = home};
    char secret[SECRET_HEX_SIZE];
    unsigned char random[sizeof(aq_hash_secret_t)];
    aq_redis_call_t call;
    apr_status_t rv = aq_hash_random(random, sizeof(random));

    *home = (aq_queue_home_t){.url = NULL};
    if (rv != APR_SUCCESS) {
        return rv;
    }
    aq_hash_hex_write(secret, random, sizeof(random));
    aq_redis_call_begin(&call, q, "home");
    aq_redis_call_text(&call, machine);
    aq_redis_call_text(&call, secret);
    return aq_redis_call_end(&call, aq_redis_call_make(&call, home_answer, &into));
}
