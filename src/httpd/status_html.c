/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status page: how all is first, then the hour, then who and what. It is whole without its script; the script asks for it
 * again and takes over the parts marked data-live. No style and no script but the two that the Content-Security-Policy
 * names by their hashes, and no attribute that holds either.
 */
#include "httpd/status_parts.h"

#include "base/aq_version.h"
#include "httpd/status_assets.h"

/* ---- how all is -------------------------------------------------------------------------------------------------- */

static void verdict_add(aq_text_t *page, const aq_status_t *status)
{
    static const char *const icons[] = {
        [AQ_VERDICT_GOOD] = "<path d=\"M7 12.5l3.5 3.5L17 8.5\"/>",
        [AQ_VERDICT_WARNING] = "<path d=\"M12 6.5v7M12 17.2v.3\"/>",
        [AQ_VERDICT_BAD] = "<path d=\"M8 8l8 8M16 8l-8 8\"/>",
    };
    static const char *const words[] = {
        [AQ_VERDICT_GOOD] = "All is well",
        [AQ_VERDICT_WARNING] = "Something wants looking at",
        [AQ_VERDICT_BAD] = "Something is broken",
    };

    aq_text_addf(page, "<div class=\"verdict %s\" id=\"verdict\" role=\"status\" data-live>",
                 aq_verdict_name(status->verdict));
    aq_text_add(page, "<svg viewBox=\"0 0 24 24\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"2\" "
                      "stroke-linecap=\"round\" stroke-linejoin=\"round\" aria-hidden=\"true\">"
                      "<circle cx=\"12\" cy=\"12\" r=\"10\"/>");
    aq_text_addf(page, "%s</svg><div><strong>%s</strong>", icons[status->verdict], words[status->verdict]);
    if (status->troubles->nelts == 0) {
        aq_text_add(page, "<span class=\"soft\">Requests are counted");
        aq_text_add(page, status->health.has_keys ? ", the keys file is in force" : "");
        aq_text_add(page, status->health.has_batches ? ", batches are worked on.</span>" : ".</span>");
    } else {
        aq_text_add(page, "<ul>");
        for (int i = 0; i < status->troubles->nelts; i++) {
            aq_text_add(page, "<li>");
            aq_text_add_html(page, APR_ARRAY_IDX(status->troubles, i, aq_trouble_t).text);
            aq_text_add(page, "</li>");
        }
        aq_text_add(page, "</ul>");
    }
    aq_text_add(page, "</div></div>");
}

/* ---- the parts of the server ------------------------------------------------------------------------------------- */

static void part_open(aq_text_t *page, const aq_status_t *status, aq_part_t part, const char *title)
{
    aq_text_addf(page, "<section class=\"card\" aria-labelledby=\"part%d\"><header><h3 id=\"part%d\">%s</h3>",
                 (int)part, (int)part, title);
    aq_part_chip(page, status->part_verdicts[part]);
    aq_text_add(page, "</header><dl>");
}

static void part_close(aq_text_t *page)
{
    aq_text_add(page, "</dl></section>");
}

static void term(aq_text_t *page, const char *words)
{
    aq_text_addf(page, "<dt>%s</dt><dd>", words);
}

static void count_term(aq_text_t *page, const char *words, uint64_t count)
{
    term(page, words);
    aq_part_number(page, count);
    aq_text_add(page, "</dd>");
}

static void store_part(aq_text_t *page, const aq_status_t *status)
{
    const aq_health_t *health = &status->health;

    part_open(page, status, AQ_PART_STORE, "Counter store");
    term(page, "Kind");
    aq_text_add_html(page, health->store_kind);
    aq_text_add(page, "</dd>");
    count_term(page, "Counters in use", health->counters_live);
    if (health->slots != 0) {
        count_term(page, "Places", health->slots);
    }
    count_term(page, "Found no place", health->overflows);
    count_term(page, "Failures in 5 min", health->store_errors_lately);
    part_close(page);
}

static void keys_part(aq_text_t *page, const aq_status_t *status)
{
    const aq_health_t *health = &status->health;

    if (!health->has_keys) {
        return;
    }
    part_open(page, status, AQ_PART_KEYS, "Keys file");
    count_term(page, "Keys in force", health->keys);
    count_term(page, "Tenants", health->tenants);
    count_term(page, "Entries refused", health->refused_entries);
    term(page, "Read");
    aq_part_duration(page, health->now_ms - health->keys_loaded_at_ms);
    aq_text_add(page, " ago</dd>");
    part_close(page);
}

static void batches_part(aq_text_t *page, const aq_status_t *status)
{
    const aq_health_t *health = &status->health;

    part_open(page, status, AQ_PART_BATCHES, "Worker and queue");
    term(page, "Worker");
    aq_text_addf(page, "%s</dd>", health->worker_is_up ? "up" : health->worker_is_wanted ? "down" : "off");
    count_term(page, "Queued", (uint64_t)health->batches.by_status[AQ_BATCH_QUEUED]);
    count_term(page, "Running", (uint64_t)health->batches.by_status[AQ_BATCH_RUNNING]);
    term(page, "Oldest waits for");
    if (health->queue_age_ms > 0) {
        aq_part_duration(page, health->queue_age_ms);
    } else {
        aq_text_add(page, "none waits");
    }
    aq_text_add(page, "</dd>");
    part_close(page);
}

