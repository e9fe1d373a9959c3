/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files as strings. The assembler reads them, relative to where make runs; the Makefile knows that this object depends
 * on them.
 */
#include "httpd/status_assets.h"

#define ASSET(name, path)                                                                                              \
    __asm__(".pushsection .rodata\n"                                                                                   \
            ".globl " #name "\n"                                                                                       \
            ".hidden " #name "\n" #name ":\n"                                                                          \
            ".incbin \"" path "\"\n"                                                                                   \
            ".byte 0\n"                                                                                                \
            ".popsection\n")

ASSET(aq_status_css, "src/httpd/status.css");
ASSET(aq_status_js, "src/httpd/status.js");
