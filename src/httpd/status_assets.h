/* SPDX-License-Identifier: Apache-2.0 */
/* Style and script of the status page: status.css and status.js, as they are when this is built. */
#ifndef AQ_STATUS_ASSETS_H
#define AQ_STATUS_ASSETS_H

extern const char aq_status_css[] __attribute__((visibility("hidden")));
extern const char aq_status_js[] __attribute__((visibility("hidden")));

#endif
