/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Script end: signals the processes of a CGI program whose request is over.
 *
 * Neither mod_cgi nor mod_cgid tells other modules which process is whose, and the pipe that httpd waits on stays open
 * as long as any child of the script holds it. What they all have is the script's environment, with a tag in it that
 * belongs to one request. Processes of another user (suexec) cannot be looked at and are left alone.
 */
#ifndef AQ_SCRIPT_END_H
#define AQ_SCRIPT_END_H

#include <apr_pools.h>

/* Sends `signal` to every process of this user that has `tag`, "NAME=VALUE", in its first environment. Linux's /proc. */
void aq_script_end(apr_pool_t *ptemp, const char *tag, int signal);

#endif
