/* SPDX-License-Identifier: Apache-2.0 */
/* Daily use on disk. See daily_use.h. */
#include "identity/daily_use.h"

#include "base/aq_file.h"

#include <apr_file_info.h>
#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DAY_SIZE 11 /* "2026-11-25" */
#define DAY_MS (AQ_S_PER_DAY * AQ_MS_PER_S)
#define FILE_MODE 0600
#define FOLDER_MODE 0700

static void day_write(char day[DAY_SIZE], aq_time_ms_t day_ms)
{
    char text[AQ_RFC3339_SIZE];

    aq_clock_rfc3339_write(text, day_ms);
    apr_cpystrn(day, text, DAY_SIZE);
}

static const char *file_of(apr_pool_t *p, const char *folder, const char *day)
{
    return apr_pstrcat(p, folder, "/", day, ".json", NULL);
}

static apr_status_t release(void *json)
{
    json_decref(json);
    return APR_SUCCESS;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* The day that a file of that name is of, or NULL: the folder may hold what others put there. */
static const char *day_of(apr_pool_t *p, const char *name)
{
    static const char form[] = "0000-00-00.json";

    if (strlen(name) != sizeof(form) - 1) {
        return NULL;
    }
    for (size_t i = 0; form[i] != '\0'; i++) {
        if (form[i] == '0' ? name[i] < '0' || name[i] > '9' : name[i] != form[i]) {
            return NULL;
        }
    }
    return apr_pstrmemdup(p, name, DAY_SIZE - 1);
}

static int day_compare(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* The days that there are files of, oldest first. */
static apr_status_t days_list(apr_pool_t *p, const char *folder, apr_array_header_t **days, const char **error)
{
    apr_finfo_t info;
    apr_dir_t *dir;
    apr_status_t rv = apr_dir_open(&dir, folder, p);

    *days = apr_array_make(p, 32, sizeof(const char *));
    if (APR_STATUS_IS_ENOENT(rv)) {
        return APR_SUCCESS;
    }
    if (rv != APR_SUCCESS) {
        *error = apr_psprintf(p, "%s: the folder of daily use cannot be read", folder);
        return rv;
    }
    while (apr_dir_read(&info, APR_FINFO_NAME, dir) == APR_SUCCESS) {
        const char *day = day_of(p, info.name);
        if (day != NULL) {
            APR_ARRAY_PUSH(*days, const char *) = day;
        }
    }
    qsort((*days)->elts, (size_t)(*days)->nelts, sizeof(const char *), day_compare);
    return apr_dir_close(dir);
}

apr_status_t aq_daily_use_read(apr_pool_t *p, const char *folder, const char *since, const char *until, json_t **days,
                               const char **error)
{
    apr_array_header_t *names;
    apr_status_t rv = days_list(p, folder, &names, error);

    *days = json_array();
    for (int i = 0; rv == APR_SUCCESS && i < names->nelts; i++) {
        const char *day = APR_ARRAY_IDX(names, i, const char *);
        json_t *json;

        if ((since && strcmp(day, since) < 0) || (until && strcmp(day, until) > 0)) {
            continue;
        }
        rv = aq_json_file_load(p, file_of(p, folder, day), AQ_JSON_FILE_MAX_BYTES, &json, error);
        if (rv == APR_SUCCESS && json_array_append_new(*days, json) != 0) {
            rv = APR_ENOMEM;
        }
    }
    if (rv != APR_SUCCESS) {
        json_decref(*days);
        *days = NULL;
    }
    return rv;
}

/* ---- keeping ---------------------------------------------------------------------------------------------------- */

/* The tenants of one day, by name, as they are to be written. */
typedef struct {
    char day[DAY_SIZE];
    apr_hash_t *tenants; /* name -> json_t *, borrowed from `json` */
    json_t *json;
    int is_changed;
} day_t;

static apr_status_t day_load(apr_pool_t *p, const char *folder, aq_time_ms_t day_ms, day_t *day, const char **error)
{
    json_t *entry;
    size_t i;

    *day = (day_t){.tenants = apr_hash_make(p)};
    day_write(day->day, day_ms);
    apr_status_t rv = aq_json_file_load(p, file_of(p, folder, day->day), AQ_JSON_FILE_MAX_BYTES, &day->json, error);
    if (APR_STATUS_IS_ENOENT(rv)) {
        day->json = json_pack("{s:s, s:[]}", "day", day->day, "use");
        rv = day->json ? APR_SUCCESS : APR_ENOMEM;
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    apr_pool_cleanup_register(p, day->json, release, apr_pool_cleanup_null);
    json_array_foreach(json_object_get(day->json, "use"), i, entry)
    {
        const char *tenant = aq_json_string(entry, "tenant");
        if (tenant) {
            apr_hash_set(day->tenants, tenant, APR_HASH_KEY_STRING, entry);
        }
    }
    return APR_SUCCESS;
}

/* The names of a plan's limits that count by key or tenant. */
static json_t *limits_of(const aq_plan_t *plan)
{
    json_t *names = json_array();

    for (int i = 0; i < plan->limits->nelts; i++) {
        const aq_limit_t *limit = APR_ARRAY_IDX(plan->limits, i, const aq_limit_t *);
        if (limit->per <= AQ_PER_TENANT && !aq_daily_is(limit)) {
            (void)json_array_append_new(names, json_string(limit->name));
        }
    }
    return names;
}

static void day_set(day_t *day, const char *tenant, const aq_plan_t *plan, uint64_t used)
{
    json_t *entry = apr_hash_get(day->tenants, tenant, APR_HASH_KEY_STRING);

    if (used == 0 || (entry && (uint64_t)json_integer_value(json_object_get(entry, "used")) >= used)) {
        return;
    }
    day->is_changed = 1;
    if (entry) {
        (void)json_object_set_new(entry, "used", json_integer((json_int_t)used));
        return;
    }
    entry = json_pack("{s:s, s:s, s:o, s:I}", "tenant", tenant, "plan", plan->name, "limits", limits_of(plan), "used",
                      (json_int_t)used);
    (void)json_array_append_new(json_object_get(day->json, "use"), entry);
}

/* Adds what one tenant has used to the days. */
static apr_status_t tenant_keep(aq_counter_store_t *store, const char *tenant, const aq_plan_t *plan,
                                aq_time_ms_t now_ms, day_t days[AQ_DAILY_DAYS])
{
    const aq_limit_t *limit = aq_daily_of(plan);
    uint64_t words[AQ_WINDOW_WORDS];
    aq_daily_t used[AQ_DAILY_DAYS];

    if (limit == NULL) {
        return APR_SUCCESS;
    }
    const aq_hash128_t subject = aq_subject_hash(&store->secret, AQ_PER_TENANT, tenant);
    const aq_counter_t counter = {.limit = limit, .key = aq_hash_join(limit->identity, subject)};
    apr_status_t rv = aq_counter_store_words(store, &counter, words);
    if (rv == APR_SUCCESS) {
        aq_daily_read(limit, words, now_ms, used);
    }
    for (int i = 0; rv == APR_SUCCESS && i < AQ_DAILY_DAYS; i++) {
        day_set(&days[i], tenant, plan, used[i].used);
    }
    return rv;
}

static void old_remove(apr_pool_t *p, const char *folder, aq_time_ms_t now_ms)
{
    char oldest[DAY_SIZE];
    apr_array_header_t *days;
    const char *error;

    day_write(oldest, now_ms - AQ_DAILY_USE_KEEP_DAYS * DAY_MS);
    if (days_list(p, folder, &days, &error) != APR_SUCCESS) {
        return;
    }
    for (int i = 0; i < days->nelts && strcmp(APR_ARRAY_IDX(days, i, const char *), oldest) < 0; i++) {
        /* One that cannot be removed now is tried again the next time. */
        (void)unlink(file_of(p, folder, APR_ARRAY_IDX(days, i, const char *)));
    }
}

static apr_status_t days_write(apr_pool_t *p, const char *folder, const day_t days[AQ_DAILY_DAYS], const char **error)
{
    for (int i = 0; i < AQ_DAILY_DAYS; i++) {
        const char *path = file_of(p, folder, days[i].day);
        apr_status_t rv = days[i].is_changed ? aq_json_file_replace(path, days[i].json, FILE_MODE, p) : APR_SUCCESS;

        if (rv != APR_SUCCESS) {
            *error = apr_psprintf(p, "%s: cannot be written", path);
            return rv;
        }
    }
    return APR_SUCCESS;
}

apr_status_t aq_daily_use_keep(apr_pool_t *p, aq_counter_store_t *store, const json_t *key_file, apr_hash_t *plans,
                               const char *folder, aq_time_ms_t now_ms, const char **error)
{
    day_t days[AQ_DAILY_DAYS];
    json_t *tenants = json_object_get(key_file, "tenants"), *entry;
    const char *tenant;

    *error = apr_psprintf(p, "%s: the folder of daily use cannot be made", folder);
    apr_status_t rv = aq_file_folder_make(folder, FOLDER_MODE, (uid_t)-1, (gid_t)-1);
    for (int i = 0; rv == APR_SUCCESS && i < AQ_DAILY_DAYS; i++) {
        rv = day_load(p, folder, now_ms - now_ms % DAY_MS - i * DAY_MS, &days[i], error);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    json_object_foreach(tenants, tenant, entry)
    {
        const char *name = aq_json_string(entry, "plan");
        const aq_plan_t *plan = name ? apr_hash_get(plans, name, APR_HASH_KEY_STRING) : NULL;

        if (plan && (rv = tenant_keep(store, tenant, plan, now_ms, days)) != APR_SUCCESS) {
            *error = "the counter store cannot be read";
            return rv;
        }
    }
    rv = days_write(p, folder, days, error);
    old_remove(p, folder, now_ms);
    return rv;
}
