/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a key set: from the JSON of a keys file to keys that are found in constant time.
 *
 * Tenants first, then keys. Whatever breaks a rule is refused alone: it is counted, the first hundred are kept as
 * sentences that name their place, and the others stay out of the log too. A wrong type is a broken rule: a key whose
 * "disabled" is no boolean must not be let in.
 */
#include "identity/key_set.h"

#include "identity/tenant_webhook.h"

#include <apr_strings.h>
#include <string.h>

#define REFUSAL_MAX 1024

typedef struct {
    const char *name;
    const aq_plan_t *plan;
    apr_array_header_t *limits; /* the plan's with the tenant's overrides */
    aq_hash128_t subject;
    unsigned max_keys, keys;
    int billing_day; /* 1 to 31 */
    int is_refused;
} tenant_t;

/* What aq_key_set_create works with. */
typedef struct {
    apr_pool_t *p; /* the set's */
    apr_pool_t *ptemp;
    apr_hash_t *plans;
    const aq_hash_secret_t *secret;
    aq_key_set_t *set;
    apr_hash_t *tenants; /* name -> tenant_t *, also of refused ones */
    apr_hash_t *ids;     /* of keys, to themselves */
} build_t;

/* ---- refusals ------------------------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void refuse(build_t *build, const char *place, const char *format, ...)
{
    aq_keys_report_t *report = &build->set->report;
    char reason[REFUSAL_MAX];
    va_list arguments;

    report->refused++;
    if (report->refusals->nelts >= AQ_KEYS_REFUSALS_MAX) {
        return;
    }
    va_start(arguments, format);
    (void)apr_vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    APR_ARRAY_PUSH(report->refusals, const char *) = apr_pstrcat(build->p, place, ": ", reason, NULL);
}

/* A text of the file, fit to stand in a sentence: what is no name could hold anything, at any length. */
static const char *shown(const char *text)
{
    return aq_principal_name_is_valid(text) ? text : "(no valid name)";
}

/* ---- members ---------------------------------------------------------------------------------------------------- */

/* The object `name` of limit name -> rate text, as a hash in `p`; NULL where there is none. 0: it is no such thing. */
static int overrides_read(apr_pool_t *p, const json_t *entry, apr_hash_t **overrides)
{
    json_t *object = json_object_get(entry, "limits"), *rate;
    const char *limit;

    *overrides = NULL;
    if (!object) {
        return 1;
    }
    if (!json_is_object(object)) {
        return 0;
    }
    *overrides = apr_hash_make(p);
    json_object_foreach(object, limit, rate)
    {
        if (!json_is_string(rate)) {
            return 0;
        }
        apr_hash_set(*overrides, apr_pstrdup(p, limit), APR_HASH_KEY_STRING, apr_pstrdup(p, json_string_value(rate)));
    }
    return 1;
}

/* The limits that apply once `entry` has had its say. NULL after a refusal. */
static apr_array_header_t *limits_read(build_t *build, const char *place, const json_t *entry,
                                       apr_array_header_t *limits, aq_per_t added_per)
{
    apr_array_header_t *result;
    apr_hash_t *overrides;
    const char *reason;

    if (!overrides_read(build->p, entry, &overrides)) {
        refuse(build, place, "\"limits\" is no object of limit names and rates");
        return NULL;
    }
    if (!overrides || apr_hash_count(overrides) == 0) {
        return limits;
    }
    if (aq_limits_override(build->p, limits, overrides, added_per, build->secret, &result, &reason) != APR_SUCCESS) {
        refuse(build, place, "%s", reason ? reason : "its limits cannot be taken");
        return NULL;
    }
    return result;
}

/* ---- tenants ---------------------------------------------------------------------------------------------------- */

static int max_keys_read(const json_t *entry, unsigned *max_keys)
{
    const json_t *value = json_object_get(entry, "max_keys");

    *max_keys = AQ_KEYS_PER_TENANT_DEFAULT;
    if (!value) {
        return 1;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > AQ_KEYS_PER_TENANT_MAX) {
        return 0;
    }
    *max_keys = (unsigned)json_integer_value(value);
    return 1;
}

/* The day on which the tenant's months begin, for limits with anchor=tenant. */
static int billing_day_read(const json_t *entry, int *day)
{
    const json_t *value = json_object_get(entry, "billing_day");

    *day = 1;
    if (!value) {
        return 1;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > 31) {
        return 0;
    }
    *day = (int)json_integer_value(value);
    return 1;
}

