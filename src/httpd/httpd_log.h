/* SPDX-License-Identifier: Apache-2.0 */
/* The log sink of httpd's processes: every line of the library goes into the server's error log. */
#ifndef AQ_HTTPD_LOG_H
#define AQ_HTTPD_LOG_H

/* Sets the sink. Once a process, before anything is logged. */
void aq_httpd_log_install(void);

#endif
