/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay: who a line is charged to, and what is counted for him. All is made when a caller first appears; afterwards a
 * line costs one look-up, one more for each limit by address, and one for its sections where there are any.
 */
#include "ctl/replay_private.h"

#include "base/aq_address.h"

#include <apr_strings.h>
#include <stddef.h>
#include <string.h>

#define UNKNOWN_SHOWN 5
#define SUBJECT_KEY_SIZE offsetof(aq_replay_subject_t, name)

/* ---- subjects --------------------------------------------------------------------------------------------------- */

/* Whom a limit counts for: the name for eyes, and the hash for the store. */
typedef struct {
    const char *name;
    aq_hash128_t hash;
} subject_id_t;

static aq_replay_subject_t *subject_find(aq_replay_t *replay, aq_replay_limit_t *limit, const subject_id_t *id)
{
    aq_replay_subject_t wanted = {
        .key = aq_hash_join(limit->limit->identity, id->hash), .limit = limit, .name = id->name};
    aq_replay_subject_t *subject = apr_hash_get(replay->result.subjects, &wanted, SUBJECT_KEY_SIZE);

    if (!subject) {
        subject = apr_pmemdup(replay->p, &wanted, sizeof(wanted));
        limit->subjects++;
        apr_hash_set(replay->result.subjects, subject, SUBJECT_KEY_SIZE, subject);
    }
    return subject;
}

static subject_id_t id_of(const aq_replay_t *replay, aq_per_t per, const char *name)
{
    return (subject_id_t){name, aq_subject_hash(&replay->settings.store->secret, per, name)};
}

/* The section that carries the limit, or for a plan's the last one that holds; "": the server's own level. */
static const char *endpoint_of(const aq_caller_t *caller, const aq_limit_t *limit)
{
    return limit->section ? limit->section : caller->under->name;
}

static subject_id_t caller_id(const aq_replay_t *replay, const aq_caller_t *caller, aq_replay_from_t from,
                              const aq_limit_t *limit)
{
    const aq_hash_secret_t *secret = &replay->settings.store->secret;

    if (from != AQ_FROM_ENDPOINT && from != AQ_FROM_TENANT_ENDPOINT) {
        return id_of(replay, limit->per, from == AQ_FROM_TENANT ? caller->tenant : caller->key);
    }
    subject_id_t endpoint = id_of(replay, AQ_PER_ENDPOINT, endpoint_of(caller, limit));
    endpoint.name = *endpoint.name ? endpoint.name : "(server)";
    if (from == AQ_FROM_TENANT_ENDPOINT) {
        aq_hash128_t tenant = aq_subject_hash(secret, AQ_PER_TENANT, caller->tenant);
        endpoint.hash = aq_subject_join(secret, limit->per, &tenant, &endpoint.hash);
        endpoint.name = apr_pstrcat(replay->p, caller->tenant, " ", endpoint.name, NULL);
    }
    return endpoint;
}

unsigned aq_replay_subjects_of(aq_replay_t *replay, const aq_caller_t *caller, const aq_replay_address_t *address,
                               aq_replay_subject_t *subjects[AQ_LIMITS_MAX])
{
    unsigned count = 0;

    for (unsigned i = 0; i < caller->limits->count; i++) {
        aq_replay_subject_t *subject = caller->subjects[i];
        if (!subject && address) {
            aq_replay_limit_t *limit = caller->limits->rows[i].limit;
            subject_id_t id = id_of(replay, limit->limit->per, address->name);
            subject = subject_find(replay, limit, &id);
        }
        if (subject) {
            subjects[count++] = subject;
        }
    }
    return count;
}

/* ---- callers ---------------------------------------------------------------------------------------------------- */

/* The same caller as `who` under these sections. */
static aq_caller_t *caller_make(aq_replay_t *replay, const aq_caller_t *who, const aq_section_set_t *under)
{
    const aq_replay_limits_t *counted = aq_replay_limits_of(replay, who->plan, who->own, under);
    aq_caller_t *caller = apr_pcalloc(replay->p, sizeof(*caller) + counted->count * sizeof(void *));

    *caller = *who;
    caller->limits = counted;
    caller->under = under;
    caller->next = NULL;
    for (unsigned i = 0; i < counted->count; i++) {
        if (counted->rows[i].from != AQ_FROM_ADDRESS) {
            aq_replay_limit_t *limit = counted->rows[i].limit;
            subject_id_t id = caller_id(replay, caller, counted->rows[i].from, limit->limit);
            caller->subjects[i] = subject_find(replay, limit, &id);
        }
    }
    return caller;
}

/* Callers use few sections; a line's are looked for one by one. */
static aq_caller_t *caller_under(aq_replay_t *replay, aq_caller_t *caller, const aq_section_set_t *under)
{
    aq_caller_t *found = caller;

    while (found && found->under != under) {
        found = found->next;
    }
    if (!found) {
        found = caller_make(replay, caller, under);
        found->next = caller->next;
        caller->next = found;
    }
    return found;
}