/* Fills `tenant` from `entry`; 0 after a refusal. */
static int tenant_read(build_t *build, const char *place, const json_t *entry, tenant_t *tenant)
{
    const char *plan = aq_json_string(entry, "plan");

    if (!json_is_object(entry) || !plan) {
        refuse(build, place, "a tenant is an object with a \"plan\"");
        return 0;
    }
    tenant->plan = apr_hash_get(build->plans, plan, APR_HASH_KEY_STRING);
    if (!tenant->plan) {
        refuse(build, place, "the plan \"%s\" is unknown; the tenant's keys are refused with it", shown(plan));
        return 0;
    }
    if (!max_keys_read(entry, &tenant->max_keys)) {
        refuse(build, place, "\"max_keys\" is no number from 0 to %d", AQ_KEYS_PER_TENANT_MAX);
        return 0;
    }
    if (!billing_day_read(entry, &tenant->billing_day)) {
        refuse(build, place, "\"billing_day\" is no day from 1 to 31");
        return 0;
    }
    tenant->limits = limits_read(build, place, entry, tenant->plan->limits, AQ_PER_TENANT);
    if (tenant->limits) {
        tenant->limits = aq_limits_anchor(build->p, tenant->limits, tenant->billing_day, build->secret);
    }
    return tenant->limits != NULL;
}

/* A webhook that cannot be used takes nothing else with it: the tenant and its keys are in force without one. */
static void webhook_check(build_t *build, const char *place, const json_t *entry)
{
    const json_t *member = json_object_get(entry, "webhook");
    aq_tenant_webhook_t *webhook;
    const char *reason;

    if (member && aq_tenant_webhook_parse(build->ptemp, member, &webhook, &reason) != APR_SUCCESS) {
        refuse(build, apr_pstrcat(build->ptemp, place, ".webhook", NULL), "%s", reason);
    }
}

/* For callers who are of the tenant by other means than a key. */
static void tenant_keep(build_t *build, const tenant_t *tenant)
{
    aq_principal_t *principal = apr_pcalloc(build->p, sizeof(*principal));

    principal->tenant = tenant->name;
    principal->plan = tenant->plan->name;
    principal->plan_tally = tenant->plan->tally;
    principal->limits = tenant->limits;
    principal->subject[AQ_PER_TENANT] = tenant->subject;
    apr_hash_set(build->set->tenants, tenant->name, APR_HASH_KEY_STRING, principal);
    build->set->report.tenants++;
}

static void tenants_read(build_t *build, json_t *tenants)
{
    const char *name;
    json_t *entry;
    int index = 0;

    json_object_foreach(tenants, name, entry)
    {
        if (!aq_principal_name_is_valid(name)) {
            refuse(build, apr_psprintf(build->ptemp, "tenants[%d]", index),
                   "a tenant's name is visible ASCII without spaces, \" and \\, at most %d characters",
                   AQ_PRINCIPAL_NAME_MAX);
        } else {
            tenant_t *tenant = apr_pcalloc(build->ptemp, sizeof(*tenant));
            tenant->name = apr_pstrdup(build->p, name);
            tenant->subject = aq_subject_hash(build->secret, AQ_PER_TENANT, name);
            const char *place = apr_pstrcat(build->ptemp, "tenants.", name, NULL);
            tenant->is_refused = !tenant_read(build, place, entry, tenant);
            if (!tenant->is_refused) {
                webhook_check(build, place, entry);
                tenant_keep(build, tenant);
            }
            apr_hash_set(build->tenants, tenant->name, APR_HASH_KEY_STRING, tenant);
        }
        index++;
    }
}

/* ---- keys ------------------------------------------------------------------------------------------------------- */

