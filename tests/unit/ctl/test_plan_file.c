/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plan file: plans as an httpd configuration says them, read without httpd.
 */
#include "ctl/plan_file.h"
#include "unit/fixture.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

static const aq_hash_secret_t secret;

static const aq_plan_file_t *file_read(const char *text)
{
    const char *path = fixture_path("httpd.conf"), *error;
    aq_plan_file_t *file;

    fixture_write(path, text);
    apr_status_t rv = aq_plan_file_read(fixture_pool, path, &secret, &file, &error);
    ck_assert_msg(rv == APR_SUCCESS, "%s", error);
    return file;
}

static const char *error_of(const char *text)
{
    const char *path = fixture_path("httpd.conf"), *error;
    aq_plan_file_t *file;

    fixture_write(path, text);
    ck_assert_int_ne(aq_plan_file_read(fixture_pool, path, &secret, &file, &error), APR_SUCCESS);
    ck_assert_ptr_null(file);
    return error;
}

static const aq_limit_t *limit_of(const aq_plan_file_t *file, const char *plan, const char *limit)
{
    const aq_plan_t *found = apr_hash_get(file->plans, plan, APR_HASH_KEY_STRING);

    ck_assert_msg(found != NULL, "no plan %s", plan);
    ck_assert_msg(aq_plan_limit_find(found, limit) != NULL, "no limit %s", limit);
    return aq_plan_limit_find(found, limit);
}

START_TEST(plans_are_read_as_httpd_reads_them)
{
    const aq_plan_file_t *file = file_read("# APIQuotaLimit nonsense\n"
                                           "Listen 80\r\n"
                                           "<VirtualHost *:80>\n<IfModule mod_apiquota.c>\n"
                                           "\t<apiquotaPLAN \"basic\">\n"
                                           "   apiQuotaLimit minute 300/minute \\\n"
                                           "      headers=primary\\\n"
                                           "\n"
                                           "  # within \\\n  a comment that goes on\n"
                                           "APIQuotaLimit day 10000/day per=tenant message=\"used up, \\\"all\\\"\"\n"
                                           "</APIQuotaPlan>\n</IfModule>\n</VirtualHost>\n"
                                           "<APIQuotaPlan empty>\n</APIQuotaPlan>");

    ck_assert_uint_eq(apr_hash_count(file->plans), 2);
    ck_assert_uint_eq(limit_of(file, "basic", "minute")->rate.count, 300);
    ck_assert_int_eq(limit_of(file, "basic", "minute")->shown, AQ_SHOWN_PRIMARY);
    ck_assert_int_eq(limit_of(file, "basic", "day")->per, AQ_PER_TENANT);
    ck_assert_str_eq(limit_of(file, "basic", "day")->message, "used up, \"all\"");
    ck_assert_int_eq(file->free_count, 1);
    ck_assert_int_eq(file->free_statuses[0], 304);
}
END_TEST

START_TEST(includes_defines_and_paths_are_followed)
{
    fixture_write(fixture_path("one.conf"), "<APIQuotaPlan one>\nAPIQuotaLimit a ${COUNT}/day\n</APIQuotaPlan>\n");
    fixture_write(fixture_path("two.conf"), "<APIQuotaPlan two>\nAPIQuotaLimit a 7/day\n</APIQuotaPlan>\n");
    const aq_plan_file_t *file = file_read("Define COUNT 5\nInclude one.conf\nIncludeOptional tw*.conf\n"
                                           "IncludeOptional none-*.conf\nErrorLog ${NOT_DEFINED}/log\n"
                                           "IncludeOptional ${NOT_DEFINED}/x\n"
                                           "APIQuotaKeyFile keys.json\nAPIQuotaDefaultPlan one\n");

    ck_assert_uint_eq(limit_of(file, "one", "a")->rate.count, 5);
    ck_assert_uint_eq(limit_of(file, "two", "a")->rate.count, 7);
    ck_assert_str_eq(file->key_file, fixture_path("keys.json"));
    ck_assert_str_eq(file->default_plan, "one");
    ck_assert_str_eq(file_read("ServerRoot /etc/apache2\nAPIQuotaKeyFile keys.json\n")->key_file,
                     "/etc/apache2/keys.json");
}
END_TEST

static void notes_begin_with(const aq_plan_file_t *file, const char *const *wanted, int count)
{
    ck_assert_int_eq(file->notes->nelts, count);
    for (int i = 0; i < count; i++) {
        const char *note = APR_ARRAY_IDX(file->notes, i, const char *);
        ck_assert_msg(strstr(note, wanted[i]) != NULL, "%s", note);
    }
}

