/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apiquotactl: keys, tenants, usage and checks from the command line. Two tables say what there is: options, commands.
 */
#include "base/aq_version.h"
#include "ctl/ctl.h"

#include "base/aq_log.h"
#include "ctl/suggest.h"

#include <apr_general.h>
#include <apr_strings.h>
#include <getopt.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Options that only some commands take; their bits stand in a command's row. */
enum {
    TAKES_TENANT = 1 << 0,
    TAKES_KEY = 1 << 1,
    TAKES_ID = 1 << 2,
    TAKES_PLAN = 1 << 3,
    TAKES_EXPIRES = 1 << 4,
    TAKES_SCOPE = 1 << 5,
    TAKES_LIMIT = 1 << 6,
    TAKES_LOG = 1 << 7,
    TAKES_OVERLAP = 1 << 8,
    TAKES_STATUS = 1 << 9,
    TAKES_OLDER = 1 << 10,
    TAKES_DAYS = 1 << 12,
    TAKES_FOLLOW = 1 << 11,
    TAKES_WEBHOOK = 1 << 13,
};

typedef struct {
    const char *noun, *verb; /* verb NULL: the noun alone is the command */
    const char *usage;       /* what may stand behind noun and verb */
    const char *help;
    aq_ctl_command_fn *run;
    unsigned takes;
    int least_arguments, most_arguments;
    int reads_config; /* by itself, and more of it than the folders */
} command_t;

