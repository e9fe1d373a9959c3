/* SPDX-License-Identifier: Apache-2.0 */
/* Values of headers that hold keys, ids of batches (which cursors are made of), and addresses of clients. */
#include "base/aq_address.h"
#include "base/aq_clock.h"
#include "batch/batch.h"
#include "fuzz/fuzz.h"
#include "identity/principal.h"

#include <string.h>

/* A token is a part of the value, and nothing in it could end a header, a log line or a list. */
static void token_is_sane(const char *value, int is_read, const char *token, size_t size)
{
    if (!is_read) {
        FUZZ_HOLDS(!token && size == 0);
        return;
    }
    FUZZ_HOLDS(size > 0 && token >= value && token + size <= value + strlen(value));
    for (size_t i = 0; i < size; i++) {
        FUZZ_HOLDS(token[i] > 0x20 && token[i] < 0x7f && token[i] != ',');
    }
    FUZZ_HOLDS(!aq_token_is_joined(value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    const char *value = fuzz_text(p, data, size);
    char address[AQ_ADDRESS_SIZE];
    aq_time_ms_t time_ms;
    const char *token;
    size_t token_size;
    int is_read;

    is_read = aq_bearer_token(value, &token, &token_size);
    token_is_sane(value, is_read, token, token_size);
    is_read = aq_bare_token(value, &token, &token_size);
    token_is_sane(value, is_read, token, token_size);
    if (aq_batch_id_is_valid(value)) {
        FUZZ_HOLDS(strlen(value) == AQ_BATCH_ID_SIZE - 1 && !strpbrk(value, "/.\\%"));
    }
    if (aq_address_subject(value, strlen(value), (unsigned)(size % 129), address)) {
        FUZZ_HOLDS(memchr(address, '\0', sizeof(address)) && strspn(address, "0123456789abcdef:./") == strlen(address));
    }
    (void)aq_principal_name_is_valid(value);
    (void)aq_clock_rfc3339_parse(value, &time_ms);
    return 0;
}
