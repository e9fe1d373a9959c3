/* SPDX-License-Identifier: Apache-2.0 */
/* What apiquotactl simulate answers: the numbers of a replay as JSON, and for eyes as tables of it. */
#include "ctl/simulate.h"

#include "limit/runtime_plans.h"

#include <apr_strings.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *share;
    unsigned per_mille;
} shares[] = {{"0.1 %", 1}, {"1 %", 10}, {"5 %", 50}};
#define SHARE_COUNT (sizeof(shares) / sizeof(shares[0]))

/* ---- JSON ------------------------------------------------------------------------------------------------------- */

/* Logs hold any bytes; what is no UTF-8 is written as httpd writes it, \xhh. */
static json_t *text_of(apr_pool_t *p, const char *text)
{
    json_t *json = json_string(text);

    if (!json) {
        char *out = apr_palloc(p, strlen(text) * 4 + 1), *to = out;
        for (; *text; text++) {
            unsigned char c = (unsigned char)*text;
            to += c < 0x80 ? apr_snprintf(to, 2, "%c", c) : apr_snprintf(to, 5, "\\x%02x", c);
        }
        json = json_string(out);
    }
    return json;
}

static json_t *time_or_null(aq_time_ms_t time_ms, int is_null)
{
    return is_null ? json_null() : aq_json_time(time_ms);
}

/* Adds the members that all rows have. */
static json_t *tally_add(json_t *row, const aq_tally_t *tally)
{
    int has_none = tally->refused == 0;
    json_t *numbers = json_pack("{s:I, s:I, s:f, s:o, s:o, s:o, s:I}", "requests", (json_int_t)tally->requests,
                                "refused", (json_int_t)tally->refused, "share",
                                tally->requests > 0 ? (double)tally->refused / (double)tally->requests : 0.0, "first",
                                time_or_null(tally->first_ms, has_none), "last", time_or_null(tally->last_ms, has_none),
                                "worst_minute", time_or_null(tally->worst_minute_ms, has_none), "worst_minute_refused",
                                (json_int_t)tally->worst_minute_refused);

    (void)json_object_update(row, numbers);
    json_decref(numbers);
    return row;
}

/* Which limit would have refused so much. */
static json_t *limit_for(const aq_replay_limit_t *row, unsigned per_mille)
{
    int is_exact;
    uint64_t limit = aq_needs_limit(&row->needs, per_mille, &is_exact);

    if (limit == 0) {
        return json_null();
    }
    is_exact = is_exact && !row->is_bound && row->limit->window.algorithm != AQ_ALGORITHM_SLIDING;
    return json_pack("{s:I, s:b}", "limit", (json_int_t)limit, "is_exact", is_exact);
}

/* The section that carries a limit: its path, "" for the server's own level, null for a limit of the plan. */
static json_t *section_of(apr_pool_t *p, const aq_limit_t *limit)
{
    return limit->section ? text_of(p, limit->section) : json_null();
}

static json_t *limit_row(apr_pool_t *p, const aq_replay_limit_t *row)
{
    json_t *wanted = json_object();
    json_t *json =
        json_pack("{s:s, s:s, s:o, s:s, s:s, s:s}", "plan", row->plan->name, "limit", row->limit->name, "section",
                  section_of(p, row->limit), "rate", aq_rate_text(p, &row->limit->rate), "algorithm",
                  aq_algorithm_name(row->limit->window.algorithm), "per", aq_per_name(row->limit->per));

    (void)tally_add(json, &row->tally);
    for (size_t i = 0; i < SHARE_COUNT; i++) {
        (void)json_object_set_new(wanted, shares[i].share, limit_for(row, shares[i].per_mille));
    }
    (void)json_object_set_new(json, "subjects", json_integer((json_int_t)row->subjects));
    (void)json_object_set_new(json, "subjects_refused", json_integer((json_int_t)row->subjects_refused));
    (void)json_object_set_new(json, "peak",
                              row->needs.count > 0 ? json_integer((json_int_t)row->needs.most) : json_null());
    (void)json_object_set_new(json, "limit_for", wanted);
    return json;
}

