/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz targets: a file of this folder each, with the one function that libFuzzer calls.
 *
 *     make check-fuzz            replay.c feeds each target its corpus (tests/fuzz/corpus/NAME), as `make check` does
 *     make fuzz T=limit SECONDS=60   libFuzzer looks for new inputs, with ASan and UBSan
 *
 * A target may take any bytes. What must hold of an answer, whatever the input, is said with FUZZ_HOLDS. An input that once
 * failed goes into the corpus.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <apr_pools.h>
#include <stddef.h>
#include <stdint.h>

/* Ends the process where a promise is broken. */
#define FUZZ_HOLDS(promise)                                                                                            \
    do {                                                                                                               \
        if (!(promise)) {                                                                                              \
            fuzz_broken(__FILE__, __LINE__, #promise);                                                                 \
        }                                                                                                              \
    } while (0)
void fuzz_broken(const char *file, int line, const char *promise) __attribute__((noreturn));

/* What a target defines: 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An emptied pool for one input. The first call silences the log. */
apr_pool_t *fuzz_pool(void);

/* The input as a string in `p`; it may hold zeros, which end it. */
char *fuzz_text(apr_pool_t *p, const uint8_t *data, size_t size);

/* A file of that name with these bytes, in a folder of this process that is gone when it ends. */
const char *fuzz_file(const char *name, const void *data, size_t size);

/* Takes the first line off the input: a string in `p`. */
char *fuzz_line(apr_pool_t *p, const uint8_t **data, size_t *size);

#endif