/* A caller whom no keys file knows: key and tenant in one. NULL without a plan for him. */
static aq_caller_t *caller_of_default(aq_replay_t *replay, const char *name, const aq_section_set_t *under)
{
    const char *plan = replay->settings.default_plan;
    const aq_plan_t *found = plan ? apr_hash_get(replay->settings.plans, plan, APR_HASH_KEY_STRING) : NULL;

    return found ? caller_make(replay, &(aq_caller_t){.key = name, .tenant = name, .plan = plan, .own = found->limits},
                               under)
                 : NULL;
}

static aq_caller_t *caller_of_user(aq_replay_t *replay, aq_log_text_t user, const aq_section_set_t *under)
{
    aq_caller_t *caller = apr_hash_get(replay->users, user.at, (apr_ssize_t)user.size);

    if (caller) {
        return caller;
    }
    const aq_principal_t *principal = apr_hash_get(replay->principals, user.at, (apr_ssize_t)user.size);
    if (!principal && !replay->settings.default_plan) {
        return NULL;
    }
    const char *name = apr_pstrmemdup(replay->p, user.at, user.size);
    if (principal) {
        const aq_caller_t who = {
            .key = principal->key_id, .tenant = principal->tenant, .plan = principal->plan, .own = principal->limits};
        caller = caller_make(replay, &who, under);
    } else {
        caller = caller_of_default(replay, name, under);
    }
    apr_hash_set(replay->users, name, (apr_ssize_t)user.size, caller);
    return caller;
}

static void unknown_remember(aq_replay_t *replay, aq_log_text_t user)
{
    apr_array_header_t *unknown = replay->result.unknown;

    for (int i = 0; i < unknown->nelts; i++) {
        const char *name = APR_ARRAY_IDX(unknown, i, const char *);
        if (strlen(name) == user.size && memcmp(name, user.at, user.size) == 0) {
            return;
        }
    }
    if (unknown->nelts < UNKNOWN_SHOWN) {
        APR_ARRAY_PUSH(unknown, const char *) = apr_pstrmemdup(replay->p, user.at, user.size);
    }
}

static aq_replay_address_t *address_find(aq_replay_t *replay, aq_log_text_t text)
{
    char network[AQ_ADDRESS_SIZE];

    if (aq_address_subject(text.at, text.size, AQ_ADDRESS_IPV6_PREFIX, network)) {
        text = (aq_log_text_t){network, strlen(network)};
    }
    aq_replay_address_t *address = apr_hash_get(replay->addresses, text.at, (apr_ssize_t)text.size);
    if (!address) {
        address = apr_pcalloc(replay->p, sizeof(*address));
        address->name = apr_pstrmemdup(replay->p, text.at, text.size);
        apr_hash_set(replay->addresses, address->name, (apr_ssize_t)text.size, address);
    }
    return address;
}

static aq_caller_t *caller_of_address(aq_replay_t *replay, aq_replay_address_t *address, const aq_section_set_t *under)
{
    if (!address->caller) {
        address->caller = caller_of_default(replay, address->name, under);
    }
    return address->caller;
}

/* With 401 the user is whom somebody claimed to be, unless our module set it, which does so for valid keys alone. */
static int is_claimed(const aq_replay_t *replay, const aq_log_line_t *line)
{
    return line->status == 401 && !apr_hash_get(replay->principals, line->user.at, (apr_ssize_t)line->user.size);
}

static const aq_section_set_t *sections_of(aq_replay_t *replay, const aq_log_line_t *line)
{
    if (!replay->settings.sections) {
        return NULL;
    }
    if (line->target.size == 0 && !replay->is_without_target) {
        replay->is_without_target = 1;
        aq_replay_note(replay, "some lines tell no path (the one in %r): no <Location> holds for them");
    }
    return aq_sections_find(replay->settings.sections, line->target.at, line->target.size);
}

aq_caller_t *aq_replay_caller_find(aq_replay_t *replay, const aq_log_line_t *line, void **address)
{
    int has_user = line->user.size > 0 && !is_claimed(replay, line);
    const aq_section_set_t *under = sections_of(replay, line);
    aq_caller_t *caller = has_user ? caller_of_user(replay, line->user, under) : NULL;

    *address = NULL;
    if (has_user && !caller) {
        unknown_remember(replay, line->user);
    }
    if (line->address.size > 0 && (replay->is_by_address || (!has_user && replay->settings.default_plan))) {
        *address = address_find(replay, line->address);
    }
    if (!has_user && *address) {
        caller = caller_of_address(replay, *address, under);
    }
    return caller ? caller_under(replay, caller, under) : NULL;
}

void aq_replay_callers_prepare(aq_replay_t *replay)
{
    replay->principals = apr_hash_make(replay->p);
    replay->users = apr_hash_make(replay->p);
    replay->addresses = apr_hash_make(replay->p);
    replay->limit_sets = apr_hash_make(replay->p);
    replay->limits = apr_hash_make(replay->p);
    const apr_array_header_t *principals =
        replay->settings.keys ? aq_key_set_list(replay->settings.keys, replay->p) : NULL;
    for (int i = 0; principals && i < principals->nelts; i++) {
        const aq_principal_t *principal = APR_ARRAY_IDX(principals, i, const aq_principal_t *);
        apr_hash_set(replay->principals, principal->key_id, APR_HASH_KEY_STRING, principal);
    }
}
