/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tenants' webhooks in a keys file: what is taken, what is refused alone, and how apiquotactl edits them.
 */
#include "identity/tenant_webhook.h"

#include "identity/keyedit.h"
#include "unit/identity/keys_fixture.h"

#include <apr_strings.h>
#include <string.h>

#define SECRET_24 "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define A8 "AAAAAAAA"
#define A32 A8 A8 A8 A8
#define SECRET_32 "whsec_" A32 A8 "AAA="
#define SECRET_64 "whsec_" A32 A32 A8 A8 "AAAAAA=="
#define URL "https://hooks.example.com/apiquota"
#define HOUR_MS INT64_C(3600000)

static const char *error;

static aq_tenant_webhook_t *parse(const char *text)
{
    aq_tenant_webhook_t *webhook;
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);

    ck_assert_msg(json != NULL, "%s", text);
    apr_status_t rv = aq_tenant_webhook_parse(fixture_pool, json, &webhook, &error);
    ck_assert_msg((rv == APR_SUCCESS) == (webhook != NULL) && (rv == APR_SUCCESS) == (error == NULL), "%s", text);
    json_decref(json);
    return webhook;
}

START_TEST(one_secret_or_several_are_taken)
{
    aq_tenant_webhook_t *one = parse("{\"url\":\"" URL "\",\"secret\":\"" SECRET_24 "\"}");
    ck_assert_str_eq(one->url, URL);
    ck_assert_int_eq(one->is_https, 1);
    ck_assert_uint_eq(one->secret_count, 1);
    ck_assert_uint_eq(one->secrets[0].size, 24);
    ck_assert_int_eq(one->secrets[0].bytes[0], 0x31);
    ck_assert_int_eq(one->secrets[0].bytes[23], 0xb0);

    aq_tenant_webhook_t *three =
        parse("{\"url\":\"http://[::1]:8080/\",\"comment\":1,\"secret\":[\"" SECRET_32 "\",\"" SECRET_24
              "\",{\"secret\":\"" SECRET_64 "\",\"expires_at\":\"2027-01-15T08:00:00Z\"}]}");
    ck_assert_int_eq(three->is_https, 0);
    ck_assert_uint_eq(three->secret_count, 3);
    ck_assert_uint_eq(three->secrets[0].size, 32);
    ck_assert_int_eq(three->secrets[1].expires_at_ms, 0);
    ck_assert_uint_eq(three->secrets[2].size, 64);
    ck_assert_int_eq(three->secrets[2].expires_at_ms, KEYS_NOW_MS);
}
END_TEST

static const char *const URLS[] = {
    "https://example.com",    "HTTPS://example.com:443/a?b=c",
    "http://10.0.0.1:8080/x", "https://[2001:db8::1]/",
    "http://0x7f.1/",         "http://2130706433/",
};

START_TEST(a_url_of_http_or_https_is_taken)
{
    ck_assert_msg(aq_tenant_webhook_url_check(fixture_pool, URLS[_i]) == NULL, "%s", URLS[_i]);
}
END_TEST

static const struct {
    const char *url, *said;
} NO_URLS[] = {
    {"", "is no URL"},
    {"example.com/x", "is no URL"},
    {"//example.com/x", "is no URL"},
    {"ftp://example.com/", "is no URL"},
    {"file:///etc/passwd", "is no URL"},
    {"gopher://example.com/", "is no URL"},
    {"https:///x", "names no host"},
    {"https://example.com:0/", "names no host, or a port that is none"},
    {"https://example.com:65536/", "names no host, or a port that is none"},
    {"https://user@example.com/", "has a user, a password or a fragment"},
    {"https://user:secret@example.com/", "has a user, a password or a fragment"},
    {"https://example.com/#x", "has a user, a password or a fragment"},
    {"https://exa mple.com/", "visible ASCII"},
    {"https://example.com/\xc3\xa4", "visible ASCII"},
    {"https://example.com/\r\nHost: x", "visible ASCII"},
};

START_TEST(a_url_of_anything_else_is_refused)
{
    const char *said = aq_tenant_webhook_url_check(fixture_pool, NO_URLS[_i].url);

    ck_assert_msg(said != NULL, "%s", NO_URLS[_i].url);
    ck_assert_msg(strstr(said, NO_URLS[_i].said) != NULL, "%s: %s", NO_URLS[_i].url, said);
}
END_TEST

START_TEST(a_url_has_an_end)
{
    char *url = apr_pcalloc(fixture_pool, AQ_WEBHOOK_URL_MAX + 2);

    memset(url, 'x', AQ_WEBHOOK_URL_MAX + 1);
    memcpy(url, "https://e.com/", 14);
    ck_assert_ptr_nonnull(aq_tenant_webhook_url_check(fixture_pool, url));
    url[AQ_WEBHOOK_URL_MAX] = '\0';
    ck_assert_ptr_null(aq_tenant_webhook_url_check(fixture_pool, url));
}
END_TEST

