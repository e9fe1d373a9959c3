/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquotactl usage export: what each tenant used of each limit on each day, as CSV or JSON.
 *
 * It first keeps what the counters hold of the last days (identity/daily_use.h), then prints what is kept. So a timer that
 * runs it now and then is all that is needed.
 */
#include "ctl/ctl.h"

#include "identity/daily_use.h"

#include <apr_strings.h>
#include <stdio.h>
#include <string.h>

/* "2026-11-25", or "2026-11", which stands for all its days: `is_end` tells which end of them is meant. */
static const char *day_parse(apr_pool_t *p, const char *text, int is_end)
{
    aq_time_ms_t ms;
    const size_t length = strlen(text);
    const char *day = length == 7 ? apr_pstrcat(p, text, "-01", NULL) : text;

    if (strlen(day) != 10 || aq_clock_rfc3339_parse(apr_pstrcat(p, day, "T00:00:00Z", NULL), &ms) != APR_SUCCESS) {
        return NULL;
    }
    return length == 7 && is_end ? apr_pstrcat(p, text, "-31", NULL) : day;
}

/* A plan that counts by day; NULL: none, and so none of the server's. */
static int is_counted(apr_pool_t *p, apr_hash_t *plans)
{
    for (apr_hash_index_t *i = apr_hash_first(p, plans); i; i = apr_hash_next(i)) {
        if (aq_daily_of(apr_hash_this_val(i))) {
            return 1;
        }
    }
    return 0;
}

static aq_ctl_exit_t days_keep(aq_ctl_t *ctl, const char *folder)
{
    const char *error;
    aq_counter_store_t *store;
    apr_hash_t *plans = NULL;
    json_t *key_file = NULL;
    aq_ctl_exit_t code = aq_ctl_store_open(ctl, &store);

    if (code == AQ_CTL_DONE) {
        code = aq_ctl_plans_load(ctl, &store->secret, &plans);
    }
    if (code == AQ_CTL_DONE && !is_counted(ctl->p, plans)) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "the server does not count by day: it needs APIQuotaDailyUse On");
    }
    if (code == AQ_CTL_DONE) {
        code = aq_ctl_keys_read(ctl, &key_file);
    }
    if (code == AQ_CTL_DONE &&
        aq_daily_use_keep(ctl->p, store, key_file, plans, folder, ctl->now_ms, &error) != APR_SUCCESS) {
        code = aq_ctl_fail(AQ_CTL_REFUSED, "%s", error);
    }
    return code;
}

/* One row a limit: they are charged together, so each was charged what the tenant used. */
static void rows_add(const aq_ctl_t *ctl, json_t *rows, const char *day, const json_t *entry)
{
    const char *tenant = aq_json_string(entry, "tenant");
    const json_t *limit;
    size_t i;

    if (!tenant || (ctl->tenant && strcmp(tenant, ctl->tenant) != 0)) {
        return;
    }
    json_array_foreach(json_object_get(entry, "limits"), i, limit)
    {
        (void)json_array_append_new(rows, json_pack("{s:s?, s:s, s:s?, s:s?, s:O?}", "day", day, "tenant", tenant,
                                                    "plan", aq_json_string(entry, "plan"), "limit",
                                                    json_string_value(limit), "used", json_object_get(entry, "used")));
    }
}

static json_t *rows_of(const aq_ctl_t *ctl, const json_t *days)
{
    json_t *rows = json_array();
    const json_t *day, *entry;
    size_t i, j;

    json_array_foreach(days, i, day)
    {
        json_array_foreach(json_object_get(day, "use"), j, entry)
        {
            rows_add(ctl, rows, aq_json_string(day, "day"), entry);
        }
    }
    return rows;
}

/* RFC 4180. Names hold no quotation marks. One that a spreadsheet takes for a formula stays as the operator wrote it. */
static void csv_print(const json_t *rows)
{
    const json_t *row;
    size_t i;

    (void)fputs("day,tenant,plan,limit,used\r\n", stdout);
    json_array_foreach(rows, i, row)
    {
        (void)printf("%s,\"%s\",\"%s\",%s,%" JSON_INTEGER_FORMAT "\r\n", aq_json_string(row, "day"),
                     aq_json_string(row, "tenant"), aq_json_string(row, "plan"), aq_json_string(row, "limit"),
                     json_integer_value(json_object_get(row, "used")));
    }
}

aq_ctl_exit_t aq_ctl_usage_export(aq_ctl_t *ctl)
{
    const char *since = ctl->since ? day_parse(ctl->p, ctl->since, 0) : NULL, *error;
    const char *until = ctl->until ? day_parse(ctl->p, ctl->until, 1) : NULL;
    json_t *days;

    if ((ctl->since && !since) || (ctl->until && !until)) {
        return aq_ctl_fail(AQ_CTL_USAGE, "--since and --until take a day or a month, as in 2026-11-25 or 2026-11");
    }
    const char *folder = apr_pstrcat(ctl->p, aq_ctl_state_dir(ctl), "/" AQ_DAILY_USE_FOLDER, NULL);
    aq_ctl_exit_t code = days_keep(ctl, folder);
    if (code != AQ_CTL_DONE) {
        return code;
    }
    if (aq_daily_use_read(ctl->p, folder, since, until, &days, &error) != APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s", error);
    }
    json_t *rows = rows_of(ctl, days);
    json_decref(days);
    if (!ctl->is_json) {
        csv_print(rows);
    }
    return aq_ctl_answer_print(ctl, json_pack("{s:o}", "use", rows), NULL);
}
