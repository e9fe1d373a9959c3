#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every C file is as clang-format writes it (`make format` does), and no text file ends lines with blanks.
cd "$(dirname "$0")/../.." || exit 1
status=0
# Each version of clang-format has its own taste: Debian 12's is the judge, others would quarrel with it.
case $(clang-format --version) in
*' version 14.'*)
    find mod_apiquota.c src tests conf -name '*.[ch]' -print0 2>/dev/null |
        xargs -0 -r clang-format --dry-run -Werror 2>&1 | grep -E ': (error|warning):|rror reading' && status=1
    ;;
*' version '*) echo "C files not judged: $(clang-format --version) is not 14" ;;
*) status=1 ;;
esac
find mod_apiquota.c src tests conf vagrant .ci Makefile -type f 2>/dev/null |
    grep -E '(\.(c|h|py|sh|mk|conf|json)|/run|Makefile|Vagrantfile)$' |
    xargs -r grep -nE '[[:blank:]]+$' && status=1
exit $status
