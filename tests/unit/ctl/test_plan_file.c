/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plan file: plans as an httpd configuration says them, read without httpd.
 */
#include "ctl/plan_file.h"
#include "unit/fixture.h"

#include <apr_strings.h>
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

START_TEST(what_belongs_to_sections_is_noted)
{
    const aq_plan_file_t *file = file_read("<Location /a>\nAPIQuotaLimit own 5/minute\nAPIQuotaFree 304 404\n"
                                           "</Location>\n<Location /b>\nAPIQuotaFree none\n</Location>\n");

    ck_assert_int_eq(file->free_count, 2);
    ck_assert_int_eq(file->free_statuses[1], 404);
    ck_assert_int_eq(file->notes->nelts, 2);
    ck_assert_ptr_nonnull(strstr(APR_ARRAY_IDX(file->notes, 0, const char *), "httpd.conf:2: the limit \"own\""));
    ck_assert_ptr_nonnull(strstr(APR_ARRAY_IDX(file->notes, 1, const char *), "httpd.conf:6: another APIQuotaFree"));
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
    tcase_add_test(tests, what_belongs_to_sections_is_noted);
    tcase_add_loop_test(tests, errors_name_file_and_line, 0, sizeof(ERRORS) / sizeof(ERRORS[0]));
    tcase_add_test(tests, a_file_that_is_not_there_is_named);
}

int main(void)
{
    return fixture_run("plan_file", tests_add);
}