#define WITH(secret) "{\"url\":\"" URL "\",\"secret\":" secret "}"
#define NO_FORM "secret 1 is no \"whsec_\""

static const struct {
    const char *webhook, *said;
} REFUSED[] = {
    {"null", "a webhook is an object"},
    {"\"" URL "\"", "a webhook is an object"},
    {"[]", "a webhook is an object"},
    {"{}", "a webhook is an object"},
    {"{\"url\":\"" URL "\"}", "a webhook is an object"},
    {"{\"secret\":\"" SECRET_24 "\"}", "a webhook is an object"},
    {"{\"url\":7,\"secret\":\"" SECRET_24 "\"}", "a webhook is an object"},
    {"{\"url\":\"ftp://e.com\",\"secret\":\"" SECRET_24 "\"}", "its URL is no URL"},
    {WITH("null"), NO_FORM},
    {WITH("7"), NO_FORM},
    {WITH("\"\""), NO_FORM},
    {WITH("\"whsec_\""), NO_FORM},
    {WITH("\"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\""), NO_FORM},
    {WITH("\"WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\""), NO_FORM},
    {WITH("\"whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\""), NO_FORM},
    {WITH("\"whsec_" A32 "\""), NULL},                      /* 24 bytes, the least */
    {WITH("\"whsec_" A8 A8 A8 "AAAAAAA=\""), NO_FORM},      /* 23 */
    {WITH("\"whsec_" A32 A32 A8 A8 "AAAAAAA=\""), NO_FORM}, /* 65 */
    {WITH("\"whsec_" A32 A32 A32 A32 A32 "\""), NO_FORM},
    {WITH("\"whsec_" A32 A8 "AAB=\""), NO_FORM}, /* bits behind the end */
    {WITH("\"whsec_" A32 A8 "AAA\""), NO_FORM},  /* no padding */
    {WITH("\"whsec_" A32 " \""), NO_FORM},
    {WITH("\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_\""), NO_FORM}, /* base64url */
    {WITH("[]"), "\"secret\" is no secret and no array of 1 to 4"},
    {WITH("[\"" SECRET_24 "\",\"" SECRET_24 "\",\"" SECRET_24 "\",\"" SECRET_24 "\",\"" SECRET_24 "\"]"),
     "no array of 1 to 4"},
    {WITH("[\"" SECRET_24 "\",\"x\"]"), "secret 2 is no \"whsec_\""},
    {WITH("[\"" SECRET_24 "\",{\"secret\":\"" SECRET_24 "\",\"expires_at\":\"soon\"}]"),
     "secret 2 has an \"expires_at\""},
    {WITH("[\"" SECRET_24 "\",{\"secret\":\"" SECRET_24 "\",\"expires_at\":null}]"), "secret 2 has an \"expires_at\""},
    {WITH("[{\"secret\":\"" SECRET_24 "\",\"expires_at\":\"2027-01-01T00:00:00Z\"}]"), "the first secret has an end"},
};

START_TEST(a_webhook_that_breaks_a_rule_is_refused_and_no_secret_is_told)
{
    const aq_tenant_webhook_t *webhook = parse(REFUSED[_i].webhook);

    ck_assert_msg((webhook == NULL) == (REFUSED[_i].said != NULL), "%s", REFUSED[_i].webhook);
    if (webhook == NULL) {
        ck_assert_msg(strstr(error, REFUSED[_i].said) != NULL, "%s: %s", REFUSED[_i].webhook, error);
        ck_assert_msg(strstr(error, "MfKQ9") == NULL && strstr(error, A8) == NULL, "%s", error);
    }
}
END_TEST

START_TEST(a_webhook_that_is_refused_takes_nothing_with_it)
{
    const char *path = fixture_path("keys.json");
    apr_hash_t *webhooks;
    aq_keys_report_t report;

    keys_write(path,
               "{\"tenants\": {\"bad\": {\"plan\": \"basic\", \"webhook\": {\"url\": \"x\", \"secret\": \"y\"}},"
               " \"good\": {\"plan\": \"basic\", \"webhook\": " WITH(
                   "\"" SECRET_24 "\"") "},"
                                        " \"none\": {\"plan\": \"basic\"}},"
                                        " \"keys\": [{\"id\": \"k_1\", \"sha256\": \"HASH1\", \"tenant\": \"bad\"}]}");
    aq_keys_t *keys = keys_make(path);
    fixture_log_keep();
    keys_load(keys, &report);
    ck_assert_uint_eq(report.tenants, 3);
    ck_assert_uint_eq(report.refused, 1);
    ck_assert_str_eq(APR_ARRAY_IDX(report.refusals, 0, const char *),
                     "tenants.bad.webhook: its URL is no URL https://HOST[:PORT]/PATH");
    ck_assert_int_eq(keys_find(keys, 1), AQ_IDENTIFIED);

    ck_assert_int_eq(aq_tenant_webhooks_load(fixture_pool, path, &webhooks, &error), APR_SUCCESS);
    ck_assert_uint_eq(apr_hash_count(webhooks), 1);
    ck_assert_ptr_nonnull(apr_hash_get(webhooks, "good", APR_HASH_KEY_STRING));
}
END_TEST

