/* SPDX-License-Identifier: Apache-2.0 */
/* A spool of its own for each test. */
#ifndef AQ_TEST_SPOOL_FIXTURE_H
#define AQ_TEST_SPOOL_FIXTURE_H

#include "batch/spool.h"
#include "unit/fixture.h"

#define SPOOL_HELLO "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" /* SHA-256 of "hello" */
#define SPOOL_ID "batch_01aryz6s410000000000000000"
#define SPOOL_OTHER_ID "batch_01aryz6s410000000000000001"

extern const char *spool_folder;
extern aq_spool_t *fixture_spool;

/* Makes the two above; without a bound on its bytes, or with one. */
void spool_setup(void);
void spool_setup_bounded(int64_t max_bytes);

aq_spool_t *spool_open_at(const char *path, int64_t max_bytes);
apr_pool_t *spool_pool_make(void);

/* How many files a folder of the spool holds; how many bytes are counted as used. */
unsigned spool_count_in(const char *name);
int64_t spool_used(void);

/* Stores a body. */
aq_batch_body_t spool_store(const char *id, const char *text);

#endif
