/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Templates: what a placeholder becomes, what is refused at start-up, and that nothing makes an answer invalid JSON.
 */
#include "base/aq_template.h"
#include "unit/fixture.h"

#include <apr_strings.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const aq_template_value_t VALUES[] = {
    {.name = "limit", .kind = AQ_TEMPLATE_NUMBER, .number = 300},
    {.name = "window", .kind = AQ_TEMPLATE_TEXT, .text = "1m"},
    {.name = "retry_after", .kind = AQ_TEMPLATE_NONE},
    {.name = "least", .kind = AQ_TEMPLATE_NUMBER, .number = INT64_MIN},
    {.name = "message", .kind = AQ_TEMPLATE_TEXT, .text = "say \"no\" \\ \n"},
    {.name = "broken", .kind = AQ_TEMPLATE_TEXT, .text = "caf\xe9"},
};
#define COUNT (sizeof(VALUES) / sizeof(*VALUES))

typedef struct {
    const char *template;
    const char *filled;
} case_t;

static const case_t FILLED[] = {
    {"{\"a\":\"{{limit}}\"}", "{\"a\":300}"},
    {"{\"a\":\" {{limit}}\"}", "{\"a\":\" 300\"}"},
    {"{\"a\":\"{{limit}} a {{window}}\"}", "{\"a\":\"300 a 1m\"}"},
    {"{\"a\":\"{{limit}}{{limit}}\"}", "{\"a\":\"300300\"}"},
    {"{\"a\":\"{{window}}\"}", "{\"a\":\"1m\"}"},
    {"{\"a\":\"{{retry_after}}\"}", "{\"a\":null}"},
    {"{\"a\":\"after {{retry_after}} s\"}", "{\"a\":\"after  s\"}"},
    {"{\"a\":\"{{least}}\"}", "{\"a\":-9223372036854775808}"},
    {"{\"a\":\"{{message}}\"}", "{\"a\":\"say \\\"no\\\" \\\\ \\n\"}"},
    {"{\"a\":\"{{broken}}!\"}", "{\"a\":\"caf?!\"}"},
    {"{\"a\":\"}} { { {limit}\"}", "{\"a\":\"}} { { {limit}\"}"},
    {"{\"z\":[1,\"{{limit}}\",{\"b\":\"{{window}}\"}],\"a\":true,\"n\":null,\"f\":1.5}",
     "{\"z\":[1,300,{\"b\":\"1m\"}],\"a\":true,\"n\":null,\"f\":1.5}"},
    {"{}", "{}"},
};

typedef struct {
    const char *template;
    const char *said;
} refusal_t;

static const refusal_t REFUSED[] = {
    {"{\"error\":{\"message\":[\"\",\"{{nonsense}}\"]}}",
     "body.json: error.message[1]: {{nonsense}} is no placeholder"},
    {"{\"a\":\"{{ limit }}\"}", "body.json: a: {{ limit }} is no placeholder"},
    {"{\"a\":\"{{}}\"}", "body.json: a: {{}} is no placeholder"},
    {"{\"a\":\"{{limit}\"}", "body.json: a: \"{{\" without \"}}\""},
    {"{\"a\":{\"{{limit}}\":1}}", "body.json: a.{{limit}}: a placeholder cannot stand in a name"},
    {"{\"a\":1,\n\"a\":2}", "body.json: line 2"},
    {"{\"a\":{{limit}}}", "body.json: line 1"},
    {"[\"{{limit}}\"]", "body.json: is no JSON object"},
    {"\"{{limit}}\"", "body.json: line 1"},
    {"", "body.json: line 1"},
};

static const aq_template_t *parsed(const char *text)
{
    const aq_template_t *template;
    const char *error;
    apr_status_t rv = aq_template_parse(fixture_pool, "body.json", text, VALUES, COUNT, &template, &error);

    ck_assert_msg(rv == APR_SUCCESS, "%s: %s", text, error);
    return template;
}

START_TEST(placeholders_become_their_values)
{
    const char *text = aq_template_render(fixture_pool, parsed(FILLED[_i].template), VALUES, COUNT);

    ck_assert_str_eq(text, FILLED[_i].filled);
}
END_TEST

START_TEST(what_is_no_template_is_refused_with_its_place)
{
    const aq_template_t *template = NULL;
    const char *error = NULL;
    apr_status_t rv =
        aq_template_parse(fixture_pool, "body.json", REFUSED[_i].template, VALUES, COUNT, &template, &error);

    ck_assert_int_ne(rv, APR_SUCCESS);
    ck_assert_ptr_null(template);
    ck_assert_msg(strncmp(error, REFUSED[_i].said, strlen(REFUSED[_i].said)) == 0, "%s", error);
}
END_TEST

