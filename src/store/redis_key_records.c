/* SPDX-License-Identifier: Apache-2.0 */
/* Records of keys in Redis, and what they are in a keys file. See redis_key_records.h. */
#include "store/redis_key_records.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_PREFIX "limit:"
#define JSON_PREFIX "json:"
#define NUMBER_DIGITS_MAX 18

/* ---- fields to members ------------------------------------------------------------------------------------------ */

/* A text of a field. NULL where it is no text. */
static json_t *text_make(const redisReply *field)
{
    return field->type == REDIS_REPLY_STRING && memchr(field->str, '\0', (size_t)field->len) == NULL
               ? json_stringn(field->str, (size_t)field->len)
               : NULL;
}

static json_t *number_make(const char *text)
{
    const size_t size = strlen(text);

    return size > 0 && size <= NUMBER_DIGITS_MAX && strspn(text, "0123456789") == size
               ? json_integer((json_int_t)strtoll(text, NULL, 10))
               : NULL;
}

static json_t *boolean_make(const char *text)
{
    const int is_true = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;

    return is_true || strcmp(text, "false") == 0 || strcmp(text, "0") == 0 ? json_boolean(is_true) : NULL;
}

static json_t *words_make(const char *text)
{
    json_t *words = json_array();

    for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
        const size_t size = strcspn(text, " ");
        (void)json_array_append_new(words, json_stringn(text, size));
        text += size;
    }
    return words;
}

static json_t *json_make(const char *text)
{
    return json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
}

static const struct {
    const char *name;
    json_t *(*make)(const char *text); /* NULL: it is of another kind */
} kinds[] = {
    {"scopes", words_make},       {"disabled", boolean_make}, {"max_keys", number_make},
    {"billing_day", number_make}, {"webhook", json_make},
};

/* Adds one field. 0: it cannot be told in JSON. */
static int member_add(json_t *entry, const char *name, json_t *text)
{
    const char *value = json_string_value(text);
    json_t *made = NULL;

    if (strncmp(name, LIMIT_PREFIX, sizeof(LIMIT_PREFIX) - 1) == 0) {
        json_t *limits = json_object_get(entry, "limits");
        if (!limits && json_object_set_new(entry, "limits", limits = json_object()) != 0) {
            return 0;
        }
        return json_object_set(limits, name + sizeof(LIMIT_PREFIX) - 1, text) == 0;
    }
    if (strncmp(name, JSON_PREFIX, sizeof(JSON_PREFIX) - 1) == 0) {
        name += sizeof(JSON_PREFIX) - 1;
        made = json_make(value);
    }
    for (size_t i = 0; !made && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        made = strcmp(name, kinds[i].name) == 0 ? kinds[i].make(value) : NULL;
    }
    return json_object_set_new(entry, name, made ? made : json_incref(text)) == 0;
}

json_t *aq_redis_key_entry_read(const redisReply *reply, apr_pool_t *p, const char **refusal)
{
    json_t *entry = NULL;
    int is_whole = 1;

    *refusal = reply->type == REDIS_REPLY_STRING ? apr_pstrdup(p, reply->str) : NULL;
    if (reply->type != REDIS_REPLY_ARRAY) {
        return NULL;
    }
    entry = json_object();
    for (size_t i = 0; is_whole && i + 1 < reply->elements; i += 2) {
        json_t *name = text_make(reply->element[i]), *text = text_make(reply->element[i + 1]);
        is_whole = name && text && member_add(entry, json_string_value(name), text);
        json_decref(name);
        json_decref(text);
    }
    if (!is_whole) {
        *refusal = "it holds what is no UTF-8";
        json_decref(entry);
        return NULL;
    }
    return entry;
}

/* ---- members to fields ------------------------------------------------------------------------------------------ */

static void field_add(apr_array_header_t *fields, const char *name, const char *value)
{
    APR_ARRAY_PUSH(fields, const char *) = name;
    APR_ARRAY_PUSH(fields, const char *) = value;
}

static int is_words(const json_t *value)
{
    const json_t *word;
    size_t i;

    json_array_foreach(value, i, word)
    {
        const char *text = json_string_value(word);
        if (!text || !text[0] || strchr(text, ' ')) {
            return 0;
        }
    }
    return json_is_array(value);
}

static const char *words_text(apr_pool_t *p, const json_t *value)
{
    const char *text = "";
    const json_t *word;
    size_t i;

    json_array_foreach(value, i, word)
    {
        text = apr_pstrcat(p, text, i ? " " : "", json_string_value(word), NULL);
    }
    return text;
}

static const char *json_text(apr_pool_t *p, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    const char *copy = text ? apr_pstrdup(p, text) : "null";

    free(text);
    return copy;
}

static void limits_add(apr_pool_t *p, apr_array_header_t *fields, json_t *limits)
{
    const char *name;
    json_t *rate;

    json_object_foreach(limits, name, rate)
    {
        field_add(fields, apr_pstrcat(p, LIMIT_PREFIX, name, NULL),
                  json_is_string(rate) ? json_string_value(rate) : json_text(p, rate));
    }
}

