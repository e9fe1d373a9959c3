/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquotactl simulate: replays access logs against the plans of a configuration file. Asks nothing of a server, and
 * changes nothing.
 */
#include "ctl/plan_file.h"
#include "ctl/simulate.h"

#include "store/memory_counters.h"

#include <apr_strings.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PROGRESS_LINES 65536 /* between two looks at the clock */
#define PROGRESS_MS 500
#define KEY_FIELD_MAX 100

typedef struct {
    aq_ctl_t *ctl;
    aq_counter_store_t *store;
    aq_plan_file_t *conf;
    aq_log_format_t *format;
    aq_log_reader_t *reader;
    aq_replay_t *replay;
    aq_time_ms_t shown_at_ms; /* when progress was last shown */
    int is_shown;
} simulation_t;

/* ---- progress --------------------------------------------------------------------------------------------------- */

static void progress_show(simulation_t *simulation)
{
    const aq_log_reader_report_t *report = aq_log_reader_report(simulation->reader);
    aq_time_ms_t now_ms = aq_clock_boot_ms();

    if (now_ms - simulation->shown_at_ms < PROGRESS_MS) {
        return;
    }
    simulation->shown_at_ms = now_ms;
    simulation->is_shown = 1;
    if (report->size > 0) {
        (void)fprintf(stderr, "\r%3.0f %%  ", 100.0 * (double)report->bytes / (double)report->size);
    }
    (void)fprintf(stderr, "%" APR_UINT64_T_FMT " lines ", report->lines);
}

static void progress_end(const simulation_t *simulation)
{
    if (simulation->is_shown) {
        (void)fputs("\r\033[K", stderr);
    }
}

/* ---- set-up ----------------------------------------------------------------------------------------------------- */

static aq_ctl_exit_t key_field_read(const aq_ctl_t *ctl, int *key_field)
{
    char *end;

    *key_field = 0;
    if (!ctl->key_field) {
        return AQ_CTL_DONE;
    }
    long number = strtol(ctl->key_field, &end, 10);
    if (*end || number < 1 || number > KEY_FIELD_MAX) {
        return aq_ctl_fail(AQ_CTL_USAGE, "--key-field %s: is no number of a field of the log format, from 1",
                           ctl->key_field);
    }
    *key_field = (int)number;
    return AQ_CTL_DONE;
}

static aq_ctl_exit_t conf_read(simulation_t *simulation)
{
    aq_ctl_t *ctl = simulation->ctl;
    const char *error;
    int key_field;

    if (!ctl->config) {
        return aq_ctl_fail(AQ_CTL_USAGE, "--conf FILE is missing: the configuration whose plans are to be tried");
    }
    aq_ctl_exit_t code = key_field_read(ctl, &key_field);
    if (code != AQ_CTL_DONE) {
        return code;
    }
    const char *format = ctl->format ? ctl->format : "common";
    if (aq_log_format_parse(ctl->p, format, key_field, &simulation->format, &error) != APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_USAGE, "%s", error);
    }
    if (aq_memory_counters_create(ctl->p, 0, &simulation->store) != APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "no memory");
    }
    if (aq_plan_file_read(ctl->p, ctl->config, &simulation->store->secret, &simulation->conf, &error) != APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s", error);
    }
    if (apr_hash_count(simulation->conf->plans) == 0) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s: there is no <APIQuotaPlan> in it", ctl->config);
    }
    return AQ_CTL_DONE;
}

/* Entries of the keys file that are not in force would silently be callers unknown. */
static void refusals_note(simulation_t *simulation, const aq_keys_report_t *report)
{
    for (int i = 0; i < report->refusals->nelts; i++) {
        APR_ARRAY_PUSH(simulation->conf->notes, const char *) =
            apr_pstrcat(simulation->ctl->p, simulation->ctl->key_file, ": ",
                        APR_ARRAY_IDX(report->refusals, i, const char *), NULL);
    }
}

