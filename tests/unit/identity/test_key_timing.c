/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Line 72: how long the look-up of a key takes tells nothing of how much of a guess is right. Time is noise; so each
 * comparison is done in a child that is stepped through instruction by instruction, and the instructions are counted.
 * The code under test is compiled into this file, which calls its static functions.
 */
#include "identity/key_set.c"

#include "unit/fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEY_SIZE 46 /* of "aq_" and 43 characters */
#define SLOTS 16
#define CANNOT_COUNT 0

#ifndef __has_feature
#    define __has_feature(feature) 0
#endif
/* Its own bookkeeping takes other steps each time. */
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#    define IS_COUNTED 0
#else
#    define IS_COUNTED 1
#endif

typedef int compare_fn(const void *kept, const void *presented);

static void compare_in_child(compare_fn *compare, const void *kept, const void *presented)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
        _exit(1);
    }
    (void)raise(SIGSTOP);
    volatile int is_equal = compare(kept, presented);
    (void)is_equal;
    (void)raise(SIGSTOP);
    _exit(0);
}

/* How many instructions it takes, with what calling it takes, which is always the same. */
static unsigned instructions_of(compare_fn *compare, const void *kept, const void *presented)
{
    unsigned count = CANNOT_COUNT;
    int status = 0;

    if (!IS_COUNTED) {
        return CANNOT_COUNT;
    }
    pid_t child = fixture_fork();
    if (child == 0) {
        compare_in_child(compare, kept, presented);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    if (!WIFSTOPPED(status)) {
        return CANNOT_COUNT;
    }
    do {
        if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) != 0) {
            ck_abort_msg("the child cannot be stepped through");
        }
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        count++;
    } while (WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
    ck_assert(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    (void)kill(child, SIGKILL);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return count;
}

/* Of `size` bytes, one after the other is made wrong, from `first` on: it must make no difference which. */
static unsigned differences_of(compare_fn *compare, const unsigned char *kept, size_t first, size_t size)
{
    unsigned char presented[64];
    unsigned least = UINT32_MAX, most = 0;

    for (size_t wrong = first; wrong < size; wrong++) {
        memcpy(presented, kept, size);
        presented[wrong] ^= 0x80;
        unsigned count = instructions_of(compare, kept, presented);
        least = count < least ? count : least;
        most = count > most ? count : most;
    }
    if (most == CANNOT_COUNT) {
        printf("not tested: the timing of comparisons (no child can be stepped through here)\n");
    }
    return most - least;
}

static int compare_texts(const void *kept, const void *presented)
{
    return is_same_text(kept, presented, KEY_SIZE);
}

/* As it must not be. */
static int compare_with_early_exit(const void *kept, const void *presented)
{
    const volatile char *a = kept, *b = presented;

    for (int i = 0; i < KEY_SIZE; i++) {
        if (a[i] != b[i]) {
            return 0;
        }
    }
    return 1;
}

static aq_key_t keys[1];
static uint32_t by_digest[SLOTS];
static const aq_key_set_t set = {.keys = keys, .count = 1, .by_digest = by_digest, .digest_mask = SLOTS - 1};

static int find_digest(const void *kept, const void *presented)
{
    (void)kept;
    return *aq_key_set_slot(&set, presented) != 0;
}

static void fill(unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char)(65 + i);
    }
}

START_TEST(test_f72_early_exit_would_be_seen)
{
    unsigned char kept[KEY_SIZE];

    fill(kept, sizeof(kept));
    unsigned shown = instructions_of(compare_with_early_exit, kept, kept);
    ck_assert(shown == CANNOT_COUNT || differences_of(compare_with_early_exit, kept, 0, KEY_SIZE) > KEY_SIZE);
}
END_TEST

START_TEST(test_f72_texts_of_keys_are_compared_in_the_same_steps_wherever_they_differ)
{
    unsigned char kept[KEY_SIZE];

    fill(kept, sizeof(kept));
    ck_assert_uint_eq(differences_of(compare_texts, kept, 0, KEY_SIZE), 0);
}
END_TEST

START_TEST(test_f72_digests_of_keys_are_compared_in_the_same_steps_wherever_they_differ)
{
    fill(keys[0].digest, AQ_SHA256_BYTES);
    *aq_key_set_slot(&set, keys[0].digest) = 1;
    ck_assert_int_eq(find_digest(NULL, keys[0].digest), 1);
    /* The first byte tells the slot: from the second on all of them come to the key's. */
    ck_assert_uint_eq(differences_of(find_digest, keys[0].digest, 1, AQ_SHA256_BYTES), 0);
}
END_TEST

static void add(TCase *tests)
{
    tcase_add_test(tests, test_f72_early_exit_would_be_seen);
    tcase_add_test(tests, test_f72_texts_of_keys_are_compared_in_the_same_steps_wherever_they_differ);
    tcase_add_test(tests, test_f72_digests_of_keys_are_compared_in_the_same_steps_wherever_they_differ);
}

int main(void)
{
    return fixture_run("key_timing", add);
}