START_TEST(another_free_is_noted)
{
    static const char *const notes[] = {"httpd.conf:5: another APIQuotaFree"};
    const aq_plan_file_t *file = file_read("<Location /a>\nAPIQuotaFree 304 404\n"
                                           "</Location>\n<Location /b>\nAPIQuotaFree none\n</Location>\n");

    ck_assert_int_eq(file->free_count, 2);
    ck_assert_int_eq(file->free_statuses[1], 404);
    notes_begin_with(file, notes, 1);
}
END_TEST

/* ---- sections --------------------------------------------------------------------------------------------------- */

static const aq_section_set_t *set_of(const aq_plan_file_t *file, const char *target)
{
    return aq_sections_find(file->sections, target, strlen(target));
}

/* The set as "name: limit=count ... cost=n", limits by name. */
static const char *set_text(const aq_plan_file_t *file, const char *target)
{
    static const char *const names[] = {"a", "b", "c"};
    const aq_section_set_t *set = set_of(file, target);
    const char *text = set ? apr_pstrcat(fixture_pool, set->name ? set->name : "(server)", ":", NULL) : "none";

    for (size_t n = 0; set && n < sizeof(names) / sizeof(*names); n++) {
        for (int i = 0; set->limits && i < set->limits->nelts; i++) {
            const aq_limit_t *limit = APR_ARRAY_IDX(set->limits, i, const aq_limit_t *);
            if (strcmp(limit->name, names[n]) == 0) {
                text = apr_psprintf(fixture_pool, "%s %s=%d", text, limit->name, (int)limit->rate.count);
            }
        }
    }
    return set && set->cost ? apr_psprintf(fixture_pool, "%s cost=%u", text, set->cost) : text;
}

START_TEST(sections_hold_for_paths_as_httpd_takes_them)
{
    static const struct {
        const char *target, *set;
    } rows[] = {
        {"/v1", "/v1: a=1"},
        {"/v1/", "/v1: a=1"},
        {"/v1?x=/v2/", "/v1: a=1"},
        {"/v1x", "none"},
        {"/V1", "none"},
        {"/", "none"},
        {"", "none"},
        {"*", "none"},
        {"?", "none"},
        {"/v1/search", "/v1/search: a=2 cost=5"},
        {"//v1///search/x", "/v1/search: a=2 cost=5"},
        {"/./v1/./search", "/v1/search: a=2 cost=5"},
        {"/x/../v1/y/../search", "/v1/search: a=2 cost=5"},
        {"/../../v1", "/v1: a=1"},
        {"/v1/search/..", "/v1: a=1"},
        {"/v1/..", "none"},
        {"/%76%31/s%65arch", "/v1/search: a=2 cost=5"},
        {"/v1%2fsearch", "none"},
        {"/v1/%", "/v1: a=1"},
        {"/v1/%zz%4", "/v1: a=1"},
        {"/v1%3fx", "none"},
        {"/v1/%2e%2e/v1/search", "/v1/search: a=2 cost=5"},
        {"http://host.example/v1/search?q", "/v1/search: a=2 cost=5"},
        {"http://host.example", "none"},
        {"/v2", "none"},
        {"/v2/x", "/v2/: b=3"},
        {"/users/7/export", "/users/*/export: c=4"},
        {"/users/7/8/export", "none"},
    };
    const aq_plan_file_t *file = file_read("<Location /v1>\nAPIQuotaLimit a 1/minute\n</Location>\n"
                                           "<location \"/v1/search\">\n<IfModule x>\nAPIQuotaLimit a 2/minute\n"
                                           "APIQuotaCost 5\n</IfModule>\n</LOCATION>\n"
                                           "<Location /v2/>\nAPIQuotaLimit b 3/minute\n</Location>\n"
                                           "<Location /users/*/export>\nAPIQuotaLimit c 4/minute\n</Location>\n");

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        ck_assert_msg(strcmp(set_text(file, rows[i].target), rows[i].set) == 0, "%s: %s", rows[i].target,
                      set_text(file, rows[i].target));
    }
    ck_assert_int_eq(file->notes->nelts, 0);
    ck_assert_ptr_eq(set_of(file, "/v1/x"), set_of(file, "/v1"));
}
END_TEST