apr_array_header_t *aq_redis_key_entry_fields(apr_pool_t *p, const json_t *entry)
{
    apr_array_header_t *fields = apr_array_make(p, 16, sizeof(const char *));
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)entry, name, value)
    {
        if (strcmp(name, "sha256") == 0 || json_is_null(value)) {
            continue;
        }
        if (strcmp(name, "limits") == 0 && json_is_object(value)) {
            limits_add(p, fields, value);
        } else if (json_is_string(value)) {
            field_add(fields, apr_pstrdup(p, name), apr_pstrdup(p, json_string_value(value)));
        } else if (strcmp(name, "scopes") == 0 && is_words(value)) {
            field_add(fields, "scopes", words_text(p, value));
        } else if (json_is_integer(value) || json_is_boolean(value) || strcmp(name, "webhook") == 0) {
            field_add(fields, apr_pstrdup(p, name), json_text(p, value));
        } else {
            field_add(fields, apr_pstrcat(p, JSON_PREFIX, name, NULL), json_text(p, value));
        }
    }
    return fields;
}

/* ---- scripts ---------------------------------------------------------------------------------------------------- */

static const char script_read[] = "local what = ARGV[1]\n"
                                  "local function record(name)\n"
                                  "  local kind = redis.call('TYPE', name).ok\n"
                                  "  if kind == 'none' then return false end\n"
                                  "  if kind ~= 'hash' then return 'it is a ' .. kind .. ' and no hash' end\n"
                                  "  if redis.call('HLEN', name) > 64 then return 'it has more than 64 fields' end\n"
                                  "  local fields, size = {}, 0\n"
                                  "  for _, field in ipairs(redis.call('HKEYS', name)) do\n"
                                  "    if what == 'all' or field ~= 'webhook' then\n"
                                  "      size = size + #field + redis.call('HSTRLEN', name, field)\n"
                                  "      if size > 16384 then return 'it has more than 16384 bytes' end\n"
                                  "      fields[#fields + 1] = field\n"
                                  "      fields[#fields + 1] = redis.call('HGET', name, field)\n"
                                  "    end\n"
                                  "  end\n"
                                  "  return fields\n"
                                  "end\n"
                                  "local reply = {}\n"
                                  "for i = 2, #KEYS do\n"
                                  "  reply[i - 1] = record(KEYS[i])\n"
                                  "end\n"
                                  "if what == 'key' and type(reply[1]) == 'table' then\n"
                                  "  reply[2] = false\n"
                                  "  for i = 1, #reply[1], 2 do\n"
                                  "    if reply[1][i] == 'tenant' and #reply[1][i + 1] <= 128 then\n"
                                  "      reply[2] = record('" AQ_REDIS_KEYS_TENANT "' .. reply[1][i + 1])\n"
                                  "    end\n"
                                  "  end\n"
                                  "end\n"
                                  "return reply\n";

static const char script_walk[] =
    "local cursor, names = ARGV[1], {}\n"
    "for page = 1, 10 do\n"
    "  local found = redis.call('SCAN', cursor, 'MATCH', '" AQ_REDIS_KEYS "*', 'COUNT', 500)\n"
    "  cursor = found[1]\n"
    "  for _, name in ipairs(found[2]) do names[#names + 1] = name end\n"
    "  if cursor == '0' or #names > 250 then break end\n"
    "end\n"
    "return {cursor, names}\n";

static const char script_change[] =
    "for i = 2, #KEYS do\n"
    "  local name = KEYS[i]\n"
    "  local kind = redis.call('TYPE', name).ok\n"
    "  if kind ~= 'hash' and kind ~= 'none' then return name .. ' is a ' .. kind .. ' and no hash' end\n"
    "end\n"
    "if ARGV[1] ~= '' then\n"
    "  if redis.call('GET', '" AQ_REDIS_KEYS_LOCK "') ~= ARGV[1] then\n"
    "    return 'this edit stood still for half a minute and lost its lock to others; try again'\n"
    "  end\n"
    "  redis.call('PEXPIRE', '" AQ_REDIS_KEYS_LOCK "', " AQ_REDIS_KEYS_LOCK_LIFE_MS ")\n"
    "end\n"
    "local at = 2\n"
    "local function count()\n"
    "  at = at + 1\n"
    "  return tonumber(ARGV[at - 1])\n"
    "end\n"
    "for i = 2, #KEYS do\n"
    "  local name = KEYS[i]\n"
    "  local going = count()\n"
    "  if going < 0 then\n"
    "    redis.call('DEL', name)\n"
    "  else\n"
    "    for i = 1, going do\n"
    "      redis.call('HDEL', name, ARGV[at])\n"
    "      at = at + 1\n"
    "    end\n"
    "    for i = 1, count() do\n"
    "      redis.call('HSET', name, ARGV[at], ARGV[at + 1])\n"
    "      at = at + 2\n"
    "    end\n"
    "  end\n"
    "end\n"
    "return false\n";

const char *aq_redis_key_script_read(void)
{
    return script_read;
}

const char *aq_redis_key_script_walk(void)
{
    return script_walk;
}

const char *aq_redis_key_script_change(void)
{
    return script_change;
}