static const command_t commands[] = {
    {.noun = "key",
     .verb = "create",
     .usage = "--tenant NAME [--scope SCOPE]... [--expires TIME|DURATION] [--id ID]",
     .help = "make a key and print it, this once",
     .run = aq_ctl_key_create,
     .takes = TAKES_TENANT | TAKES_SCOPE | TAKES_EXPIRES | TAKES_ID},
    {.noun = "key",
     .verb = "list",
     .usage = "[--tenant NAME]",
     .help = "list the keys",
     .run = aq_ctl_key_list,
     .takes = TAKES_TENANT},
    {.noun = "key",
     .verb = "revoke",
     .usage = "ID",
     .help = "remove a key; the server knows within a second",
     .run = aq_ctl_key_revoke,
     .least_arguments = 1,
     .most_arguments = 1},
    {.noun = "key",
     .verb = "rotate",
     .usage = "ID [--overlap DURATION|0]",
     .help = "make a key in place of another, which stays valid for 24h or as long as told",
     .run = aq_ctl_key_rotate,
     .takes = TAKES_OVERLAP,
     .least_arguments = 1,
     .most_arguments = 1},
    {.noun = "key",
     .verb = "import",
     .usage = "FILE|-",
     .help = "take over tenants and keys of a keys file, or of standard input; what is there already is replaced, the "
             "others stay",
     .run = aq_ctl_key_import,
     .least_arguments = 1,
     .most_arguments = 1},
    {.noun = "key",
     .verb = "export",
     .usage = "",
     .help = "print tenants and keys as a keys file, with the secrets of webhooks",
     .run = aq_ctl_key_export},
    {.noun = "tenant",
     .verb = "set",
     .usage = "NAME [--plan PLAN] [--limit LIMIT=RATE]... [--webhook URL]",
     .help = "create or change a tenant; LIMIT= takes an override away, and the URL \"\" its webhook",
     .run = aq_ctl_tenant_set,
     .takes = TAKES_PLAN | TAKES_LIMIT | TAKES_WEBHOOK,
     .least_arguments = 1,
     .most_arguments = 1},
    {.noun = "tenant",
     .verb = "show",
     .usage = "[NAME]",
     .help = "show a tenant, or all",
     .run = aq_ctl_tenant_show,
     .most_arguments = 1},
    {.noun = "usage",
     .verb = "show",
     .usage = "[--tenant NAME] [--key ID] [--limit LIMIT]...",
     .help = "show what is used of each limit",
     .run = aq_ctl_usage_show,
     .takes = TAKES_TENANT | TAKES_KEY | TAKES_LIMIT},
    {.noun = "usage",
     .verb = "top",
     .usage = "[--tenant NAME] [--limit LIMIT]... [COUNT]",
     .help = "show who is nearest to a limit, 10 rows unless COUNT is given",
     .run = aq_ctl_usage_top,
     .takes = TAKES_TENANT | TAKES_LIMIT,
     .most_arguments = 1},
    {.noun = "usage",
     .verb = "reset",
     .usage = "--tenant NAME | --key ID [--limit LIMIT]...",
     .help = "have limits begin anew: of a tenant and its keys, or of one key alone",
     .run = aq_ctl_usage_reset,
     .takes = TAKES_TENANT | TAKES_KEY | TAKES_LIMIT},
    {.noun = "usage",
     .verb = "export",
     .usage = "[--since DAY|MONTH] [--until DAY|MONTH] [--tenant NAME]",
     .help = "print what each tenant used on each of the last 400 days, as CSV or with --json",
     .run = aq_ctl_usage_export,
     .takes = TAKES_TENANT | TAKES_DAYS},
    {.noun = "batch",
     .verb = "list",
     .usage = "[--tenant NAME] [--status STATUS] [COUNT]",
     .help = "show the newest batches, 50 unless COUNT is given",
     .run = aq_ctl_batch_list,
     .takes = TAKES_TENANT | TAKES_STATUS,
     .most_arguments = 1},
    {.noun = "batch",
     .verb = "show",
     .usage = "[--follow] ID",
     .help = "show a batch; with --follow until it is over",
     .run = aq_ctl_batch_show,
     .takes = TAKES_FOLLOW,
     .least_arguments = 1,
     .most_arguments = 1},
    {.noun = "batch",
     .verb = "cancel",
     .usage = "ID",
     .help = "cancel a batch that is not over",
     .run = aq_ctl_batch_cancel,
     .least_arguments = 1,
     .most_arguments = 1},
    {.noun = "batch",
     .verb = "retry",
     .usage = "ID",
     .help = "queue a batch anew that failed or was canceled",
     .run = aq_ctl_batch_retry,
     .least_arguments = 1,
     .most_arguments = 1},
    {.noun = "batch",
     .verb = "purge",
     .usage = "ID | [--tenant NAME] [--status STATUS] [--older-than DURATION]",
     .help = "remove batches that are over, with their bodies and results",
     .run = aq_ctl_batch_purge,
     .takes = TAKES_TENANT | TAKES_STATUS | TAKES_OLDER,
     .most_arguments = 1},
    {.noun = "webhook",
     .verb = "list",
     .usage = "[--tenant NAME] [--status STATE] [COUNT]",
     .help = "show the newest messages to webhooks, 50 unless COUNT is given",
     .run = aq_ctl_webhook_list,
     .takes = TAKES_TENANT | TAKES_STATUS,
     .most_arguments = 1},
    {.noun = "webhook",
     .verb = "show",
     .usage = "ID",
     .help = "show a message, what it says and how its delivery goes",
     .run = aq_ctl_webhook_show,
     .least_arguments = 1,
     .most_arguments = 1},
    {.noun = "webhook",
     .verb = "retry",
     .usage = "ID",
     .help = "send a message again now, whatever became of it",
     .run = aq_ctl_webhook_retry,
     .least_arguments = 1,
     .most_arguments = 1},
    {.noun = "webhook",
     .verb = "test",
     .usage = "TENANT",
     .help = "send a test message to a tenant's webhook and say what came of it",
     .run = aq_ctl_webhook_test,
     .least_arguments = 1,
     .most_arguments = 1},
    {.noun = "webhook",
     .verb = "rotate",
     .usage = "TENANT [--overlap DURATION|0]",
     .help = "make a secret and print it, this once; the old one signs too for 24h or as long as told",
     .run = aq_ctl_webhook_rotate,
     .takes = TAKES_OVERLAP,
     .least_arguments = 1,
     .most_arguments = 1},
    {.noun = "config",
     .verb = "check",
     .usage = "",
     .help = "look for mistakes in plans, locations, keys file and folders",
     .run = aq_ctl_config_check},
    {.noun = "store", .verb = "info", .usage = "", .help = "show the counter store", .run = aq_ctl_store_info},
    {.noun = "store",
     .verb = "verify",
     .usage = "",
     .help = "look whether all that is in the counter store makes sense",
     .run = aq_ctl_store_verify},
    {.noun = "simulate",
     .usage = "--conf FILE [--key-file FILE] [--plan NAME] [--format FORMAT] [--key-field N] [ACCESS.LOG|-]...",
     .help = "replay access logs: what limits would have refused, and which limits would have done",
     .run = aq_ctl_simulate,
     .takes = TAKES_PLAN | TAKES_LOG,
     .most_arguments = INT_MAX,
     .reads_config = 1},
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

/* Where an option's value goes: a text, or the end of a list. */
typedef struct {
    const char *name;
    size_t text_offset, list_offset; /* in aq_ctl_t; one of them is not 0 */
    unsigned bit;                    /* 0: every command takes it */
    int may_be_empty;
} option_t;

static const option_t options[] = {
    {.name = "config", .text_offset = offsetof(aq_ctl_t, config)},
    {.name = "conf", .text_offset = offsetof(aq_ctl_t, config)},
    {.name = "state-dir", .text_offset = offsetof(aq_ctl_t, state_dir)},
    {.name = "key-file", .text_offset = offsetof(aq_ctl_t, key_file)},
    {.name = "tenant", .text_offset = offsetof(aq_ctl_t, tenant), .bit = TAKES_TENANT},
    {.name = "key", .text_offset = offsetof(aq_ctl_t, key), .bit = TAKES_KEY},
    {.name = "id", .text_offset = offsetof(aq_ctl_t, id), .bit = TAKES_ID},
    {.name = "plan", .text_offset = offsetof(aq_ctl_t, plan), .bit = TAKES_PLAN},
    {.name = "overlap", .text_offset = offsetof(aq_ctl_t, overlap), .bit = TAKES_OVERLAP},
    {.name = "status", .text_offset = offsetof(aq_ctl_t, status), .bit = TAKES_STATUS},
    {.name = "since", .text_offset = offsetof(aq_ctl_t, since), .bit = TAKES_DAYS},
    {.name = "until", .text_offset = offsetof(aq_ctl_t, until), .bit = TAKES_DAYS},
    {.name = "webhook", .text_offset = offsetof(aq_ctl_t, webhook), .bit = TAKES_WEBHOOK, .may_be_empty = 1},
    {.name = "older-than", .text_offset = offsetof(aq_ctl_t, older_than), .bit = TAKES_OLDER},
    {.name = "expires", .text_offset = offsetof(aq_ctl_t, expires), .bit = TAKES_EXPIRES},
    {.name = "format", .text_offset = offsetof(aq_ctl_t, format), .bit = TAKES_LOG},
    {.name = "key-field", .text_offset = offsetof(aq_ctl_t, key_field), .bit = TAKES_LOG},
    {.name = "scope", .list_offset = offsetof(aq_ctl_t, scopes), .bit = TAKES_SCOPE},
    {.name = "limit", .list_offset = offsetof(aq_ctl_t, limits), .bit = TAKES_LIMIT},
};
#define OPTION_COUNT (sizeof(options) / sizeof(options[0]))

/* What getopt_long returns for the others, and for an option of the table: 512 + its index. Below 256 is a letter. */
enum {
    OPTION_CONFIG = 'f',
    OPTION_HELP = 'h',
    OPTION_JSON = 256,
    OPTION_FOLLOW = 257,
    OPTION_VERSION = 258,
    OPTION_OF_TABLE = 512
};

/* An option that only some commands take, as it was given. */
typedef struct {
    const char *name;
    unsigned bit;
} given_t;

/* What is asked for: a command, or to be told of the program. */
typedef enum { ASKED_COMMAND, ASKED_HELP, ASKED_VERSION } asked_t;

static int is_named(const command_t *command, char **words, int count)
{
    return (count < 1 || strcmp(command->noun, words[0]) == 0) &&
           (count < 2 || !command->verb || strcmp(command->verb, words[1]) == 0);
}

/* Of the commands that the words name; where they name none, of all. */
static void help_print(FILE *to, char **words, int count)
{
    int named = 0;

    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        named += is_named(&commands[i], words, count);
    }
    (void)fputs("usage: apiquotactl [--json] [--state-dir DIR | -f HTTPD.CONF] [--key-file FILE] COMMAND\n"
                "       apiquotactl --help | --version\n\n",
                to);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (named > 0 && !is_named(&commands[i], words, count)) {
            continue;
        }
        (void)fprintf(to, "  %s%s%s%s%s\n        %s\n", commands[i].noun, commands[i].verb ? " " : "",
                      commands[i].verb ? commands[i].verb : "", commands[i].usage[0] ? " " : "", commands[i].usage,
                      commands[i].help);
    }
    (void)fputs("\nExit code: 0 done, 1 not found or refused, 2 usage.\n", to);
}

