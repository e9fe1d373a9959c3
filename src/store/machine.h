/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machine: the name of this machine among those that share a queue. It is made once, at random, and kept in the state folder
 * beside what is this machine's, so that it goes where its spool goes.
 */
#ifndef AQ_MACHINE_H
#define AQ_MACHINE_H

#include <apr_pools.h>

/*
 * The name, in `p`: read from the file at `path`, or made and written there (mode 0600) where there is none. Any other file is
 * left as it is: under another name this machine would never see its batches again. A status and a sentence in `p` at `*error`.
 */
apr_status_t aq_machine_name(apr_pool_t *p, const char *path, const char **name, const char **error);

#endif