START_TEST(file_is_loaded_or_named)
{
    const char *path = fixture_path("template.json");
    const aq_template_t *template;
    const char *error;

    fixture_write(path, "{\"limit\": \"{{limit}}\"}\n");
    ck_assert_int_eq(aq_template_load(fixture_pool, path, VALUES, COUNT, &template, &error), APR_SUCCESS);
    ck_assert_str_eq(aq_template_render(fixture_pool, template, VALUES, COUNT), "{\"limit\":300}");
    fixture_write(path, "{\"limit\":\n nothing}");
    ck_assert_int_ne(aq_template_load(fixture_pool, path, VALUES, COUNT, &template, &error), APR_SUCCESS);
    ck_assert_ptr_nonnull(strstr(error, "template.json: line 2"));
    ck_assert_int_ne(aq_template_load(fixture_pool, fixture_path("missing"), VALUES, COUNT, &template, &error),
                     APR_SUCCESS);
    ck_assert_ptr_nonnull(strstr(error, "missing"));
}
END_TEST

START_TEST(value_that_is_not_given_is_nothing)
{
    ck_assert_str_eq(aq_template_render(fixture_pool, parsed("{\"a\":\"{{limit}}\",\"b\":\"<{{window}}>\"}"), NULL, 0),
                     "{\"a\":null,\"b\":\"<>\"}");
}
END_TEST

START_TEST(plain_text_is_filled_and_unknown_placeholders_stay)
{
    ck_assert_str_eq(aq_template_text(fixture_pool, "{{limit}} in {{window}}, {{other}}", VALUES, COUNT),
                     "300 in 1m, {{other}}");
    ck_assert_str_eq(aq_template_text(fixture_pool, "none {{ open", VALUES, COUNT), "none {{ open");
}
END_TEST

/* Text of pieces that are apt to break a string, or a parser. */
static const char *random_text(unsigned *seed)
{
    static const char *const pieces[] = {"{{",   "}}",   "{{limit}}", "{{message}}", "{{broken}}", "\\",
                                         "\\\"", "\xff", "\xc3\xa9",  "\x01",        "{",          "}"};
    char text[256] = "";

    for (int i = rand_r(seed) % 12; i > 0; i--) {
        strcat(text, pieces[(unsigned)rand_r(seed) % (sizeof(pieces) / sizeof(*pieces))]);
    }
    return apr_pstrdup(fixture_pool, text);
}

START_TEST(whatever_the_template_and_the_values_the_answer_is_json)
{
    unsigned seed = 42;
    unsigned rendered = 0;

    for (int i = 0; i < 20000; i++) {
        const char *source = apr_pstrcat(fixture_pool, "{\"a\":\"", random_text(&seed), "\"}", NULL);
        const aq_template_value_t values[] = {
            {.name = "limit", .kind = AQ_TEMPLATE_NUMBER, .number = (int64_t)rand_r(&seed) << (rand_r(&seed) % 33)},
            {.name = "message", .kind = AQ_TEMPLATE_TEXT, .text = random_text(&seed)},
            {.name = "broken", .kind = AQ_TEMPLATE_TEXT, .text = random_text(&seed)},
        };
        const aq_template_t *template;
        const char *error;
        if (aq_template_parse(fixture_pool, "x", source, values, 3, &template, &error) != APR_SUCCESS) {
            continue;
        }
        const char *text = aq_template_render(fixture_pool, template, values, 3);
        json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        ck_assert_msg(json && json_object_size(json) == 1, "%s became %s", source, text);
        json_decref(json);
        rendered++;
    }
    ck_assert_uint_gt(rendered, 1000);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_loop_test(tests, placeholders_become_their_values, 0, sizeof(FILLED) / sizeof(*FILLED));
    tcase_add_loop_test(tests, what_is_no_template_is_refused_with_its_place, 0, sizeof(REFUSED) / sizeof(*REFUSED));
    tcase_add_test(tests, file_is_loaded_or_named);
    tcase_add_test(tests, value_that_is_not_given_is_nothing);
    tcase_add_test(tests, plain_text_is_filled_and_unknown_placeholders_stay);
    tcase_add_test(tests, whatever_the_template_and_the_values_the_answer_is_json);
}

int main(void)
{
    return fixture_run("template", add);
}