/* An empty value is a variable of a script that was never set: it must not stand for "none" or "all". */
static aq_ctl_exit_t option_set(aq_ctl_t *ctl, const option_t *option, const char *value)
{
    char *base = (char *)ctl;

    if (!value[0] && !option->may_be_empty) {
        return aq_ctl_fail(AQ_CTL_USAGE, "--%s needs a value: the one given is empty", option->name);
    }
    if (option->list_offset) {
        APR_ARRAY_PUSH(*(apr_array_header_t **)(void *)(base + option->list_offset), const char *) = value;
    } else {
        *(const char **)(void *)(base + option->text_offset) = value;
    }
    return AQ_CTL_DONE;
}

/* Says what is wrong with the option `word` that getopt_long stopped at; `got` and `letter` are what it said of it. */
static aq_ctl_exit_t option_refuse(apr_pool_t *p, const char *word, int got, int letter)
{
    apr_array_header_t *names = apr_array_make(p, (int)OPTION_COUNT + 4, sizeof(const char *));
    const char *const flags[] = {"--json", "--help", "--version", "--follow"};

    if (got == ':') {
        return aq_ctl_fail(AQ_CTL_USAGE, "%s needs a value", word);
    }
    if (letter >= OPTION_JSON || letter == OPTION_HELP) {
        return aq_ctl_fail(AQ_CTL_USAGE, "%.*s takes no value", (int)strcspn(word, "="), word);
    }
    /* Of several letters in one word, it is this one. */
    const char *option = letter ? apr_psprintf(p, "-%c", letter) : word;
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        APR_ARRAY_PUSH(names, const char *) = apr_pstrcat(p, "--", options[i].name, NULL);
    }
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        APR_ARRAY_PUSH(names, const char *) = flags[i];
    }
    const char *nearest = aq_suggest(option, names);
    return aq_ctl_fail(AQ_CTL_USAGE, "there is no option %s%s%s", option, nearest ? "; did you mean " : "",
                       nearest ? apr_pstrcat(p, nearest, "?", NULL) : "");
}

