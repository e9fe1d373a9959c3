/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquotactl: what it knows of the server, from options, from the lines of an httpd.conf, and from runtime.json.
 */
#include "ctl/ctl.h"

#include "limit/runtime_plans.h"
#include "store/redis_counters.h"
#include "store/shm_counters.h"

#include <apr_cstr.h>
#include <apr_strings.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STATE_DIR_DEFAULT "/var/lib/apiquota"
#define LINE_MAX_BYTES 8192
#define REDIS_WORDS_MAX 16
/* Nobody waits for a tool. */
#define REDIS_BUDGET "2s"
#define REDIS_PASSWORD_ENV "APIQUOTA_REDIS_PASSWORD"

/* ---- options and httpd.conf ------------------------------------------------------------------------------------- */

/*
 * The argument of directive `name` in a line of configuration, unquoted, or NULL. The line is cut up.
 */
static char *directive_argument(char *line, const char *name)
{
    char *rest = line + strspn(line, " \t");
    size_t size = strcspn(rest, " \t\r\n");

    if (size != strlen(name) || apr_cstr_casecmpn(rest, name, size) != 0) {
        return NULL;
    }
    rest += size + strspn(rest + size, " \t");
    if (*rest == '"') {
        rest++;
        rest[strcspn(rest, "\"\r\n")] = '\0';
    } else {
        rest[strcspn(rest, " \t\r\n")] = '\0';
    }
    return *rest ? rest : NULL;
}

/* httpd takes relative paths from its ServerRoot. */
static const char *path_join(apr_pool_t *p, const char *root, const char *path)
{
    return !path || path[0] == '/' || !root ? path : apr_pstrcat(p, root, "/", path, NULL);
}

aq_ctl_exit_t aq_ctl_config_read(aq_ctl_t *ctl)
{
    static const char *const names[] = {"ServerRoot", "APIQuotaStateDir", "APIQuotaKeyFile", "APIQuotaKeyStore"};
    const char *values[4] = {NULL};
    char line[LINE_MAX_BYTES];
    FILE *file = fopen(ctl->config, "re");

    if (!file) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s: %s", ctl->config, strerror(errno));
    }
    while (fgets(line, sizeof(line), file)) {
        for (int i = 0; i < 4; i++) {
            const char *value = directive_argument(line, names[i]);
            values[i] = value ? apr_pstrdup(ctl->p, value) : values[i];
            /* Keys live where the last of both says; of Redis, runtime.json tells more. */
            values[2] = value && i == 3 ? NULL : values[2];
        }
    }
    int failed = ferror(file);
    (void)fclose(file);
    if (failed) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s: cannot be read", ctl->config);
    }
    for (int i = 1; i < 3; i++) {
        if (values[i] && strstr(values[i], "${")) {
            return aq_ctl_fail(AQ_CTL_REFUSED, "%s: %s %s holds a variable: give --state-dir DIR or --key-file FILE",
                               ctl->config, names[i], values[i]);
        }
    }
    ctl->state_dir = ctl->state_dir ? ctl->state_dir : path_join(ctl->p, values[0], values[1]);
    ctl->key_file = ctl->key_file ? ctl->key_file : path_join(ctl->p, values[0], values[2]);
    return AQ_CTL_DONE;
}

#define COUNT_MAX 10000

aq_ctl_exit_t aq_ctl_count_read(const aq_ctl_t *ctl, int *count)
{
    char *end;

    if (!ctl->argument) {
        return AQ_CTL_DONE;
    }
    const apr_int64_t number = apr_strtoi64(ctl->argument, &end, 10);
    if (end == ctl->argument || *end || number < 1 || number > COUNT_MAX) {
        return aq_ctl_fail(AQ_CTL_USAGE, "COUNT must be 1 to %d", COUNT_MAX);
    }
    *count = (int)number;
    return AQ_CTL_DONE;
}

/* ---- runtime.json ----------------------------------------------------------------------------------------------- */

static apr_status_t json_release(void *json)
{
    json_decref(json);
    return APR_SUCCESS;
}

const char *aq_ctl_state_dir(const aq_ctl_t *ctl)
{
    return ctl->state_dir ? ctl->state_dir : STATE_DIR_DEFAULT;
}

