/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocating and merging of settings. See config.h.
 *
 * httpd merges sections anew for each request, so the merger is part of a request's cost: where the outer section sets
 * nothing of ours, the inner one is returned as it is.
 */
#include "httpd/config.h"

#include "httpd/options.h"
#include "httpd/rules.h"

#include <apr_strings.h>
#include <http_core.h>
#include <stddef.h>
#include <string.h>

/* The main server's settings: one set a process. Replaced when httpd reads its configuration again. */
static aq_server_config_t *main_config;

void *aq_config_server_create(apr_pool_t *p, server_rec *s)
{
    if (s->is_virtual) {
        return main_config;
    }
    main_config = apr_pcalloc(p, sizeof(*main_config));
    main_config->store_size = AQ_UNSET;
    main_config->store_failure = AQ_UNSET;
    main_config->spool_max_bytes = AQ_UNSET;
    main_config->ipv6_prefix = AQ_UNSET;
    main_config->daily_use = AQ_UNSET;
    main_config->spool_tenant_max_bytes = AQ_UNSET;
    main_config->spool_keep_percent = AQ_UNSET;
    main_config->queue_tenant_max = AQ_UNSET;
    main_config->worker = AQ_UNSET;
    main_config->worker_threads = AQ_UNSET;
    main_config->expressions = apr_hash_make(p);
    main_config->plans = apr_hash_make(p);
    main_config->location_limits = apr_array_make(p, 4, sizeof(aq_limit_t *));
    main_config->sections = apr_array_make(p, 8, sizeof(aq_location_config_t *));
    return main_config;
}

static void location_init(aq_location_config_t *location)
{
    location->quota = AQ_UNSET;
    location->forward_key = AQ_UNSET;
    location->free_count = AQ_UNSET;
    location->batch.mode = AQ_UNSET;
    location->batch.max_body_bytes = AQ_UNSET;
    location->batch.timeout_ms = AQ_UNSET;
    location->batch.attempts = AQ_UNSET;
    location->batch.retention_ms = AQ_UNSET;
    location->batch.result_retention_ms = AQ_UNSET;
    location->batch.max_wait_ms = AQ_UNSET;
    location->batch.concurrency = AQ_UNSET;
    location->batch.target_is_idempotent = AQ_UNSET;
    location->batch.is_items = AQ_UNSET;
    location->batch.max_items = AQ_UNSET;
    location->batch.items_parallel = AQ_UNSET;
    location->batch.items_gap_us = AQ_UNSET;
    location->batch.items_timeout_ms = AQ_UNSET;
    location->batch.wants_webhook = AQ_UNSET;
}

void *aq_config_location_create(apr_pool_t *p, char *section)
{
    aq_location_config_t *location = apr_pcalloc(p, sizeof(*location));

    location_init(location);
    location->section = apr_pstrdup(p, section);
    /* Refused there, but read while requests run: an .htaccess must not touch the list that they share. */
    if (section && main_config && ap_state_query(AP_SQ_MAIN_STATE) != AP_SQ_MS_RUN_MPM) {
        APR_ARRAY_PUSH(main_config->sections, aq_location_config_t *) = location;
    }
    return location;
}

static int64_t inner_or_outer(int64_t inner, int64_t outer)
{
    return inner == AQ_UNSET ? outer : inner;
}