static aq_ctl_exit_t replay_make(simulation_t *simulation)
{
    aq_ctl_t *ctl = simulation->ctl;
    const aq_plan_file_t *conf = simulation->conf;
    aq_replay_settings_t settings = {.store = simulation->store,
                                     .plans = conf->plans,
                                     .sections = conf->sections,
                                     .default_plan = ctl->plan ? ctl->plan : conf->default_plan,
                                     .free_statuses = conf->free_statuses,
                                     .free_count = conf->free_count};
    aq_keys_report_t report;
    const char *error;

    /* With --plan alone a log can be tried where the keys file of the configuration does not exist yet. */
    int is_optional = !ctl->key_file && settings.default_plan && conf->key_file && access(conf->key_file, F_OK) != 0;
    ctl->key_file = ctl->key_file || is_optional ? ctl->key_file : conf->key_file;
    if (ctl->key_file) {
        aq_ctl_exit_t code = aq_ctl_keys_load(ctl, conf->plans, &simulation->store->secret, &settings.keys, &report);
        if (code != AQ_CTL_DONE) {
            return code;
        }
        refusals_note(simulation, &report);
    } else if (!settings.default_plan) {
        return aq_ctl_fail(AQ_CTL_USAGE, "whose plan is whose? Give --key-file FILE, or --plan NAME for all");
    }
    return aq_replay_create(ctl->p, &settings, &simulation->replay, &error) == APR_SUCCESS
               ? AQ_CTL_DONE
               : aq_ctl_fail(AQ_CTL_REFUSED, "%s: %s", ctl->config, error);
}

/* ---- the replay ------------------------------------------------------------------------------------------------- */

static aq_ctl_exit_t lines_replay(simulation_t *simulation, const aq_replay_result_t **result)
{
    int is_terminal = isatty(STDERR_FILENO);
    const aq_log_line_t *line;
    const char *error;
    char reason[128];
    apr_status_t rv;

    simulation->shown_at_ms = aq_clock_boot_ms();
    for (uint64_t count = 1; (rv = aq_log_reader_next(simulation->reader, &line, &error)) == APR_SUCCESS; count++) {
        rv = aq_replay_line(simulation->replay, line);
        if (rv != APR_SUCCESS) {
            break;
        }
        if (is_terminal && count % PROGRESS_LINES == 0) {
            progress_show(simulation);
        }
    }
    if (rv == APR_EOF) {
        rv = aq_replay_finish(simulation->replay, result);
    }
    progress_end(simulation);
    return rv == APR_SUCCESS
               ? AQ_CTL_DONE
               : aq_ctl_fail(AQ_CTL_REFUSED, "%s", error ? error : apr_strerror(rv, reason, sizeof(reason)));
}

static aq_ctl_exit_t answer_give(const simulation_t *simulation, const aq_replay_result_t *result)
{
    apr_pool_t *p = simulation->ctl->p;
    json_t *answer = aq_simulate_answer(p, result, aq_log_reader_report(simulation->reader), simulation->conf->notes);

    if (answer && !simulation->ctl->is_json) {
        aq_simulate_print(p, answer);
    }
    aq_ctl_exit_t code = aq_ctl_answer_print(simulation->ctl, answer, NULL);
    if (code == AQ_CTL_DONE && result->replayed == 0) {
        code = aq_ctl_fail(AQ_CTL_REFUSED, "no line could be replayed");
    }
    return code;
}

aq_ctl_exit_t aq_ctl_simulate(aq_ctl_t *ctl)
{
    static const char *const standard_input[] = {"-"};
    simulation_t simulation = {.ctl = ctl};
    const char *const *paths = ctl->argument_count > 0 ? ctl->arguments : standard_input;
    int count = ctl->argument_count > 0 ? ctl->argument_count : 1;
    const aq_replay_result_t *result = NULL;
    const char *error;

    aq_ctl_exit_t code = conf_read(&simulation);
    if (code == AQ_CTL_DONE && simulation.conf) {
        code = replay_make(&simulation);
    }
    if (code != AQ_CTL_DONE) {
        return code;
    }
    if (aq_log_reader_open(ctl->p, simulation.format, paths, count, &simulation.reader, &error) != APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s", error);
    }
    code = lines_replay(&simulation, &result);
    return code == AQ_CTL_DONE && result ? answer_give(&simulation, result) : code;
}
