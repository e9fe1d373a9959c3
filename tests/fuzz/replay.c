/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In place of libFuzzer: feeds a target each file of its corpus, whole, cut after each of its bytes (of long files: at some
 * hundred places), and with each of them changed. Prints Check's summary line, so that tests/run counts the files.
 */
#include "fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLACES 300
#define INPUT_MAX ((size_t)1 << 20)

static void feed(const uint8_t *data, size_t size)
{
    /* A copy of just that size, so that a sanitizer sees what is read behind its end. */
    uint8_t *copy = malloc(size > 0 ? size : 1);

    if (!copy) {
        abort();
    }
    memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void feed_variants(uint8_t *data, size_t size)
{
    static const uint8_t changes[] = {0x01, 0x20, 0x80, 0xff};
    const size_t step = size / PLACES + 1;

    feed(data, size);
    for (size_t i = 0; i < size; i += step) {
        feed(data, i);
        data[i] ^= changes[i / step % sizeof(changes)];
        feed(data, size);
        data[i] ^= changes[i / step % sizeof(changes)];
    }
}

/* 1, or 0 where the file cannot be read. */
static int replay(const char *folder, const char *name)
{
    static uint8_t data[INPUT_MAX];
    char path[4096];
    FILE *file;
    size_t size;

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 0;
    }
    size = fread(data, 1, sizeof(data), file);
    (void)fclose(file);
    (void)fprintf(stderr, "%s\n", path);
    feed_variants(data, size);
    return 1;
}

int main(int argc, char **argv)
{
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    int files = 0, failed = 0;

    if (!folder) {
        (void)fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
        return 2;
    }
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] != '.') {
            files++;
            failed += !replay(argv[1], entry->d_name);
        }
    }
    (void)closedir(folder);
    printf("%d%%: Checks: %d, Failures: %d, Errors: 0\n", files > 0 ? 100 * (files - failed) / files : 0, files,
           failed);
    return files > 0 && failed == 0 ? 0 : 1;
}
