/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines that a program writes: what it logs, and how far it is. They come in pieces of any size; a line that is too long is
 * cut, and of what is logged there is a bound.
 */
#ifndef AQ_EXEC_LINES_H
#define AQ_EXEC_LINES_H

#include <stddef.h>
#include <stdint.h>

#define AQ_EXEC_LINE_MAX 512
#define AQ_EXEC_LOG_LINES_MAX 50

/* All zero to begin with. */
typedef struct {
    const char *batch_id; /* lines are logged as of this batch; NULL: they are progress */
    char line[AQ_EXEC_LINE_MAX];
    size_t length;
    int lines;
    int is_new; /* progress came since it was set to 0 */
    int64_t done, total, failed;
} aq_exec_lines_t;

void aq_exec_lines_add(aq_exec_lines_t *lines, const char *data, size_t size);

#endif
