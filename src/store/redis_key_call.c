/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of the scripts that read and change keys. See redis_key_call.h. */
#include "store/redis_key_call.h"

#include "store/redis_key_records.h"

#include <apr_strings.h>
#include <string.h>

apr_status_t aq_redis_key_call_prepare(aq_redis_key_call_t *script, const char *text)
{
    script->text = text;
    return aq_hash_sha1_hex(text, strlen(text), script->sha);
}

aq_redis_failure_t aq_redis_key_call(aq_redis_link_t *link, const aq_redis_key_call_t *script, const char *const *keys,
                                     int key_count, const char *const *arguments, int argument_count, apr_pool_t *p,
                                     aq_redis_read_fn *read, void *data)
{
    const int count = 4 + key_count + argument_count;
    const char **words = apr_palloc(p, (apr_size_t)count * sizeof(*words)), **by_text;
    size_t *sizes = apr_palloc(p, (apr_size_t)count * sizeof(*sizes)), *by_text_sizes;

    words[0] = "EVALSHA";
    words[1] = script->sha;
    words[2] = apr_itoa(p, 1 + key_count);
    words[3] = AQ_REDIS_KEYS;
    for (int i = 0; i < key_count; i++) {
        words[4 + i] = keys[i];
    }
    for (int i = 0; i < argument_count; i++) {
        words[4 + key_count + i] = arguments[i];
    }
    for (int i = 0; i < count; i++) {
        sizes[i] = strlen(words[i]);
    }
    by_text = apr_pmemdup(p, words, (apr_size_t)count * sizeof(*words));
    by_text_sizes = apr_pmemdup(p, sizes, (apr_size_t)count * sizeof(*sizes));
    by_text[0] = "EVAL";
    by_text_sizes[0] = strlen("EVAL");
    by_text[1] = script->text;
    by_text_sizes[1] = strlen(script->text);
    return aq_redis_ask(link, &(aq_redis_command_t){.count = count, .words = words, .sizes = sizes, .is_whole = 1},
                        &(aq_redis_command_t){.count = count, .words = by_text, .sizes = by_text_sizes, .is_whole = 1},
                        read, data);
}

apr_status_t aq_redis_status_of(aq_redis_failure_t failure)
{
    return failure == AQ_REDIS_TIMEOUT ? APR_TIMEUP : failure == AQ_REDIS_DOWN ? APR_EAGAIN : APR_EGENERAL;
}
