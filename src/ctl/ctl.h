/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquotactl: what its commands share.
 *
 * A command is a row of the table in main.c and a function. It makes its answer as JSON; with --json that is printed as
 * it is, else as a table or a sentence made of it, so that people and programs are told the same. Errors are sentences
 * on standard error. What the server is configured to comes from STATE_DIR/runtime.json, which httpd writes.
 */
#ifndef AQ_CTL_H
#define AQ_CTL_H

#include "base/aq_json.h"
#include "batch/batch_config.h"
#include "batch/queue.h"
#include "identity/keyedit_place.h"
#include "identity/keyfile.h"
#include "limit/counter_store.h"
#include "store/redis_address.h"

typedef enum {
    AQ_CTL_DONE = 0,
    AQ_CTL_REFUSED = 1, /* not found, refused, or something was found by a check */
    AQ_CTL_USAGE = 2
} aq_ctl_exit_t;

/* What was asked. Members that an option sets are NULL or empty where it was not given. */
typedef struct {
    apr_pool_t *p;
    aq_time_ms_t now_ms;
    int is_json;
    const char *config, *state_dir, *key_file;
    const char *tenant, *key, *id, *plan, *expires, *overlap;
    apr_array_header_t *scopes; /* of const char * */
    apr_array_header_t *limits; /* of const char *, "NAME=RATE" */
    const char *status, *older_than;
    const char *since, *until;
    const char *webhook; /* "": none */
    int is_following;
    const char *format, *key_field;
    const char *argument;         /* the first behind noun and verb; NULL: none */
    const char *const *arguments; /* all of them */
    int argument_count;
    json_t *runtime; /* NULL until aq_ctl_runtime_load */
    /* set by aq_ctl_keys_find */
    const aq_keyedit_place_t *keys_place;
    struct aq_redis_link_t *keys_link; /* NULL: keys are in key_file */
} aq_ctl_t;

typedef aq_ctl_exit_t aq_ctl_command_fn(aq_ctl_t *ctl);

aq_ctl_command_fn aq_ctl_key_create, aq_ctl_key_list, aq_ctl_key_revoke, aq_ctl_key_rotate;
aq_ctl_command_fn aq_ctl_key_import, aq_ctl_key_export;
aq_ctl_command_fn aq_ctl_tenant_set, aq_ctl_tenant_show;
aq_ctl_command_fn aq_ctl_usage_show, aq_ctl_usage_reset, aq_ctl_usage_top, aq_ctl_usage_export;
aq_ctl_command_fn aq_ctl_batch_list, aq_ctl_batch_show, aq_ctl_batch_cancel, aq_ctl_batch_retry, aq_ctl_batch_purge;
aq_ctl_command_fn aq_ctl_webhook_list, aq_ctl_webhook_show, aq_ctl_webhook_retry, aq_ctl_webhook_test;
aq_ctl_command_fn aq_ctl_webhook_rotate;
aq_ctl_command_fn aq_ctl_config_check;
aq_ctl_command_fn aq_ctl_store_info, aq_ctl_store_verify;
aq_ctl_command_fn aq_ctl_simulate;

/* ---- output.c --------------------------------------------------------------------------------------------------- */

