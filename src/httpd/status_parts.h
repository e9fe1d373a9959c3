/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of the status page's HTML, each of which writes itself into the text of the page. They know nothing of httpd. */
#ifndef AQ_STATUS_PARTS_H
#define AQ_STATUS_PARTS_H

#include "base/aq_text.h"
#include "httpd/status_data.h"

/* 12,345; from ten millions on 12.3 M. */
void aq_part_number(aq_text_t *page, uint64_t number);

/* "1.5 GB". */
void aq_part_bytes(aq_text_t *page, int64_t bytes);

/* "3 d 4 h", "12 min", "8 s". */
void aq_part_duration(aq_text_t *page, int64_t ms);

/* "12:31", UTC. */
void aq_part_clock(aq_text_t *page, aq_time_ms_t t);

/* A bar that is filled to `share` (above 1: to its end). For eyes alone: the figures stand beside it. */
void aq_part_meter(aq_text_t *page, double share);

/* The same, where full is good. */
void aq_part_progress(aq_text_t *page, double share);

/* A bar that is cut by decisions, in the colours of the charts. */
void aq_part_shares(aq_text_t *page, const uint64_t parts[AQ_CHART_COUNT], uint64_t all);

/* A word in the verdict's colour. */
void aq_part_chip(aq_text_t *page, aq_verdict_t verdict);

/* The colour and the name of a chart. */
void aq_part_look(aq_text_t *page, aq_chart_t which);

/* The charts of the past hour, and the same figures as a table. */
void aq_part_charts(aq_text_t *page, const aq_status_t *status);

/* A table of counters: whose, which limit, how much of it. `id` is unique in the page; `empty` is said where there are none. */
void aq_part_top(aq_text_t *page, const char *id, const char *caption, const char *empty, const aq_top_list_t *list,
                 aq_time_ms_t now_ms);

/* How far these tables have come where there are very many keys, or how old they are; empty where they are of now. */
void aq_part_top_age(aq_text_t *page, const aq_top_t *top, aq_time_ms_t now_ms);

#endif