static void given_note(apr_array_header_t *given, const char *name, unsigned bit)
{
    APR_ARRAY_PUSH(given, given_t) = (given_t){name, bit};
}

/* Sets `ctl` from the options; `given` are those that not all commands take. `*asked` changes where no command is. */
static aq_ctl_exit_t options_read(aq_ctl_t *ctl, int argc, char **argv, apr_array_header_t *given, asked_t *asked)
{
    struct option longs[OPTION_COUNT + 5] = {
        [OPTION_COUNT] = {"json", no_argument, NULL, OPTION_JSON},
        [OPTION_COUNT + 1] = {"help", no_argument, NULL, OPTION_HELP},
        [OPTION_COUNT + 2] = {"follow", no_argument, NULL, OPTION_FOLLOW},
        [OPTION_COUNT + 3] = {"version", no_argument, NULL, OPTION_VERSION},
    };
    aq_ctl_exit_t code = AQ_CTL_DONE;
    int got;

    for (int i = 0; i < (int)OPTION_COUNT; i++) {
        longs[i] = (struct option){options[i].name, required_argument, NULL, OPTION_OF_TABLE + i};
    }
    opterr = 0;
    while (code == AQ_CTL_DONE && (got = getopt_long(argc, argv, ":f:h", longs, NULL)) != -1) {
        if (got >= OPTION_OF_TABLE || got == OPTION_CONFIG) {
            const option_t *option = &options[got == OPTION_CONFIG ? 0 : got - OPTION_OF_TABLE];
            code = option_set(ctl, option, optarg);
            given_note(given, option->name, option->bit);
        } else if (got == OPTION_JSON) {
            ctl->is_json = 1;
        } else if (got == OPTION_FOLLOW) {
            ctl->is_following = 1;
            given_note(given, "follow", TAKES_FOLLOW);
        } else if (got == OPTION_HELP) {
            *asked = ASKED_HELP;
        } else if (got == OPTION_VERSION) {
            *asked = ASKED_VERSION;
        } else {
            return option_refuse(ctl->p, argv[optind - 1], got, optopt);
        }
    }
    return code;
}

/* The command that the words begin with, and how many words its name has. NULL: none. */
static const command_t *command_find(char **words, int count, int *name_words)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        *name_words = commands[i].verb ? 2 : 1;
        if (count >= *name_words && strcmp(commands[i].noun, words[0]) == 0 &&
            (!commands[i].verb || strcmp(commands[i].verb, words[1]) == 0)) {
            return &commands[i];
        }
    }
    return NULL;
}

static const char *name_of(apr_pool_t *p, const command_t *command)
{
    return command->verb ? apr_pstrcat(p, command->noun, " ", command->verb, NULL) : command->noun;
}

