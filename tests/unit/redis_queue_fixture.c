/* SPDX-License-Identifier: Apache-2.0 */
/* Queues on a private Redis. See redis_queue_fixture.h. */
#include "unit/redis_queue_fixture.h"

#include <apr_strings.h>

aq_redis_queue_setting_t *redis_queue_setting(const char *const *words, int count)
{
    aq_redis_queue_setting_t *setting;
    const char *error = "";

    ck_assert_msg(aq_redis_queue_setting_parse(fixture_pool, words, count, &setting, &error) == APR_SUCCESS, "%s",
                  error);
    return setting;
}

aq_queue_t *redis_queue_open(const redis_fixture_t *server, const char *machine, const char *budget,
                             aq_redis_durability_t durability)
{
    const char *words[] = {apr_pstrcat(fixture_pool, "unix:", server->socket, NULL), budget};
    const aq_redis_queue_options_t options = {.machine = machine, .durability = durability};
    const aq_redis_address_t *address = redis_queue_setting(words, 2)->address;
    const char *error = "";
    aq_queue_t *q;

    ck_assert_msg(aq_redis_queue_open(fixture_pool, address, &options, &q, &error) == APR_SUCCESS, "%s", error);
    return q;
}