static int scopes_read(build_t *build, const char *place, const json_t *entry, aq_principal_t *principal)
{
    const json_t *array = json_object_get(entry, "scopes"), *item;
    size_t i;

    if (!array || (json_is_array(array) && json_array_size(array) == 0)) {
        return 1;
    }
    if (!json_is_array(array) || json_array_size(array) > AQ_SCOPES_PER_KEY_MAX) {
        refuse(build, place, "\"scopes\" is no array of at most %d scopes", AQ_SCOPES_PER_KEY_MAX);
        return 0;
    }
    const char **scopes = apr_pcalloc(build->p, json_array_size(array) * sizeof(*scopes));
    json_array_foreach(array, i, item)
    {
        if (!aq_principal_name_is_valid(json_string_value(item))) {
            refuse(build, place, "scopes[%d]: a scope is visible ASCII without spaces, \" and \\", (int)i);
            return 0;
        }
        scopes[i] = apr_pstrdup(build->p, json_string_value(item));
    }
    principal->scopes = scopes;
    principal->scope_count = (unsigned)json_array_size(array);
    return 1;
}

static int state_read(build_t *build, const char *place, const json_t *entry, aq_principal_t *principal)
{
    const json_t *disabled = json_object_get(entry, "disabled"), *expires = json_object_get(entry, "expires_at");

    if (disabled && !json_is_boolean(disabled)) {
        refuse(build, place, "\"disabled\" is neither true nor false");
        return 0;
    }
    principal->is_disabled = json_is_true(disabled);
    if (!expires || json_is_null(expires)) {
        return 1;
    }
    if (!json_is_string(expires) ||
        aq_clock_rfc3339_parse(json_string_value(expires), &principal->expires_at_ms) != APR_SUCCESS) {
        refuse(build, place, "\"expires_at\" is no time like \"2027-01-01T00:00:00Z\"");
        return 0;
    }
    if (principal->expires_at_ms <= 0) {
        principal->expires_at_ms = 1; /* 0 would mean never */
    }
    return 1;
}

/* What is true of the key alone: id, hash, scopes, dates. 0 after a refusal. */
static int key_read(build_t *build, const char *place, const json_t *entry, aq_key_t *key)
{
    const char *id = aq_json_string(entry, "id"), *hash = aq_json_string(entry, "sha256");

    if (!aq_principal_name_is_valid(id)) {
        refuse(build, place, "a key needs an \"id\": visible ASCII without spaces, \" and \\, at most %d characters",
               AQ_PRINCIPAL_NAME_MAX);
        return 0;
    }
    if (apr_hash_get(build->ids, id, APR_HASH_KEY_STRING)) {
        refuse(build, place, "the id is that of a key above");
        return 0;
    }
    if (!hash || aq_hash_hex_parse(hash, key->digest, sizeof(key->digest)) != APR_SUCCESS) {
        refuse(build, place, "\"sha256\" is not 64 hexadecimal digits");
        return 0;
    }
    if (*aq_key_set_slot(build->set, key->digest)) {
        refuse(build, place, "the hash is that of a key above");
        return 0;
    }
    key->principal.key_id = apr_pstrdup(build->p, id);
    return scopes_read(build, place, entry, &key->principal) && state_read(build, place, entry, &key->principal);
}

/* The tenant that the key belongs to, with room for it. NULL after a refusal. */
static tenant_t *key_tenant(build_t *build, const char *place, const json_t *entry)
{
    const char *name = aq_json_string(entry, "tenant");
    tenant_t *tenant = name ? apr_hash_get(build->tenants, name, APR_HASH_KEY_STRING) : NULL;

    if (!tenant) {
        refuse(build, place, "the tenant \"%s\" is unknown", shown(name));
        return NULL;
    }
    if (tenant->is_refused) {
        refuse(build, place, "the tenant \"%s\" is refused", tenant->name);
        return NULL;
    }
    if (tenant->keys >= tenant->max_keys) {
        refuse(build, place, "the tenant \"%s\" has %u keys already, as many as it may", tenant->name, tenant->keys);
        return NULL;
    }
    return tenant;
}

/* The successor of a rotated key counts where that one did. */
static const char *counted_as(const json_t *entry, const char *id)
{
    const char *other = aq_json_string(entry, "counts_as");

    return aq_principal_name_is_valid(other) ? other : id;
}