static void batch_merge(aq_location_batch_t *merged, const aq_location_batch_t *outer, const aq_location_batch_t *inner)
{
    /* The name and the status URL belong to the section that switched batches on. */
    const aq_location_batch_t *named = inner->name ? inner : outer;

    merged->mode = (int)inner_or_outer(inner->mode, outer->mode);
    merged->target = inner->target ? inner->target : outer->target;
    merged->max_body_bytes = inner_or_outer(inner->max_body_bytes, outer->max_body_bytes);
    merged->timeout_ms = inner_or_outer(inner->timeout_ms, outer->timeout_ms);
    merged->attempts = (int)inner_or_outer(inner->attempts, outer->attempts);
    merged->retention_ms = inner_or_outer(inner->retention_ms, outer->retention_ms);
    merged->result_retention_ms = inner_or_outer(inner->result_retention_ms, outer->result_retention_ms);
    merged->max_wait_ms = inner_or_outer(inner->max_wait_ms, outer->max_wait_ms);
    merged->concurrency_is_of_all =
        inner->concurrency == AQ_UNSET ? outer->concurrency_is_of_all : inner->concurrency_is_of_all;
    merged->concurrency = (int)inner_or_outer(inner->concurrency, outer->concurrency);
    merged->target_is_idempotent = (int)inner_or_outer(inner->target_is_idempotent, outer->target_is_idempotent);
    merged->is_items = (int)inner_or_outer(inner->is_items, outer->is_items);
    merged->max_items = (int)inner_or_outer(inner->max_items, outer->max_items);
    merged->items_parallel = (int)inner_or_outer(inner->items_parallel, outer->items_parallel);
    merged->items_gap_us = inner_or_outer(inner->items_gap_us, outer->items_gap_us);
    merged->items_timeout_ms = (int)inner_or_outer(inner->items_timeout_ms, outer->items_timeout_ms);
    merged->wants_webhook = (int)inner_or_outer(inner->wants_webhook, outer->wants_webhook);
    merged->forward = inner->forward ? inner->forward : outer->forward;
    merged->name = named->name;
    merged->base_url = named->base_url;
}

AQ_APART static aq_location_config_t *location_merge(apr_pool_t *p, const aq_location_config_t *outer,
                                                     const aq_location_config_t *inner)
{
    aq_location_config_t *merged = apr_pmemdup(p, inner, sizeof(*inner));

    merged->quota = (int)inner_or_outer(inner->quota, outer->quota);
    merged->key_from = inner->key_from ? inner->key_from : outer->key_from;
    merged->forward_key = (int)inner_or_outer(inner->forward_key, outer->forward_key);
    if (inner->free_count == AQ_UNSET) {
        memcpy(merged->free_statuses, outer->free_statuses, sizeof(merged->free_statuses));
        merged->free_count = outer->free_count;
    }
    merged->limits = aq_limits_merge(p, outer->limits, inner->limits);
    batch_merge(&merged->batch, &outer->batch, &inner->batch);
    merged->options = aq_options_merge(p, outer->options, inner->options);
    merged->rules = aq_rules_merge(p, outer->rules, inner->rules);
    merged->section = inner->section ? inner->section : outer->section;
    return merged;
}

aq_location_config_t *aq_config_location_copy(apr_pool_t *p, const aq_location_config_t *location)
{
    aq_location_config_t *copy = apr_pmemdup(p, location, sizeof(*location));

    copy->limits = NULL;
    copy->options = location->options ? apr_pmemdup(p, location->options, sizeof(*copy->options)) : NULL;
    copy->rules = location->rules ? apr_pmemdup(p, location->rules, sizeof(*copy->rules)) : NULL;
    return copy;
}

void *aq_config_location_merge(apr_pool_t *p, void *outer, void *inner)
{
    const aq_location_config_t *above = outer;

    return above->is_default ? inner : location_merge(p, above, inner);
}

void aq_config_server_default_mark(server_rec *s)
{
    aq_location_config_t fresh;

    memset(&fresh, 0, sizeof(fresh));
    location_init(&fresh);
    for (; s; s = s->next) {
        aq_location_config_t *location = ap_get_module_config(s->lookup_defaults, &apiquota_module);
        if (location) {
            fresh.section = location->section;
            location->is_default = fresh.is_default = 0;
            /* Both were zeroed with their padding, and this way no member can be forgotten. */
            /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-exp42-c,cert-flp37-c) */
            location->is_default = memcmp(location, &fresh, sizeof(fresh)) == 0;
        }
    }
}

int aq_config_is_free(const aq_location_config_t *location, int status)
{
    if (location->free_count == AQ_UNSET) {
        return status == HTTP_NOT_MODIFIED;
    }
    for (int i = 0; i < location->free_count; i++) {
        if (location->free_statuses[i] == status) {
            return 1;
        }
    }
    return 0;
}
