/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What unit tests of files share: a pool, a folder that is gone afterwards, and a sink that keeps the log.
 *
 * The folder is made and removed in the parent of the tests, so that it goes also when one fails. All tests of a program
 * share it; Check runs them one after the other. The pool is each test's own.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include "base/aq_log.h"

#include <apr_pools.h>
#include <check.h>
#include <sys/types.h>

extern apr_pool_t *fixture_pool;

/* `name` in the folder, in the pool. */
const char *fixture_path(const char *name);

/* Writes a file of the folder anew, in place. */
void fixture_write(const char *path, const char *text);

/* What the file holds. */
const char *fixture_read(const char *path);

/* Keeps what is logged from here on; how many lines of that number there were, and the last of them ("": none). */
void fixture_log_keep(void);
int fixture_log_count(unsigned number);
const char *fixture_log_last(unsigned number);

/*
 * fork(), which has to succeed. The child does not speak to Check here, and must not where it is killed at any moment:
 * each ck_assert writes a message, and Check cannot read on behind one that was cut off.
 */
pid_t fixture_fork(void);

/* Runs a suite of one test case, whose tests `add` adds, with the folder and the pool; what main returns. */
int fixture_run(const char *name, void (*add)(TCase *tests));

/* The same, all tests `count` times, each time with the fixtures that one of `prepare` adds (NULL: none). */
int fixture_run_each(const char *name, int count, void (*const prepare[])(TCase *tests), void (*add)(TCase *tests));

#endif