/* Says on standard error what is wrong, one line, and returns `code`. */
aq_ctl_exit_t aq_ctl_fail(aq_ctl_exit_t code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for what the system or the queue said of `what`; AQ_CTL_REFUSED. */
aq_ctl_exit_t aq_ctl_fail_with(const char *what, apr_status_t rv);

/* A column of a table: its heading, and the member of a row that it shows. */
typedef struct {
    const char *heading, *member;
} aq_ctl_column_t;

/*
 * Prints an answer: with --json `answer` itself, else the rows of its array member `rows` as a table of `columns`
 * (ended by a NULL heading). Takes the reference to `answer`, which may be NULL for memory that ran out.
 */
aq_ctl_exit_t aq_ctl_rows_print(const aq_ctl_t *ctl, json_t *answer, const char *rows, const aq_ctl_column_t *columns);

/*
 * For answers of more than one table: prints the objects of the array `rows`. Whatever else is said on standard output,
 * aq_ctl_answer_print comes last and sees to failures.
 */
void aq_ctl_table_print(apr_pool_t *p, const json_t *rows, const aq_ctl_column_t *columns);

/* The end of what is said on standard output: a full disk or a closed pipe behind it is a failure too. */
aq_ctl_exit_t aq_ctl_output_end(void);

/*
 * Prints an answer that people get as JSON, too. Takes the reference to `answer`, which may be NULL for memory that ran
 * out.
 */
aq_ctl_exit_t aq_ctl_json_print(json_t *answer);

/* Prints an answer: with --json `answer` itself, else `sentence` (NULL: nothing). Takes the reference to `answer`. */
aq_ctl_exit_t aq_ctl_answer_print(const aq_ctl_t *ctl, json_t *answer, const char *sentence);

/* ---- options ---------------------------------------------------------------------------------------------------- */

/* The time until which --overlap lets an old key or secret go on; 0: no longer. (key_commands.c) */
aq_ctl_exit_t aq_ctl_overlap_read(const aq_ctl_t *ctl, aq_time_ms_t *retires_at_ms);

/* ---- runtime.c -------------------------------------------------------------------------------------------------- */

/* Sets ctl->state_dir and ctl->key_file from -f CONFIG, where they are not given and CONFIG says them. */
aq_ctl_exit_t aq_ctl_config_read(aq_ctl_t *ctl);

/* Reads the argument COUNT, 1 to 10,000, where there is one. */
aq_ctl_exit_t aq_ctl_count_read(const aq_ctl_t *ctl, int *count);

/* The state folder that is meant. */
const char *aq_ctl_state_dir(const aq_ctl_t *ctl);

/* Reads STATE_DIR/runtime.json into ctl->runtime. Says why it cannot, unless `is_optional`. */
aq_ctl_exit_t aq_ctl_runtime_load(aq_ctl_t *ctl, int is_optional);

/* The server's plans by name, identified for `secret`. */
aq_ctl_exit_t aq_ctl_plans_load(aq_ctl_t *ctl, const aq_hash_secret_t *secret, apr_hash_t **plans);

/* The Redis that a part of runtime.json names (see aq_redis_json), its password read. */
aq_ctl_exit_t aq_ctl_redis_address(aq_ctl_t *ctl, const json_t *where, aq_redis_address_t **address);

/* ---- keys_home.c ------------------------------------------------------------------------------------------------ */

/* Finds out where keys are: in the file of --key-file, or where the server has them. Sets ctl->keys_place. */
aq_ctl_exit_t aq_ctl_keys_find(aq_ctl_t *ctl);

/* All keys and tenants, in the form of a keys file; gone with ctl->p. */
aq_ctl_exit_t aq_ctl_keys_read(aq_ctl_t *ctl, json_t **document);

/* The same, as the server sees them. */
aq_ctl_exit_t aq_ctl_keys_load(aq_ctl_t *ctl, apr_hash_t *plans, const aq_hash_secret_t *secret,
                               const aq_key_set_t **set, aq_keys_report_t *report);

/*
 * `document`, which is called `name`, as the server would see it, and `*report` of that. `*set` is NULL where httpd has not
 * told its plans yet: then nobody knows.
 */
aq_ctl_exit_t aq_ctl_keys_judge(aq_ctl_t *ctl, const char *name, json_t *document, const aq_key_set_t **set,
                                aq_keys_report_t *report);

/* The server's queue, as its owner; what else is to be read as somebody else must be read before. */
aq_ctl_exit_t aq_ctl_queue_open(aq_ctl_t *ctl, const aq_batch_config_t **config, aq_queue_t **queue);

aq_queue_now_t aq_ctl_queue_now(const aq_ctl_t *ctl);

/* The server's counters, to be looked at; or to be looked at and reset. */
aq_ctl_exit_t aq_ctl_store_open(aq_ctl_t *ctl, aq_counter_store_t **store);
aq_ctl_exit_t aq_ctl_store_open_to_reset(aq_ctl_t *ctl, aq_counter_store_t **store);

#endif