aq_ctl_exit_t aq_ctl_runtime_load(aq_ctl_t *ctl, int is_optional)
{
    const char *path = apr_pstrcat(ctl->p, aq_ctl_state_dir(ctl), "/" AQ_RUNTIME_FILE, NULL), *error;

    if (ctl->runtime) {
        return AQ_CTL_DONE;
    }
    apr_status_t rv = aq_json_file_load(ctl->p, path, AQ_JSON_FILE_MAX_BYTES, &ctl->runtime, &error);
    if (rv != APR_SUCCESS) {
        return is_optional ? AQ_CTL_REFUSED
                           : aq_ctl_fail(AQ_CTL_REFUSED, "%s (%s)", error,
                                         APR_STATUS_IS_EACCES(rv) ? "root may read it, and httpd's group"
                                                                  : "httpd writes it when it starts; see --state-dir");
    }
    apr_pool_cleanup_register(ctl->p, ctl->runtime, json_release, apr_pool_cleanup_null);
    return AQ_CTL_DONE;
}

/* ---- plans, counters -------------------------------------------------------------------------------------------- */

aq_ctl_exit_t aq_ctl_plans_load(aq_ctl_t *ctl, const aq_hash_secret_t *secret, apr_hash_t **plans)
{
    const char *error;
    aq_ctl_exit_t code = aq_ctl_runtime_load(ctl, 0);

    if (code == AQ_CTL_DONE &&
        aq_runtime_plans_read(ctl->p, json_object_get(ctl->runtime, "plans"), secret, plans, &error) != APR_SUCCESS) {
        code = aq_ctl_fail(AQ_CTL_REFUSED, AQ_RUNTIME_FILE ": %s", error);
    }
    return code;
}

/* A password that stands in httpd.conf is nobody's but httpd's: it is asked for by the environment. */
aq_ctl_exit_t aq_ctl_redis_address(aq_ctl_t *ctl, const json_t *where, aq_redis_address_t **address)
{
    const json_t *said = json_object_get(where, "words");
    const char *words[REDIS_WORDS_MAX], *error = NULL;
    int count = 0;

    *address = NULL;
    for (size_t i = 0; i < json_array_size(said) && count < REDIS_WORDS_MAX - 2; i++) {
        words[count++] = json_string_value(json_array_get(said, i));
        if (!words[count - 1]) {
            return aq_ctl_fail(AQ_CTL_REFUSED, AQ_RUNTIME_FILE ": its store cannot be read");
        }
    }
    words[count++] = "budget=" REDIS_BUDGET;
    if (json_is_true(json_object_get(where, "needs_password"))) {
        words[count++] = "password-env=" REDIS_PASSWORD_ENV;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    if (aq_redis_address_parse(ctl->p, words, count, address, &error) != APR_SUCCESS ||
        aq_redis_address_complete(ctl->p, *address, &error) != APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s", error);
    }
    return AQ_CTL_DONE;
}

static aq_ctl_exit_t redis_store_open(aq_ctl_t *ctl, const json_t *where, aq_counter_store_t **store)
{
    static const aq_redis_counters_options_t options = {.waits_to_settle = 1, .is_tool = 1};
    const char *error = NULL;
    aq_redis_address_t *address;
    aq_ctl_exit_t code = aq_ctl_redis_address(ctl, where, &address);

    if (code == AQ_CTL_DONE && aq_redis_counters_open(ctl->p, address, &options, store, &error) != APR_SUCCESS) {
        code = aq_ctl_fail(AQ_CTL_REFUSED, "%s", error ? error : AQ_RUNTIME_FILE ": its store cannot be read");
    }
    return code;
}

typedef apr_status_t store_open_fn(apr_pool_t *p, const char *path, aq_counter_store_t **store, const char **error);

static aq_ctl_exit_t store_open(aq_ctl_t *ctl, store_open_fn *open, aq_counter_store_t **store)
{
    const char *error = NULL;
    aq_ctl_exit_t code = aq_ctl_runtime_load(ctl, 0);

    if (code != AQ_CTL_DONE) {
        return code;
    }
    const json_t *where = json_object_get(ctl->runtime, "store");
    const char *kind = aq_json_string(where, "kind"), *path = aq_json_string(where, "path");
    if (kind && strcmp(kind, "redis") == 0) {
        return redis_store_open(ctl, where, store);
    }
    if (!kind || strcmp(kind, "shm") != 0 || !path) {
        return aq_ctl_fail(AQ_CTL_REFUSED, AQ_RUNTIME_FILE ": names no store that this version knows");
    }
    if (open(ctl->p, path, store, &error) != APR_SUCCESS) {
        return aq_ctl_fail(AQ_CTL_REFUSED, "%s", error ? error : path);
    }
    return AQ_CTL_DONE;
}

aq_ctl_exit_t aq_ctl_store_open(aq_ctl_t *ctl, aq_counter_store_t **store)
{
    return store_open(ctl, aq_shm_counters_open_readonly, store);
}

aq_ctl_exit_t aq_ctl_store_open_to_reset(aq_ctl_t *ctl, aq_counter_store_t **store)
{
    return store_open(ctl, aq_shm_counters_open_to_reset, store);
}