static void spool_part(aq_text_t *page, const aq_status_t *status)
{
    const int64_t bytes = status->health.spool_bytes, max = status->health.spool_max_bytes;

    part_open(page, status, AQ_PART_SPOOL, "Spool");
    term(page, "Used");
    aq_part_bytes(page, bytes);
    aq_text_add(page, "</dd>");
    if (max > 0) {
        term(page, "Of");
        aq_part_bytes(page, max);
        aq_text_addf(page, " (%.0f %%)</dd>", 100 * (double)bytes / (double)max);
    }
    aq_text_add(page, "</dl>");
    aq_part_meter(page, max > 0 ? (double)bytes / (double)max : 0);
    aq_text_add(page, "</section>");
}

static void parts_add(aq_text_t *page, const aq_status_t *status)
{
    aq_text_add(page, "<section id=\"parts\" aria-labelledby=\"h-parts\" data-live>"
                      "<h2 id=\"h-parts\">Parts</h2><div class=\"grid\">");
    store_part(page, status);
    keys_part(page, status);
    if (status->health.has_batches) {
        batches_part(page, status);
        spool_part(page, status);
    }
    aq_text_add(page, "</div></section>");
}

/* ---- plans and batches ------------------------------------------------------------------------------------------- */

static void plan_row(aq_text_t *page, const aq_plan_use_t *plan)
{
    const uint64_t known =
        plan->hour[AQ_DECISION_ALLOWED] + plan->hour[AQ_DECISION_LIMITED] + plan->hour[AQ_DECISION_FREE];
    const uint64_t shown[AQ_CHART_COUNT] = {[AQ_CHART_ALLOWED] = plan->hour[AQ_DECISION_ALLOWED],
                                            [AQ_CHART_LIMITED] = plan->hour[AQ_DECISION_LIMITED],
                                            [AQ_CHART_FREE] = plan->hour[AQ_DECISION_FREE],
                                            [AQ_CHART_OTHER] = plan->all - known};

    aq_text_add(page, "<tr><th scope=\"row\">");
    aq_text_add_html(page, plan->name);
    aq_part_shares(page, shown, plan->all);
    aq_text_add(page, "</th>");
    for (int i = 0; i < AQ_CHART_COUNT; i++) {
        aq_text_add(page, "<td class=\"n\">");
        aq_part_number(page, shown[i]);
        aq_text_add(page, "</td>");
    }
    aq_text_add(page, "</tr>");
}

static void plans_add(aq_text_t *page, const aq_status_t *status)
{
    aq_text_add(page,
                "<section class=\"card wrap\" id=\"plans\" data-live><table><caption>Plans in the last hour</caption>"
                "<thead><tr><th scope=\"col\">Plan</th>");
    for (int i = 0; i < AQ_CHART_COUNT; i++) {
        aq_text_add(page, "<th scope=\"col\" class=\"n\">");
        aq_part_look(page, (aq_chart_t)i);
        aq_text_add(page, "</th>");
    }
    aq_text_add(page, "</tr></thead><tbody>");
    for (int i = 0; i < status->plans->nelts; i++) {
        plan_row(page, &APR_ARRAY_IDX(status->plans, i, aq_plan_use_t));
    }
    aq_text_add(page,
                "</tbody></table><p class=\"soft\">Other: exempt, let pass in a dry run, or not counted since the "
                "store failed.</p></section>");
}

static void running_row(aq_text_t *page, const aq_batch_t *batch, aq_time_ms_t now_ms)
{
    aq_text_add(page, "<tr><th scope=\"row\">");
    aq_text_add_html(page, batch->id);
    aq_text_add(page, "<span class=\"sub\">");
    aq_text_add_html(page, batch->tenant);
    aq_text_add(page, "</span></th><td class=\"use\">");
    if (batch->progress_total > 0) {
        aq_part_number(page, (uint64_t)batch->progress_done);
        aq_text_add(page, " of ");
        aq_part_number(page, (uint64_t)batch->progress_total);
        aq_part_progress(page, (double)batch->progress_done / (double)batch->progress_total);
    } else {
        aq_text_addf(page, "attempt %d of %d", batch->attempt, batch->max_attempts);
    }
    aq_text_add(page, "</td><td class=\"n\">");
    aq_part_duration(page, now_ms - batch->started_at_ms);
    aq_text_add(page, "</td></tr>");
}