/* What there is in place of words that are no command. */
static aq_ctl_exit_t command_refuse(const aq_ctl_t *ctl, char **words, int count)
{
    apr_array_header_t *names = apr_array_make(ctl->p, (int)COMMAND_COUNT, sizeof(const char *));
    const char *asked = count > 1 ? apr_pstrcat(ctl->p, words[0], " ", words[1], NULL) : words[0], *verbs = NULL;

    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        APR_ARRAY_PUSH(names, const char *) = name_of(ctl->p, &commands[i]);
        if (strcmp(commands[i].noun, words[0]) == 0) {
            verbs = apr_pstrcat(ctl->p, verbs ? verbs : "", verbs ? ", " : "", commands[i].verb, NULL);
        }
    }
    const char *nearest = aq_suggest(asked, names);
    if (nearest) {
        return aq_ctl_fail(AQ_CTL_USAGE, "there is no command \"%s\"; did you mean \"%s\"?", asked, nearest);
    }
    if (verbs) {
        return aq_ctl_fail(AQ_CTL_USAGE, "%s takes one of: %s", words[0], verbs);
    }
    return aq_ctl_fail(AQ_CTL_USAGE, "there is no command \"%s\"; --help lists them", asked);
}

/* Words and options that the command does not take, or too few words. */
static aq_ctl_exit_t arguments_check(const aq_ctl_t *ctl, const command_t *command, const apr_array_header_t *given)
{
    const char *name = name_of(ctl->p, command), *space = command->usage[0] ? " " : "", *wrong = "";

    for (int i = 0; i < given->nelts; i++) {
        const given_t *option = &APR_ARRAY_IDX(given, i, const given_t);
        if ((option->bit & ~command->takes) != 0) {
            wrong = apr_psprintf(ctl->p, "%s takes no --%s; ", name, option->name);
        }
    }
    return !wrong[0] && ctl->argument_count >= command->least_arguments &&
                   ctl->argument_count <= command->most_arguments
               ? AQ_CTL_DONE
               : aq_ctl_fail(AQ_CTL_USAGE, "%susage: apiquotactl %s%s%s", wrong, name, space, command->usage);
}

static aq_ctl_exit_t command_run(aq_ctl_t *ctl, char **words, int count, const apr_array_header_t *given)
{
    int name_words;
    const command_t *command = command_find(words, count, &name_words);

    if (!command && count > 0) {
        return command_refuse(ctl, words, count);
    }
    if (!command) {
        help_print(stderr, NULL, 0);
        return AQ_CTL_USAGE;
    }
    ctl->arguments = (const char *const *)words + name_words;
    ctl->argument_count = count - name_words;
    ctl->argument = ctl->argument_count > 0 ? ctl->arguments[0] : NULL;
    aq_ctl_exit_t code = arguments_check(ctl, command, given);
    if (code == AQ_CTL_DONE && ctl->config && !command->reads_config) {
        code = aq_ctl_config_read(ctl);
    }
    return code == AQ_CTL_DONE ? command->run(ctl) : code;
}

int main(int argc, char **argv)
{
    apr_pool_t *p;
    asked_t asked = ASKED_COMMAND;

    if (apr_initialize() != APR_SUCCESS || apr_pool_create(&p, NULL) != APR_SUCCESS) {
        return (int)aq_ctl_fail(AQ_CTL_REFUSED, "no memory");
    }
    aq_log_level_set(AQ_LOG_CRIT); /* what the library would tell a server's log, the commands say in their own way */
    aq_ctl_t ctl = {.p = p, .now_ms = aq_clock_now_ms()};
    ctl.scopes = apr_array_make(p, 4, sizeof(const char *));
    ctl.limits = apr_array_make(p, 4, sizeof(const char *));
    apr_array_header_t *given = apr_array_make(p, 4, sizeof(given_t));
    aq_ctl_exit_t code = options_read(&ctl, argc, argv, given, &asked);
    if (code == AQ_CTL_DONE && asked == ASKED_HELP) {
        help_print(stdout, argv + optind, argc - optind);
        code = aq_ctl_output_end();
    } else if (code == AQ_CTL_DONE && asked == ASKED_VERSION) {
        (void)puts("apiquotactl (mod_apiquota) " AQ_VERSION);
        code = aq_ctl_output_end();
    } else if (code == AQ_CTL_DONE) {
        code = command_run(&ctl, argv + optind, argc - optind, given);
    }
    apr_pool_destroy(p);
    apr_terminate();
    return (int)code;
}
