/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors: handing an open file to another process, over a pair of datagram sockets (SCM_RIGHTS, unix(7)).
 *
 * httpd's parent hands its worker the error log anew when httpd has opened it anew: the worker may not open it itself.
 */
#ifndef AQ_DESCRIPTOR_H
#define AQ_DESCRIPTOR_H

#include <apr_errno.h>

/* A connected pair, close-on-exec, whose ends do not block. Both are -1 on failure. */
apr_status_t aq_descriptor_pair(int ends[2]);

/* Hands over a duplicate of `fd`. APR_EAGAIN where the other side has not taken what came before. */
apr_status_t aq_descriptor_send(int end, int fd);

/* Takes the next one, close-on-exec, or APR_EAGAIN where there is none. `*fd` is -1 on failure. */
apr_status_t aq_descriptor_receive(int end, int *fd);

#endif
