/* SPDX-License-Identifier: Apache-2.0 */
/* A segment that a crash left behind: read up to its first record that is not whole, which is cut there. */
#include "batch/segment.h"
#include "fuzz/fuzz.h"

#include <fcntl.h>
#include <unistd.h>

#define ITEMS 64

typedef struct {
    aq_items_known_t known;
    int64_t records;
} noted_t;

static void note(void *data, const aq_segment_record_t *record)
{
    noted_t *noted = data;

    FUZZ_HOLDS(record->line >= 1 && record->size <= AQ_SEGMENT_TEXT_MAX_BYTES);
    noted->records++;
    aq_items_known_note(&noted->known, record);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    noted_t noted = {.records = 0};
    int64_t whole_bytes = -1;
    int fd = open(fuzz_file("segment", data, size), O_RDONLY | O_CLOEXEC);

    aq_items_known_make(p, ITEMS, &noted.known);
    FUZZ_HOLDS(fd >= 0 && aq_segment_read(fd, note, &noted, &whole_bytes) == APR_SUCCESS);
    (void)close(fd);
    FUZZ_HOLDS(whole_bytes >= 0 && whole_bytes <= (int64_t)size && (noted.records == 0) == (whole_bytes == 0));
    FUZZ_HOLDS(noted.known.done >= noted.known.failed && noted.known.done <= ITEMS);
    for (int64_t line = 0; line <= ITEMS + 1; line++) {
        FUZZ_HOLDS(!(aq_items_is_done(&noted.known, line) && aq_items_is_unknown(&noted.known, line)));
        FUZZ_HOLDS(aq_items_tries(&noted.known, line) >= 0);
    }
    return 0;
}
