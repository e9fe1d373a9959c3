/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text: pieces, and what must be escaped.
 */
#include "base/aq_text.h"
#include "unit/fixture.h"

static const struct {
    const char *any, *html, *label;
} CASES[] = {
    {"acme", "acme", "acme"},
    {"", "", ""},
    {NULL, "", ""},
    {"<script>alert(\"1\")</script>", "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;",
     "<script>alert(\\\"1\\\")</script>"},
    {"a&b'c", "a&amp;b&#39;c", "a&b'c"},
    {"&lt;", "&amp;lt;", "&lt;"},
    {"a\\n\"\n", "a\\n&quot;\xef\xbf\xbd", "a\\\\n\\\"\\n"},
    {"\xc3\xa9", "\xc3\xa9", "\xc3\xa9"},
};

START_TEST(any_string_stands_as_what_it_is)
{
    aq_text_t *html = aq_text_create(fixture_pool), *label = aq_text_create(fixture_pool);

    aq_text_add_html(html, CASES[_i].any);
    ck_assert_str_eq(aq_text_join(html), CASES[_i].html);
    aq_text_add_label(label, CASES[_i].any);
    ck_assert_str_eq(aq_text_join(label), CASES[_i].label);
}
END_TEST

START_TEST(pieces_are_joined_in_their_order)
{
    aq_text_t *text = aq_text_create(fixture_pool);

    ck_assert_str_eq(aq_text_join(text), "");
    aq_text_add(text, "<b>");
    aq_text_add_html(text, "<");
    aq_text_addf(text, "%d</b>", 7);
    ck_assert_str_eq(aq_text_join(text), "<b>&lt;7</b>");
}
END_TEST

static void tests_add(TCase *tests)
{
    tcase_add_loop_test(tests, any_string_stands_as_what_it_is, 0, sizeof(CASES) / sizeof(CASES[0]));
    tcase_add_test(tests, pieces_are_joined_in_their_order);
}

int main(void)
{
    return fixture_run("text", tests_add);
}
