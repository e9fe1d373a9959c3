/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of directives: what the setters of several files read alike, and how all of them say what is not allowed.
 *
 * Each reader returns NULL and sets its last argument, or returns a sentence in cmd->pool that names the directive, the
 * value and what is allowed; httpd adds file and line.
 */
#ifndef AQ_DIRECTIVE_VALUES_H
#define AQ_DIRECTIVE_VALUES_H

/* httpd.h first: http_config.h needs its types. */
#include <httpd.h>
#include <http_config.h>
#include <stdint.h>

/* That sentence. `value` may be NULL. */
const char *aq_not_allowed(const cmd_parms *cmd, const char *value, const char *allowed);

/* On or Off, in any case. */
const char *aq_flag_read(const cmd_parms *cmd, const char *text, int *flag);

/* A whole number from 1 to `most`. */
const char *aq_count_read(const cmd_parms *cmd, const char *text, int most, int *count);

/* A duration from `least_ms` to `most_ms`, see aq_units.h. */
const char *aq_duration_read(const cmd_parms *cmd, const char *text, int64_t least_ms, int64_t most_ms, int64_t *ms);

/* A size in bytes, see aq_units.h. */
const char *aq_size_read(const cmd_parms *cmd, const char *text, int64_t *bytes);

/* A path below ServerRoot unless absolute; NULL where it makes no sense as one. */
const char *aq_path_read(const cmd_parms *cmd, const char *text);

#endif