static void batches_add(aq_text_t *page, const aq_status_t *status)
{
    aq_text_add(page, "<section id=\"batches\" aria-labelledby=\"h-batches\" data-live>"
                      "<h2 id=\"h-batches\">Batches</h2><div class=\"card\"><dl class=\"states\">");
    for (int state = 0; state < AQ_BATCH_STATUS_COUNT; state++) {
        aq_text_addf(page, "<div><dt>%s</dt><dd>", aq_batch_status_name((aq_batch_status_t)state));
        aq_part_number(page, (uint64_t)status->health.batches.by_status[state]);
        aq_text_add(page, "</dd></div>");
    }
    aq_text_add(page, "</dl>");
    if (status->running->nelts != 0) {
        aq_text_add(page,
                    "<table><caption>Running now</caption><thead><tr><th scope=\"col\">Batch</th>"
                    "<th scope=\"col\" class=\"use\">Progress</th><th scope=\"col\" class=\"n\">For</th></tr></thead>"
                    "<tbody>");
        for (int i = 0; i < status->running->nelts; i++) {
            running_row(page, APR_ARRAY_IDX(status->running, i, const aq_batch_t *), status->health.now_ms);
        }
        aq_text_add(page, "</tbody></table>");
    }
    aq_text_add(page, "</div></section>");
}

/* Names are known of the keys of a file; others are looked up when they come, and not gone through. */
static void lists_add(aq_text_t *page, const aq_status_t *status)
{
    const aq_time_ms_t now_ms = status->health.now_ms;

    if (!status->health.has_keys) {
        aq_text_addf(page, "<p class=\"soft\" id=\"lists-age\" data-live>%s</p>",
                     status->health.server->key_store
                         ? "Keys live in Redis: <code>apiquotactl usage top</code> tells who uses most."
                         : "There is no keys file, so nobody has a name here.");
        return;
    }
    aq_text_add(page, "<div class=\"lists\">");
    aq_part_top(page, "nearest", "Nearest to their limit", "Nobody has used anything of a limit.", &status->top.nearest,
                now_ms);
    aq_part_top(page, "tenants", "Tenants that used most", "No tenant has used anything of a limit of its own.",
                &status->top.tenants, now_ms);
    aq_part_top(page, "keys", "Keys that used most", "No key has used anything of a limit of its own.",
                &status->top.keys, now_ms);
    aq_text_add(page, "</div>");
    aq_part_top_age(page, &status->top, now_ms);
}

/* ---- the page ---------------------------------------------------------------------------------------------------- */

static void head_add(aq_text_t *page, const aq_status_t *status, const char *host)
{
    static const char *const marks[] = {
        [AQ_VERDICT_GOOD] = "", [AQ_VERDICT_WARNING] = "(!) ", [AQ_VERDICT_BAD] = "(!!) "};

    aq_text_addf(page, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%sAPI quota: ",
                 marks[status->verdict]);
    aq_text_add_html(page, host);
    aq_text_add(page, "</title><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                      "<meta name=\"color-scheme\" content=\"light dark\"><style>");
    aq_text_add(page, aq_status_css);
    aq_text_add(page, "</style></head>\n<body><a class=\"skip\" href=\"#main\">To the status</a>"
                      "<header class=\"top\"><h1>API quota <span class=\"host\">");
    aq_text_add_html(page, host);
    aq_text_add(page,
                "</span></h1><div class=\"live\" id=\"live\" hidden><span class=\"dot\" aria-hidden=\"true\"></span>"
                "<span class=\"words\">Live</span><button type=\"button\">Pause</button></div></header>\n");
}

static void foot_add(aq_text_t *page, const aq_status_t *status)
{
    char at[AQ_RFC3339_SIZE];

    aq_clock_rfc3339_write(at, status->health.now_ms);
    aq_text_addf(
        page,
        "<footer class=\"foot\"><p id=\"drawn\" data-live>Drawn at <time datetime=\"%s\">%.10s %.8s UTC</time> by "
        "mod_apiquota %s. The same as JSON: ask with <code>Accept: application/json</code>.</p>",
        at, at, at + 11, AQ_VERSION);
    aq_text_add(page,
                "<p>Counters of addresses, users and expressions are known by hashes alone, so they have no names "
                "here.</p></footer>");
}

const char *aq_status_html(apr_pool_t *p, const aq_status_t *status, const char *host)
{
    aq_text_t *page = aq_text_create(p);

    head_add(page, status, host);
    aq_text_add(page, "<main id=\"main\">");
    verdict_add(page, status);
    aq_text_add(page,
                "<section id=\"hour\" aria-labelledby=\"h-hour\" data-live><h2 id=\"h-hour\">Requests, last hour</h2>");
    aq_part_charts(page, status);
    aq_text_add(page, "</section>");
    parts_add(page, status);
    aq_text_add(page, "<h2>Who uses what</h2>");
    plans_add(page, status);
    lists_add(page, status);
    if (status->health.has_batches) {
        batches_add(page, status);
    }
    aq_text_add(page, "</main>\n");
    foot_add(page, status);
    aq_text_add(page, "<script>");
    aq_text_add(page, aq_status_js);
    aq_text_add(page, "</script></body></html>\n");
    return aq_text_join(page);
}