static int subject_compare(const void *a, const void *b)
{
    const aq_replay_subject_t *one = *(const aq_replay_subject_t *const *)a;
    const aq_replay_subject_t *other = *(const aq_replay_subject_t *const *)b;

    if (one->tally.refused != other->tally.refused) {
        return one->tally.refused < other->tally.refused ? 1 : -1;
    }
    int order = strcmp(one->limit->plan->name, other->limit->plan->name);
    order = order != 0 ? order : strcmp(one->limit->limit->name, other->limit->limit->name);
    return order != 0 ? order : strcmp(one->name, other->name);
}

/* Those who were refused, the most refused first. */
static json_t *subject_rows(apr_pool_t *p, apr_hash_t *subjects)
{
    apr_array_header_t *refused = apr_array_make(p, 64, sizeof(const aq_replay_subject_t *));
    json_t *rows = json_array();

    for (apr_hash_index_t *i = apr_hash_first(p, subjects); i; i = apr_hash_next(i)) {
        const aq_replay_subject_t *subject = apr_hash_this_val(i);
        if (subject->tally.refused > 0) {
            APR_ARRAY_PUSH(refused, const aq_replay_subject_t *) = subject;
        }
    }
    qsort(refused->elts, (size_t)refused->nelts, sizeof(const aq_replay_subject_t *), subject_compare);
    for (int i = 0; i < refused->nelts; i++) {
        const aq_replay_subject_t *subject = APR_ARRAY_IDX(refused, i, const aq_replay_subject_t *);
        const aq_limit_t *limit = subject->limit->limit;
        json_t *row = json_pack("{s:s, s:s, s:o, s:s, s:s, s:o}", "plan", subject->limit->plan->name, "limit",
                                limit->name, "section", section_of(p, limit), "rate", aq_rate_text(p, &limit->rate),
                                "per", aq_per_name(limit->per), "subject", text_of(p, subject->name));
        (void)json_array_append_new(rows, tally_add(row, &subject->tally));
    }
    return rows;
}

static json_t *texts_of(apr_pool_t *p, const apr_array_header_t *texts, json_t *to)
{
    for (int i = 0; i < texts->nelts; i++) {
        (void)json_array_append_new(to, text_of(p, APR_ARRAY_IDX(texts, i, const char *)));
    }
    return to;
}

static json_t *lines_of(apr_pool_t *p, const aq_replay_result_t *result, const aq_log_reader_report_t *report)
{
    json_t *examples = json_array();

    for (int i = 0; i < report->examples->nelts; i++) {
        const aq_log_malformed_t *example = &APR_ARRAY_IDX(report->examples, i, aq_log_malformed_t);
        (void)json_array_append_new(examples, json_pack("{s:o, s:I, s:s}", "file", text_of(p, example->file), "line",
                                                        (json_int_t)example->line, "reason", example->reason));
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "read", (json_int_t)report->lines, "replayed",
                     (json_int_t)result->replayed, "free", (json_int_t)result->free_of_charge, "late",
                     (json_int_t)result->late, "malformed", (json_int_t)report->malformed, "unidentified",
                     (json_int_t)result->unidentified, "without_request", (json_int_t)result->without_request,
                     "malformed_examples", examples, "unknown_users", texts_of(p, result->unknown, json_array()));
}

json_t *aq_simulate_answer(apr_pool_t *p, const aq_replay_result_t *result, const aq_log_reader_report_t *report,
                           const apr_array_header_t *notes)
{
    json_t *plans = json_array(), *limits = json_array();

    for (int i = 0; i < result->plans->nelts; i++) {
        const aq_replay_plan_t *plan = APR_ARRAY_IDX(result->plans, i, const aq_replay_plan_t *);
        (void)json_array_append_new(plans, tally_add(json_pack("{s:s}", "plan", plan->name), &plan->tally));
    }
    for (int i = 0; i < result->limits->nelts; i++) {
        (void)json_array_append_new(limits, limit_row(p, APR_ARRAY_IDX(result->limits, i, const aq_replay_limit_t *)));
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "lines", lines_of(p, result, report), "from",
                     time_or_null(result->first_ms, result->replayed == 0), "to",
                     time_or_null(result->last_ms, result->replayed == 0), "plans", plans, "limits", limits, "subjects",
                     subject_rows(p, result->subjects), "notes",
                     texts_of(p, result->notes, texts_of(p, notes, json_array())));
}
