/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of the status page: see status_parts.h. */
#include "httpd/status_parts.h"

#include <string.h>

#define MINUTE_MS (AQ_S_PER_MIN * AQ_MS_PER_S)
#define MILLIONS_FROM UINT64_C(10000000)
#define CHART_HEIGHT 88
#define BAR_STEP 10 /* of the chart's width, for each minute */
#define BAR_WIDTH 8
#define OLD_LISTS_S 10

/* Names and colours of the charts; the colours are in status.css. */
static const struct {
    const char *class_name, *title;
} looks[AQ_CHART_COUNT] = {
    [AQ_CHART_ALLOWED] = {"allowed", "Allowed"},
    [AQ_CHART_LIMITED] = {"limited", "Limited"},
    [AQ_CHART_FREE] = {"free", "Free"},
    [AQ_CHART_OTHER] = {"other", "Other"},
};

/* ---- figures ----------------------------------------------------------------------------------------------------- */

void aq_part_number(aq_text_t *page, uint64_t number)
{
    if (number >= MILLIONS_FROM) {
        aq_text_addf(page, "%.1f M", (double)number / 1e6);
    } else if (number >= 1000000) {
        aq_text_addf(page, "%u,%03u,%03u", (unsigned)(number / 1000000), (unsigned)(number / 1000 % 1000),
                     (unsigned)(number % 1000));
    } else if (number >= 1000) {
        aq_text_addf(page, "%u,%03u", (unsigned)(number / 1000), (unsigned)(number % 1000));
    } else {
        aq_text_addf(page, "%u", (unsigned)number);
    }
}