START_TEST(a_file_that_is_none_is_told)
{
    apr_hash_t *webhooks;
    const char *path = fixture_path("broken.json");

    ck_assert_int_eq(aq_tenant_webhooks_load(fixture_pool, fixture_path("none.json"), &webhooks, &error), APR_ENOENT);
    ck_assert_ptr_nonnull(error);
    fixture_write(path, "{");
    ck_assert_int_eq(aq_tenant_webhooks_load(fixture_pool, path, &webhooks, &error), APR_EGENERAL);
    fixture_write(path, "[1]");
    ck_assert_int_eq(aq_tenant_webhooks_load(fixture_pool, path, &webhooks, &error), APR_SUCCESS);
    ck_assert_uint_eq(apr_hash_count(webhooks), 0);
}
END_TEST

/* ---- edits ------------------------------------------------------------------------------------------------------ */

static const char *edited(void)
{
    const char *path = fixture_path("edit.json");

    fixture_write(path, "{\"tenants\": {\"acme\": {\"plan\": \"basic\"}}, \"keys\": []}");
    return path;
}

static const aq_tenant_webhook_t *webhook_of(const char *path)
{
    apr_hash_t *webhooks;

    ck_assert_int_eq(aq_tenant_webhooks_load(fixture_pool, path, &webhooks, &error), APR_SUCCESS);
    return apr_hash_get(webhooks, "acme", APR_HASH_KEY_STRING);
}

START_TEST(a_webhook_is_set_with_a_secret_that_is_seen_once)
{
    char secret[AQ_WEBHOOK_SECRET_TEXT_SIZE], other[AQ_WEBHOOK_SECRET_TEXT_SIZE];
    const char *path = edited();

    ck_assert_int_eq(aq_keyedit_webhook_set(fixture_pool, keys_place(path), "acme", URL, secret, &error), APR_SUCCESS);
    ck_assert_uint_eq(strlen(secret), AQ_WEBHOOK_SECRET_TEXT_SIZE - 1);
    ck_assert_ptr_nonnull(strstr(fixture_read(path), secret));
    ck_assert_str_eq(webhook_of(path)->url, URL);
    ck_assert_uint_eq(webhook_of(path)->secrets[0].size, AQ_WEBHOOK_SECRET_MADE_BYTES);
    /* another address, the same secret */
    ck_assert_int_eq(aq_keyedit_webhook_set(fixture_pool, keys_place(path), "acme", URL "/2", other, &error),
                     APR_SUCCESS);
    ck_assert_str_eq(other, "");
    ck_assert_str_eq(webhook_of(path)->url, URL "/2");
    ck_assert_ptr_nonnull(strstr(fixture_read(path), secret));
    /* none */
    ck_assert_int_eq(aq_keyedit_webhook_set(fixture_pool, keys_place(path), "acme", "", other, &error), APR_SUCCESS);
    ck_assert_ptr_null(webhook_of(path));
    ck_assert_ptr_null(strstr(fixture_read(path), "webhook"));
}
END_TEST

START_TEST(a_bad_edit_changes_nothing)
{
    char secret[AQ_WEBHOOK_SECRET_TEXT_SIZE];
    const char *path = edited(), *before = fixture_read(path);

    ck_assert_int_eq(aq_keyedit_webhook_set(fixture_pool, keys_place(path), "acme", "ftp://x/", secret, &error),
                     APR_EGENERAL);
    ck_assert_ptr_nonnull(strstr(error, "its URL is no URL"));
    ck_assert_str_eq(secret, "");
    ck_assert_int_eq(aq_keyedit_webhook_set(fixture_pool, keys_place(path), "other", URL, secret, &error),
                     APR_NOTFOUND);
    ck_assert_int_eq(aq_keyedit_webhook_rotate(fixture_pool, keys_place(path), "acme", 0, 0, secret, &error),
                     APR_NOTFOUND);
    ck_assert_ptr_nonnull(strstr(error, "has no webhook"));
    ck_assert_int_eq(aq_keyedit_webhook_rotate(fixture_pool, keys_place(path), "other", 0, 0, secret, &error),
                     APR_NOTFOUND);
    ck_assert_str_eq(fixture_read(path), before);
}
END_TEST

