/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access: whether the user that httpd runs as may use a file, asked of the system itself in a process of that user.
 */
#ifndef AQ_ACCESS_H
#define AQ_ACCESS_H

#include <apr_errno.h>
#include <sys/types.h>

/*
 * Whether that user may use `path` in `mode` (as for access(2)): APR_SUCCESS, the reason why not (EACCES, ENOENT, …),
 * or APR_ENOTIMPL where the caller is neither root nor that user and cannot know.
 */
apr_status_t aq_access_check(const char *path, int mode, uid_t uid, gid_t gid);

#endif
