/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log sink of httpd's processes: every line of the library goes into the server's error log. And a pace for lines that
 * each request could bring about, so that no flood of requests is one of the log.
 */
#ifndef AQ_HTTPD_LOG_H
#define AQ_HTTPD_LOG_H

#include "base/aq_log.h"

#include <stdatomic.h>
#include <stdint.h>

/* Sets the sink. Once a process, before anything is logged. */
void aq_httpd_log_install(void);

/* When a line was written last; zero: never. */
typedef _Atomic int64_t aq_log_pace_t;

/* 1 at most once a second in each process. Thread-safe. */
int aq_httpd_log_is_due(aq_log_pace_t *pace);

/* AQ_LOG, once a second in each process: a macro, so that each place has a pace of its own. */
#define AQ_PACED_LOG(level, number, status, ...)                                                                       \
    do {                                                                                                               \
        static aq_log_pace_t pace;                                                                                     \
        if (aq_httpd_log_is_due(&pace)) {                                                                              \
            aq_log_write((level), (number), (status), __VA_ARGS__);                                                    \
        }                                                                                                              \
    } while (0)

#endif