START_TEST(a_target_of_any_bytes_is_matched)
{
    const aq_plan_file_t *file = file_read("<Location /v1>\nAPIQuotaLimit a 1/minute\n</Location>\n");
    static const char zero[] = "/v1\0/x", alphabet[] = {'/', '.', '%', '2', 'f', '\0', '?', '\xff', ':', 'v', '1'};
    char target[24];
    unsigned seed = 3;

    ck_assert_ptr_nonnull(aq_sections_find(file->sections, zero, sizeof(zero) - 1));
    for (int i = 0; i < 200000; i++) {
        size_t size = (size_t)rand_r(&seed) % sizeof(target);
        for (size_t j = 0; j < size; j++) {
            target[j] = alphabet[(size_t)rand_r(&seed) % sizeof(alphabet)];
        }
        const aq_section_set_t *set = aq_sections_find(file->sections, target, size);
        ck_assert(!set || strcmp(set->name, "/v1") == 0);
    }
}
END_TEST

START_TEST(a_target_of_any_length_is_matched)
{
    const aq_plan_file_t *file = file_read("<Location /v1>\nAPIQuotaLimit a 1/minute\n</Location>\n");
    char *target = apr_palloc(fixture_pool, 300000);

    memset(target, '/', 300000);
    ck_assert_ptr_null(aq_sections_find(file->sections, target, 300000));
    memcpy(target, "/v1", 3);
    for (size_t size = 8180; size < 8200; size++) {
        ck_assert_ptr_nonnull(aq_sections_find(file->sections, target, size));
    }
    memset(target + 4, 'x', 299996);
    ck_assert_ptr_nonnull(aq_sections_find(file->sections, target, 300000));
}
END_TEST

START_TEST(sections_are_merged_in_the_order_of_httpd)
{
    const aq_plan_file_t *file = file_read("<VirtualHost *>\n"
                                           "<Location />\nAPIQuotaLimit a 1/minute\nAPIQuotaCost 2\n</Location>\n"
                                           "APIQuotaLimit c 9/day\n"
                                           "</VirtualHost>\n"
                                           "<Location /v1/deep>\nAPIQuotaLimit a 2/minute\n"
                                           "APIQuotaLimit b 2/minute\n</Location>\n"
                                           "<Location /v1>\nAPIQuotaLimit b 3/minute\n"
                                           "APIQuotaCost expr=%{HTTP:X}\n</Location>\n"
                                           "APIQuotaLimit c 8/day\nAPIQuotaLimit a 8/day\n");
    static const char *const notes[] = {"httpd.conf:14: APIQuotaCost is taken to be 1"};

    ck_assert_str_eq(set_text(file, "/v1/deep"), "/: a=1 b=3 c=9 cost=2");
    ck_assert_str_eq(set_text(file, "/x"), "/: a=1 c=9 cost=2");
    ck_assert_str_eq(set_text(file, "*"), "(server): a=8 c=9");
    notes_begin_with(file, notes, 1);
}
END_TEST

START_TEST(sections_that_a_log_cannot_tell_are_noted)
{
    static const char *const notes[] = {
        "httpd.conf:2: the limit \"a\" is left out: it stands in <Directory> (",
        "httpd.conf:5: APIQuotaCost is left out: it stands in <LocationMatch> (",
        "httpd.conf:8: the limit \"b\" is left out: it stands in <Location> (",
        "httpd.conf:12: the limit \"b\" is left out: it stands in <If> (",
        "httpd.conf:15: the limit \"c\" is left out: phase=early",
        "httpd.conf:23: the limit \"a\" is left out: it stands in another virtual host",
    };
    const aq_plan_file_t *file = file_read("<Directory /srv>\nAPIQuotaLimit a 1/minute\n</Directory>\n"
                                           "<LocationMatch ^/x>\nAPIQuotaCost 4\n</LocationMatch>\n"
                                           "<Location ~ \"^/y\">\nAPIQuotaLimit b 1/minute\n</Location>\n"
                                           "<Location /v1>\n<If \"%{QUERY_STRING} > 1\">\nAPIQuotaLimit b 1/minute\n"
                                           "</If>\nAPIQuotaLimit a 7/minute\n"
                                           "APIQuotaLimit c 9/minute per=ip phase=early\n</Location>\n"
                                           "<VirtualHost *:80>\n<Location /v1>\nAPIQuota On\n</Location>\n"
                                           "</VirtualHost>\n<VirtualHost *:443>\nAPIQuotaLimit a 6/minute\n"
                                           "</VirtualHost>\n");

    notes_begin_with(file, notes, 6);
    ck_assert_str_eq(set_text(file, "/v1"), "/v1: a=7");
}
END_TEST