static void rotate(const char *path, aq_time_ms_t now_ms, aq_time_ms_t overlap_ms,
                   char secret[AQ_WEBHOOK_SECRET_TEXT_SIZE])
{
    ck_assert_int_eq(
        aq_keyedit_webhook_rotate(fixture_pool, keys_place(path), "acme", now_ms, now_ms + overlap_ms, secret, &error),
        APR_SUCCESS);
}

START_TEST(old_secrets_sign_for_a_while_and_go)
{
    char first[AQ_WEBHOOK_SECRET_TEXT_SIZE], second[AQ_WEBHOOK_SECRET_TEXT_SIZE], third[AQ_WEBHOOK_SECRET_TEXT_SIZE];
    const char *path = edited();

    ck_assert_int_eq(aq_keyedit_webhook_set(fixture_pool, keys_place(path), "acme", URL, first, &error), APR_SUCCESS);
    rotate(path, KEYS_NOW_MS, 2 * HOUR_MS, second);
    ck_assert_str_ne(first, second);
    const aq_tenant_webhook_t *webhook = webhook_of(path);
    ck_assert_uint_eq(webhook->secret_count, 2);
    ck_assert_int_eq(webhook->secrets[0].expires_at_ms, 0);
    ck_assert_int_eq(webhook->secrets[1].expires_at_ms, KEYS_NOW_MS + 2 * HOUR_MS);
    /* what ends sooner keeps its end; */
    rotate(path, KEYS_NOW_MS + HOUR_MS, 2 * HOUR_MS, third);
    webhook = webhook_of(path);
    ck_assert_uint_eq(webhook->secret_count, 3);
    ck_assert_int_eq(webhook->secrets[1].expires_at_ms, KEYS_NOW_MS + 3 * HOUR_MS);
    ck_assert_int_eq(webhook->secrets[2].expires_at_ms, KEYS_NOW_MS + 2 * HOUR_MS);
    /* what is over goes, */
    rotate(path, KEYS_NOW_MS + 2 * HOUR_MS, HOUR_MS, first);
    ck_assert_uint_eq(webhook_of(path)->secret_count, 3);
    ck_assert_ptr_nonnull(strstr(fixture_read(path), third));
    /* and without an overlap all do. */
    rotate(path, KEYS_NOW_MS + 2 * HOUR_MS, 0, first);
    ck_assert_uint_eq(webhook_of(path)->secret_count, 1);
    ck_assert_ptr_nonnull(strstr(fixture_read(path), first));
}
END_TEST

START_TEST(there_are_never_more_secrets_than_may_be)
{
    char secret[AQ_WEBHOOK_SECRET_TEXT_SIZE];
    const char *path = edited();

    ck_assert_int_eq(aq_keyedit_webhook_set(fixture_pool, keys_place(path), "acme", URL, secret, &error), APR_SUCCESS);
    for (int i = 1; i < AQ_WEBHOOK_SECRETS_MAX; i++) {
        rotate(path, KEYS_NOW_MS, HOUR_MS, secret);
    }
    ck_assert_int_eq(aq_keyedit_webhook_rotate(fixture_pool, keys_place(path), "acme", KEYS_NOW_MS,
                                               KEYS_NOW_MS + HOUR_MS, secret, &error),
                     APR_EGENERAL);
    ck_assert_ptr_nonnull(strstr(error, "--overlap 0"));
    ck_assert_str_eq(secret, "");
    ck_assert_uint_eq(webhook_of(path)->secret_count, AQ_WEBHOOK_SECRETS_MAX);
}
END_TEST

#define LOOP(tests, test, table) tcase_add_loop_test(tests, test, 0, sizeof(table) / sizeof((table)[0]))

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, one_secret_or_several_are_taken);
    LOOP(tests, a_url_of_http_or_https_is_taken, URLS);
    LOOP(tests, a_url_of_anything_else_is_refused, NO_URLS);
    tcase_add_test(tests, a_url_has_an_end);
    LOOP(tests, a_webhook_that_breaks_a_rule_is_refused_and_no_secret_is_told, REFUSED);
    tcase_add_test(tests, a_webhook_that_is_refused_takes_nothing_with_it);
    tcase_add_test(tests, a_file_that_is_none_is_told);
    tcase_add_test(tests, a_webhook_is_set_with_a_secret_that_is_seen_once);
    tcase_add_test(tests, a_bad_edit_changes_nothing);
    tcase_add_test(tests, old_secrets_sign_for_a_while_and_go);
    tcase_add_test(tests, there_are_never_more_secrets_than_may_be);
}

int main(void)
{
    return fixture_run("tenant_webhook", add_tests);
}
