/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/identity/keys_fixture.h"

#include <apr_strings.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

const aq_hash_secret_t keys_secret = {{7}};

static void plan_add(apr_hash_t *plans, const char *name, const char *const limits[][3], int count)
{
    const char *error;
    aq_plan_t *plan;

    ck_assert_int_eq(aq_plan_create(fixture_pool, name, &plan, &error), APR_SUCCESS);
    for (int i = 0; i < count; i++) {
        aq_limit_t *limit;
        int arguments = limits[i][2] ? 3 : 2;
        apr_status_t rv = aq_limit_parse(fixture_pool, limits[i], arguments, &limit, &error);
        ck_assert_msg(rv == APR_SUCCESS, "%s", error);
        aq_limit_identify(limit, &keys_secret);
        ck_assert_int_eq(aq_plan_limit_add(fixture_pool, plan, limit, &error), APR_SUCCESS);
    }
    aq_plan_seal(plan);
    apr_hash_set(plans, plan->name, APR_HASH_KEY_STRING, plan);
}

apr_hash_t *keys_plans(void)
{
    static const char *const basic[][3] = {{"minute", "300/minute", NULL}, {"day", "1000/day", "per=tenant"}};
    static const char *const big[][3] = {{"minute", "3000/minute", NULL}};
    apr_hash_t *plans = apr_hash_make(fixture_pool);

    plan_add(plans, "basic", basic, 2);
    plan_add(plans, "big", big, 1);
    return plans;
}

const char *keys_text(int number)
{
    return apr_psprintf(fixture_pool, "aq_%043d", number);
}

const char *keys_hash(int number)
{
    const char *text = keys_text(number);
    unsigned char digest[AQ_SHA256_BYTES];
    char *hex = apr_palloc(fixture_pool, AQ_SHA256_HEX_SIZE);

    ck_assert_int_eq(aq_hash_sha256(text, strlen(text), digest), APR_SUCCESS);
    aq_hash_hex_write(hex, digest, sizeof(digest));
    return hex;
}

void keys_write(const char *path, const char *text)
{
    static long writes;
    const char *hash;

    while ((hash = strstr(text, "HASH")) != NULL) {
        text = apr_pstrcat(fixture_pool, apr_pstrmemdup(fixture_pool, text, (apr_size_t)(hash - text)),
                           keys_hash(hash[4] - '0'), hash + 5, NULL);
    }
    fixture_write(path, text);
    /* Two writes within one tick of the file system's clock, and of one size, would look alike. */
    const struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1750000000, .tv_nsec = ++writes}};
    ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

static keys_place_fn *place_make;

void keys_place_set(keys_place_fn *make)
{
    place_make = make;
}

const aq_keyedit_place_t *keys_place(const char *path)
{
    return place_make ? place_make(path) : aq_keyedit_file(fixture_pool, path);
}

aq_keys_t *keys_make(const char *path)
{
    aq_keys_t *keys;

    ck_assert_int_eq(aq_keys_create(fixture_pool, path, keys_plans(), &keys_secret, &keys), APR_SUCCESS);
    return keys;
}

void keys_load(aq_keys_t *keys, aq_keys_report_t *report)
{
    const char *error;
    apr_status_t rv = aq_keys_load(keys, fixture_pool, KEYS_NOW_MS, report, &error);

    ck_assert_msg(rv == APR_SUCCESS, "%s", error);
    ck_assert_ptr_null(error);
}

aq_keys_t *keys_loaded(const char *name, const char *text)
{
    const char *path = fixture_path(name);
    aq_keys_t *keys = keys_make(path);

    fixture_log_keep();
    keys_write(path, text);
    keys_load(keys, NULL);
    return keys;
}

static aq_identified_t find(aq_keys_t *keys, int number, const aq_principal_t **principal)
{
    const char *text = keys_text(number);
    const aq_key_set_t *set = aq_keys_acquire(keys);

    ck_assert_ptr_nonnull(set);
    return aq_key_set_find(set, text, strlen(text), KEYS_NOW_MS, principal);
}

const aq_principal_t *keys_principal(aq_keys_t *keys, int number)
{
    const aq_principal_t *principal;

    return find(keys, number, &principal) == AQ_IDENTIFIED ? principal : NULL;
}

aq_identified_t keys_find(aq_keys_t *keys, int number)
{
    const aq_principal_t *principal;
    aq_identified_t identified = find(keys, number, &principal);

    ck_assert((identified == AQ_IDENTIFIED) == (principal != NULL));
    return identified;
}
