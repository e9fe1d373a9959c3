/* SPDX-License-Identifier: Apache-2.0 */
/* The version of all programs of this tree, as metrics and status page tell it. */
#ifndef AQ_VERSION_H
#define AQ_VERSION_H

#define AQ_VERSION "0.1.0"

#endif
