/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Suggest: a name that is near is found, one that is not is none.
 */
#include "ctl/suggest.h"
#include "unit/fixture.h"

#include <string.h>

static const struct {
    const char *word;
    const char *meant; /* NULL: nothing */
} CASES[] = {
    {"key create", "key create"}, /* itself */
    {"key crate", "key create"},  /* a letter too few */
    {"key creaate", "key create"},
    {"kye create", "key create"}, /* two that changed places count once */
    {"key list", "key list"},
    {"kez lisd", "key list"},
    {"tenat", "tenant"},
    {"", NULL},
    {"frobnicate", NULL},
    {"key", NULL}, /* more than a third would have to be added */
    {"a word that is longer than any name of a command may be, and nothing like one", NULL},
};

START_TEST(what_is_near_is_suggested)
{
    static const char *const known[] = {"key create", "key list", "tenant", "batch purge"};
    apr_array_header_t *names = apr_array_make(fixture_pool, 4, sizeof(const char *));

    for (int i = 0; i < 4; i++) {
        APR_ARRAY_PUSH(names, const char *) = known[i];
    }
    const char *got = aq_suggest(CASES[_i].word, names);
    ck_assert_pstr_eq(got, CASES[_i].meant);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_loop_test(tests, what_is_near_is_suggested, 0, sizeof(CASES) / sizeof(CASES[0]));
}

int main(void)
{
    return fixture_run("suggest", add);
}
