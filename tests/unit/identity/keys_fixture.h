/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests of keys files share: two plans, keys whose text follows from a number, and files of them.
 */
#ifndef KEYS_FIXTURE_H
#define KEYS_FIXTURE_H

#include "identity/keyedit_place.h"
#include "identity/keyfile.h"
#include "unit/fixture.h"

#define KEYS_NOW_MS INT64_C(1800000000000) /* 2027-01-15 */

/* Plans "basic" (minute 300, day 1000 per tenant) and "big" (minute 3000), made anew. */
apr_hash_t *keys_plans(void);
extern const aq_hash_secret_t keys_secret;

/* The text of key `number`, and its SHA-256 in hex. */
const char *keys_text(int number);
const char *keys_hash(int number);

/* Replaces HASH1 … HASH9 in `text` by the hashes of these keys, and writes it to `path`. */
void keys_write(const char *path, const char *text);

/*
 * Where tests edit the keys of `path`: that file; or what keys_place_set says, whose edits are then found in the file too.
 */
const aq_keyedit_place_t *keys_place(const char *path);
typedef const aq_keyedit_place_t *keys_place_fn(const char *path);
void keys_place_set(keys_place_fn *make);

/* A holder of `path`, not loaded. */
aq_keys_t *keys_make(const char *path);

/* Loads and fails the test if that cannot be done; the report in `report` unless NULL. */
void keys_load(aq_keys_t *keys, aq_keys_report_t *report);

/* A holder of a file of that name and text (see keys_write), loaded; the log is kept from here on. */
aq_keys_t *keys_loaded(const char *name, const char *text);

/* Who presents key `number` at KEYS_NOW_MS; NULL where nobody does. Holds a reference until the end of the test. */
const aq_principal_t *keys_principal(aq_keys_t *keys, int number);
aq_identified_t keys_find(aq_keys_t *keys, int number);

#endif