static void key_add(build_t *build, size_t index, const json_t *entry)
{
    aq_key_t *key = &build->set->keys[build->set->count];
    aq_principal_t *principal = &key->principal;
    const char *id = aq_json_string(entry, "id");
    char place[AQ_PRINCIPAL_NAME_MAX + 32];

    if (aq_principal_name_is_valid(id)) {
        (void)apr_snprintf(place, sizeof(place), "keys[%d] (%s)", (int)index, id);
    } else {
        (void)apr_snprintf(place, sizeof(place), "keys[%d]", (int)index);
    }
    memset(key, 0, sizeof(*key));
    if (!key_read(build, place, entry, key)) {
        return;
    }
    tenant_t *tenant = key_tenant(build, place, entry);
    principal->limits = tenant ? limits_read(build, place, entry, tenant->limits, AQ_PER_KEY) : NULL;
    if (!principal->limits) {
        return;
    }
    principal->limits = aq_limits_anchor(build->p, principal->limits, tenant->billing_day, build->secret);
    principal->tenant = tenant->name;
    principal->plan = tenant->plan->name;
    principal->plan_tally = tenant->plan->tally;
    principal->subject[AQ_PER_KEY] = aq_subject_hash(build->secret, AQ_PER_KEY, counted_as(entry, principal->key_id));
    principal->subject[AQ_PER_TENANT] = tenant->subject;
    principal->is_first_of_tenant = tenant->keys++ == 0;
    apr_hash_set(build->ids, principal->key_id, APR_HASH_KEY_STRING, principal);
    *aq_key_set_slot(build->set, key->digest) = ++build->set->count;
}

/* ---- the set ---------------------------------------------------------------------------------------------------- */

/* Room for `count` keys and one that is refused at the end. The table by digest is at most half full: probing ends. */
static void rooms_make(build_t *build, size_t count)
{
    uint64_t slots = 8;

    while (slots < (uint64_t)count * 2) {
        slots *= 2;
    }
    build->set->keys = apr_palloc(build->p, (count + 1) * sizeof(*build->set->keys));
    build->set->by_digest = apr_pcalloc(build->p, slots * sizeof(*build->set->by_digest));
    build->set->digest_mask = slots - 1;
    build->set->tenants = apr_hash_make(build->p);
    build->tenants = apr_hash_make(build->ptemp);
    build->ids = apr_hash_make(build->ptemp);
}

static void set_fill(build_t *build, json_t *tenants, json_t *keys)
{
    static atomic_uint_fast64_t serials;
    aq_key_set_t *set = build->set;
    const json_t *entry;
    size_t i;

    set->serial = atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed) + 1;
    rooms_make(build, json_array_size(keys));
    tenants_read(build, tenants);
    json_array_foreach(keys, i, entry)
    {
        key_add(build, i, entry);
    }
    set->report.keys = set->count;
    set->cache = apr_palloc(build->p, sizeof(*set->cache));
    aq_cache_init(set->cache, build->p, set->count);
    set->holders = apr_palloc(build->p, sizeof(*set->holders));
    atomic_init(set->holders, 0);
}

const char *aq_keys_document_wrong(const json_t *document)
{
    const json_t *tenants = json_object_get(document, "tenants"), *keys = json_object_get(document, "keys");

    return json_is_object(document) && (!tenants || json_is_object(tenants)) && (!keys || json_is_array(keys))
               ? NULL
               : "a keys file is an object with an object \"tenants\" and an array \"keys\"";
}

apr_status_t aq_key_set_create(apr_pool_t *p, json_t *file, apr_hash_t *plans, const aq_hash_secret_t *secret,
                               const aq_hash_secret_t *cache_secret, aq_key_set_t **set, const char **error)
{
    const char *wrong = aq_keys_document_wrong(file);
    build_t build = {.plans = plans, .secret = secret};

    *set = NULL;
    if (wrong) {
        *error = wrong;
        return APR_EGENERAL;
    }
    apr_status_t rv = apr_pool_create_unmanaged_ex(&build.p, apr_pool_abort_get(p), NULL);
    if (rv == APR_SUCCESS) {
        rv = apr_pool_create(&build.ptemp, p);
    }
    if (rv != APR_SUCCESS) {
        *error = "no memory for its keys";
        if (build.p) {
            apr_pool_destroy(build.p);
        }
        return rv;
    }
    apr_pool_tag(build.p, "apiquota key set");
    build.set = apr_pcalloc(build.p, sizeof(*build.set));
    build.set->p = build.p;
    build.set->cache_secret = cache_secret;
    build.set->report.refusals = apr_array_make(build.p, 0, sizeof(const char *));
    set_fill(&build, json_object_get(file, "tenants"), json_object_get(file, "keys"));
    apr_pool_destroy(build.ptemp);
    *set = build.set;
    return APR_SUCCESS;
}