void aq_part_bytes(aq_text_t *page, int64_t bytes)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    double value = (double)bytes;
    unsigned unit = 0;

    for (; value >= 1024 && unit < 4; unit++) {
        value /= 1024;
    }
    aq_text_addf(page, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

void aq_part_duration(aq_text_t *page, int64_t ms)
{
    const int64_t s = ms > 0 ? ms / AQ_MS_PER_S : 0;

    if (s >= AQ_S_PER_DAY) {
        aq_text_addf(page, "%d d %d h", (int)(s / AQ_S_PER_DAY), (int)(s % AQ_S_PER_DAY / AQ_S_PER_HOUR));
    } else if (s >= AQ_S_PER_HOUR) {
        aq_text_addf(page, "%d h %d min", (int)(s / AQ_S_PER_HOUR), (int)(s % AQ_S_PER_HOUR / AQ_S_PER_MIN));
    } else if (s >= AQ_S_PER_MIN) {
        aq_text_addf(page, "%d min", (int)(s / AQ_S_PER_MIN));
    } else {
        aq_text_addf(page, "%d s", (int)s);
    }
}

void aq_part_clock(aq_text_t *page, aq_time_ms_t t)
{
    char text[AQ_RFC3339_SIZE];

    aq_clock_rfc3339_write(text, t);
    aq_text_addf(page, "%.5s", text + strlen("2026-11-22T"));
}

static void meter_add(aq_text_t *page, double share, const char *level)
{
    const double width = share < 0 ? 0 : share > 1 ? 100 : 100 * share;

    aq_text_addf(
        page,
        "<svg class=\"meter\" viewBox=\"0 0 100 6\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
        "<rect class=\"track\" width=\"100\" height=\"6\"/><rect class=\"%s\" width=\"%.1f\" height=\"6\"/></svg>",
        level, width);
}

void aq_part_meter(aq_text_t *page, double share)
{
    meter_add(page, share, share >= 0.95 ? "high" : share >= 0.8 ? "mid" : "low");
}

void aq_part_shares(aq_text_t *page, const uint64_t parts[AQ_CHART_COUNT], uint64_t all)
{
    double at = 0;

    aq_text_add(page, "<svg class=\"meter\" viewBox=\"0 0 100 6\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
                      "<rect class=\"track\" width=\"100\" height=\"6\"/>");
    for (int i = 0; all != 0 && i < AQ_CHART_COUNT; i++) {
        const double width = 100 * (double)parts[i] / (double)all;

        if (parts[i] != 0) {
            aq_text_addf(page, "<rect class=\"%s\" x=\"%.2f\" width=\"%.2f\" height=\"6\"/>", looks[i].class_name, at,
                         width);
        }
        at += width;
    }
    aq_text_add(page, "</svg>");
}

void aq_part_progress(aq_text_t *page, double share)
{
    meter_add(page, share, "low");
}

void aq_part_chip(aq_text_t *page, aq_verdict_t verdict)
{
    static const char *const words[] = {
        [AQ_VERDICT_GOOD] = "Good", [AQ_VERDICT_WARNING] = "Look at it", [AQ_VERDICT_BAD] = "Bad"};

    aq_text_addf(page, "<span class=\"chip %s\">%s</span>", aq_verdict_name(verdict), words[verdict]);
}

void aq_part_look(aq_text_t *page, aq_chart_t which)
{
    aq_text_addf(page,
                 "<svg class=\"swatch\" viewBox=\"0 0 12 12\" aria-hidden=\"true\">"
                 "<rect class=\"%s\" width=\"12\" height=\"12\" rx=\"3\"/></svg>%s",
                 looks[which].class_name, looks[which].title);
}

/* ---- charts ------------------------------------------------------------------------------------------------------ */

static aq_time_ms_t minute_at(const aq_status_t *status, int minute)
{
    const aq_time_ms_t present_ms = status->health.now_ms - status->health.now_ms % MINUTE_MS;

    return present_ms - (AQ_METRICS_HOUR - 1 - minute) * MINUTE_MS;
}

/* What the bars show, in words. */
static void chart_words(aq_text_t *page, const aq_status_t *status, const aq_chart_data_t *chart, const char *title)
{
    aq_text_addf(page, "%s requests in each of the last 60 minutes: ", title);
    aq_part_number(page, chart->total);
    aq_text_add(page, " in all");
    if (chart->most != 0) {
        aq_text_add(page, ", most of them at ");
        aq_part_clock(page, minute_at(status, chart->most_at));
        aq_text_add(page, " (");
        aq_part_number(page, chart->most);
        aq_text_add(page, ")");
    }
    aq_text_add(page, ", ");
    aq_part_number(page, chart->minutes[AQ_METRICS_HOUR - 1]);
    aq_text_add(page, " in the present one.");
}

static void bar_add(aq_text_t *page, const aq_status_t *status, const aq_chart_data_t *chart, int minute)
{
    const uint64_t count = chart->minutes[minute];
    double height = chart->most ? (double)count / (double)chart->most * CHART_HEIGHT : 0;

    if (count == 0) {
        return;
    }
    height = height < 2 ? 2 : height;
    aq_text_addf(page, "<rect x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%.1f\" rx=\"1.5\"><title>",
                 minute * BAR_STEP + 1, CHART_HEIGHT - height, BAR_WIDTH, height);
    aq_part_clock(page, minute_at(status, minute));
    aq_text_add(page, " UTC: ");
    aq_part_number(page, count);
    aq_text_add(page, "</title></rect>");
}

static void chart_add(aq_text_t *page, const aq_status_t *status, aq_chart_t which)
{
    const aq_chart_data_t *chart = &status->charts[which];
    const char *class_name = looks[which].class_name;

    aq_text_add(page, "<figure class=\"card\"><figcaption><span class=\"name\">");
    aq_part_look(page, which);
    aq_text_add(page, "</span><span class=\"big\">");
    aq_part_number(page, chart->total);
    aq_text_add(page, "</span> <span class=\"soft\">in the last hour, at most ");
    aq_part_number(page, chart->most);
    aq_text_addf(
        page, " a minute</span></figcaption><svg class=\"chart\" viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" ",
        AQ_METRICS_HOUR * BAR_STEP, CHART_HEIGHT + 2);
    aq_text_add(page, "role=\"img\" aria-label=\"");
    chart_words(page, status, chart, looks[which].title);
    aq_text_addf(page, "\"><rect class=\"base\" y=\"%d\" width=\"%d\" height=\"1.5\"/><g class=\"%s\">", CHART_HEIGHT,
                 AQ_METRICS_HOUR * BAR_STEP, class_name);
    for (int minute = 0; minute < AQ_METRICS_HOUR; minute++) {
        bar_add(page, status, chart, minute);
    }
    aq_text_add(page, "</g></svg><div class=\"axis\" aria-hidden=\"true\"><span>");
    aq_part_clock(page, minute_at(status, 0));
    aq_text_add(page, " UTC</span><span>now</span></div></figure>");
}

static void hour_table(aq_text_t *page, const aq_status_t *status)
{
    aq_text_add(page, "<details><summary>The last hour as a table</summary><div class=\"card wrap\"><table>"
                      "<caption>Requests by minute (UTC)</caption><thead><tr><th scope=\"col\">Minute</th>");
    for (int i = 0; i < AQ_CHART_COUNT; i++) {
        aq_text_addf(page, "<th scope=\"col\" class=\"n\">%s</th>", looks[i].title);
    }
    aq_text_add(page, "</tr></thead><tbody>");
    for (int minute = AQ_METRICS_HOUR - 1; minute >= 0; minute--) {
        aq_text_add(page, "<tr><th scope=\"row\">");
        aq_part_clock(page, minute_at(status, minute));
        aq_text_add(page, "</th>");
        for (int i = 0; i < AQ_CHART_COUNT; i++) {
            aq_text_add(page, "<td class=\"n\">");
            aq_part_number(page, status->charts[i].minutes[minute]);
            aq_text_add(page, "</td>");
        }
        aq_text_add(page, "</tr>");
    }
    aq_text_add(page, "</tbody></table></div></details>");
}

void aq_part_charts(aq_text_t *page, const aq_status_t *status)
{
    aq_text_add(page, "<div class=\"grid\">");
    chart_add(page, status, AQ_CHART_ALLOWED);
    chart_add(page, status, AQ_CHART_LIMITED);
    chart_add(page, status, AQ_CHART_FREE);
    aq_text_add(page, "</div>");
    hour_table(page, status);
}

/* ---- counters ---------------------------------------------------------------------------------------------------- */

/* "minute (1m), anew in 51 s" */
static void limit_add(aq_text_t *page, const aq_top_row_t *row, aq_time_ms_t now_ms)
{
    aq_text_add(page, "<span class=\"sub\">");
    aq_text_add_html(page, row->limit);
    aq_text_add(page, " (");
    aq_text_add_html(page, row->window);
    aq_text_add(page, ")");
    if (row->reset_at_ms != AQ_TIME_NEVER && row->reset_at_ms > now_ms) {
        aq_text_add(page, ", anew in ");
        aq_part_duration(page, row->reset_at_ms - now_ms);
    }
    aq_text_add(page, "</span>");
}

static void use_add(aq_text_t *page, const aq_top_row_t *row)
{
    aq_part_number(page, row->used);
    if (row->is_unlimited) {
        aq_text_add(page, ", unlimited");
        return;
    }
    aq_text_add(page, " of ");
    aq_part_number(page, row->capacity);
    aq_text_addf(page, " <span class=\"soft\">(%.0f&nbsp;%%)</span>", 100 * aq_top_share(row));
    aq_part_meter(page, aq_top_share(row));
}

static void top_row(aq_text_t *page, const aq_top_row_t *row, aq_time_ms_t now_ms)
{
    aq_text_add(page, "<tr><th scope=\"row\">");
    aq_text_add_html(page, row->tenant);
    if (*row->key_id) {
        aq_text_add(page, "<span class=\"sub\">key ");
        aq_text_add_html(page, row->key_id);
        aq_text_add(page, "</span>");
    }
    aq_text_add(page, "</th><td>");
    use_add(page, row);
    limit_add(page, row, now_ms);
    aq_text_add(page, "</td></tr>");
}

void aq_part_top(aq_text_t *page, const char *id, const char *caption, const char *empty, const aq_top_list_t *list,
                 aq_time_ms_t now_ms)
{
    aq_text_addf(page, "<section class=\"card wrap\" id=\"%s\" data-live><table><caption>%s</caption>", id, caption);
    aq_text_add(page,
                "<thead><tr><th scope=\"col\" class=\"whose\">Whose</th><th scope=\"col\">Used of a limit</th></tr>"
                "</thead><tbody>");
    for (unsigned i = 0; i < list->count; i++) {
        top_row(page, &list->rows[i], now_ms);
    }
    if (list->count == 0) {
        aq_text_addf(page, "<tr><td colspan=\"2\" class=\"none\">%s</td></tr>", empty);
    }
    aq_text_add(page, "</tbody></table></section>");
}

void aq_part_top_age(aq_text_t *page, const aq_top_t *top, aq_time_ms_t now_ms)
{
    const aq_time_ms_t age_s = (now_ms - top->at_ms) / AQ_MS_PER_S;

    aq_text_add(page, "<p class=\"soft\" id=\"lists-age\" data-live>");
    if (top->seen < top->key_count) {
        aq_text_addf(page, "These lists are not whole yet: so far %u of %u keys were looked at.", top->seen,
                     top->key_count);
    } else if (top->at_ms != 0 && age_s >= OLD_LISTS_S) {
        aq_text_addf(page, "These lists are %" APR_INT64_T_FMT " seconds old.", age_s);
    }
    aq_text_add(page, "</p>");
}