START_TEST(without_sections_of_ours_there_are_none)
{
    ck_assert_ptr_null(file_read("<Location /v1>\nRequire all granted\n</Location>\n")->sections);
}
END_TEST

static const struct {
    const char *text, *error;
} ERRORS[] = {
    {"\n<APIQuotaPlan a>\nAPIQuotaLimit x 300x\n</APIQuotaPlan>\n", "httpd.conf:3: APIQuotaLimit: "},
    {"<APIQuotaPlan a>\nAPIQuotaLimit x \\\n  \\\n 300x\n</APIQuotaPlan>\n", "httpd.conf:2: APIQuotaLimit: "},
    {"<APIQuotaPlan a>\nAPIQuotaLimit x 3/day \"per=key\n</APIQuotaPlan>\n", "not closed"},
    {"<APIQuotaPlan a>\nAPIQuotaLimit x 3/day\nAPIQuotaLimit x 4/day\n</APIQuotaPlan>\n", "httpd.conf:3: "},
    {"<APIQuotaPlan a>\n", "\"a\" is not closed"},
    {"<APIQuotaPlan a>\nListen 80\n</APIQuotaPlan>\n", "httpd.conf:2: Listen is not allowed"},
    {"<APIQuotaPlan a>\n</APIQuotaPlan>\n<APIQuotaPlan a>\n</APIQuotaPlan>\n", "httpd.conf:3: "},
    {"<APIQuotaPlan a b>\n</APIQuotaPlan>\n", "exactly one name"},
    {"<APIQuotaPlan a!>\n</APIQuotaPlan>\n", "httpd.conf:1: "},
    {"</APIQuotaPlan>\n", "httpd.conf:1: </APIQuotaPlan>: there is no plan"},
    {"<APIQuotaPlan a>\nAPIQuotaLimit x ${AQ_NOT_DEFINED}/day\n</APIQuotaPlan>\n", "${AQ_NOT_DEFINED} is defined"},
    {"Include none.conf\n", "httpd.conf:1: there is no file"},
    {"Include httpd.conf\n", "more than 20 deep"},
    {"Include\n", "httpd.conf:1: Include: it has no argument"},
    {"<Location /a>\nAPIQuotaLimit x 1/day\nAPIQuotaLimit x 2/day\n</Location>\n", "httpd.conf:3: "},
    {"<Location /a>\nAPIQuotaLimit x 1/month anchor=tenant\n</Location>\n", "anchor=tenant is for limits of a plan"},
    {"<Location /a>\nAPIQuotaCost 0\n</Location>\n", "httpd.conf:2: APIQuotaCost: allowed are"},
    {"APIQuotaFree 304 nine\n", "httpd.conf:1: APIQuotaFree: allowed are"},
};

START_TEST(errors_name_file_and_line)
{
    const char *error = error_of(ERRORS[_i].text);

    ck_assert_msg(strstr(error, ERRORS[_i].error) != NULL, "%s", error);
}
END_TEST

START_TEST(a_file_that_is_not_there_is_named)
{
    const char *error;
    aq_plan_file_t *file;

    ck_assert_int_ne(aq_plan_file_read(fixture_pool, fixture_path("none.conf"), &secret, &file, &error), APR_SUCCESS);
    ck_assert_ptr_nonnull(strstr(error, "none.conf: "));
}
END_TEST

static void tests_add(TCase *tests)
{
    tcase_add_test(tests, plans_are_read_as_httpd_reads_them);
    tcase_add_test(tests, includes_defines_and_paths_are_followed);
    tcase_add_test(tests, another_free_is_noted);
    tcase_add_test(tests, sections_hold_for_paths_as_httpd_takes_them);
    tcase_add_test(tests, a_target_of_any_bytes_is_matched);
    tcase_add_test(tests, a_target_of_any_length_is_matched);
    tcase_add_test(tests, sections_are_merged_in_the_order_of_httpd);
    tcase_add_test(tests, sections_that_a_log_cannot_tell_are_noted);
    tcase_add_test(tests, without_sections_of_ours_there_are_none);
    tcase_add_loop_test(tests, errors_name_file_and_line, 0, sizeof(ERRORS) / sizeof(ERRORS[0]));
    tcase_add_test(tests, a_file_that_is_not_there_is_named);
}

int main(void)
{
    return fixture_run("plan_file", tests_add);
}
