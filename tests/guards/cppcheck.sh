#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# cppcheck has no complaint about the code that ships.
cd "$(dirname "$0")/../.." || exit 1
cache=${AQ_BUILD:-build}/lint/cppcheck
mkdir -p "$cache" || exit 1
sources=$(find mod_apiquota.c src -name '*.c' 2>/dev/null)
[ -n "$sources" ] || exit 0

# What is suppressed, and why:
# missingIncludeSystem    httpd's, APR's and the system's headers are not read: they are not ours to check, and slow
# unknownMacro            so httpd's macros are unknown; the common ones are defined below, others would stop the file
# unmatchedSuppression    one list for all files
# readdirCalled           readdir is thread-safe on streams of their own (POSIX 2024), and glibc advises against readdir_r
# getpwuidCalled          apiquotactl has one thread
# …OutOfMemory            cppcheck 2.17 believes that mmap returns NULL where it fails, and not MAP_FAILED, which these files look for
# normalCheckLevelMaxBranches, checkersReport   remarks of later versions about themselves
mapped=
for file in src/base/aq_metrics_file.c src/store/shm_records.c src/store/slice_table.c; do
    for doubt in nullPointerOutOfMemory nullPointerArithmeticOutOfMemory ctunullpointerOutOfMemory; do
        mapped="$mapped --suppress=$doubt:$file"
    done
done
# shellcheck disable=SC2086 -- lists of words without blanks
cppcheck --quiet --std=c11 --platform=unix64 -j 2 --cppcheck-build-dir="$cache" \
    --enable=warning,performance,portability --inline-suppr --error-exitcode=1 --template='{file}:{line}: {id}: {message}' \
    --library=posix --library=gnu --library=openssl --library=sqlite3 --library=libcurl \
    --suppress=missingIncludeSystem --suppress=unknownMacro --suppress=unmatchedSuppression \
    --suppress=readdirCalled --suppress='getpwuidCalled:src/ctl/*' --suppress=normalCheckLevelMaxBranches --suppress=checkersReport $mapped \
    -Isrc -D__GNUC__=12 -D__linux__=1 -DAQ_WORKER_PATH='""' \
    -D'APLOG_USE_MODULE(x)=' -D'AP_MODULE_DECLARE_DATA=' -D'APR_DECLARE_NONSTD(t)=t' -D'APR_OFFSETOF(s,f)=offsetof(s,f)' \
    $sources
