/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the counter file share. */
#ifndef SHM_FILE_FIXTURE_H
#define SHM_FILE_FIXTURE_H

#include "contract/counter_fixture.h"
#include "store/shm_counters.h"

#define SIZE_SMALL UINT64_C(65536)
#define SIZE_LARGE UINT64_C(262144)

/* Puts away what another test left beside the counter file, and keeps the log from here on. */
void shm_file_fresh(void);

/* The counter file. */
const char *shm_file_path(void);

/* Opens it in pool `p`; what comes out is left to the caller. */
apr_status_t shm_file_try(apr_pool_t *p, uint64_t size, int may_resize, aq_counter_store_t **store, const char **error);

/* Opens it, or fails the test. */
aq_counter_store_t *shm_file_open(apr_pool_t *p, uint64_t size, aq_time_ms_t now_ms);

/* A pool of one server's life. */
apr_pool_t *shm_file_pool(void);

/* How many files were set aside. */
unsigned shm_file_aside(void);

/* Takes from one counter of a day, and says what it holds. */
void shm_file_take(aq_counter_store_t *store, uint32_t cost, aq_time_ms_t now_ms);
uint64_t shm_file_used(aq_counter_store_t *store, aq_time_ms_t now_ms);

#endif
