#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Builds the Debian packages from a copy of the tree and puts them into the folder that is named: `make deb`.
#
#   tests/package/build_deb.sh BUILD
#
# The copy lies in BUILD/deb and goes again when the packages are built. `make check` is what tests; DEB_BUILD_OPTIONS
# and DEB_BUILD_PROFILES of the environment count (unset: nocheck).
set -eu

build=$1
tree=$(cd "$(dirname "$0")/../.." && pwd)
version=$(dpkg-parsechangelog -l "$tree/debian/changelog" -S Version)
work=$build/deb
copy=$work/mod-apiquota-$version

files() {
    if git -c safe.directory='*' rev-parse --git-dir >/dev/null 2>&1; then
        git -c safe.directory='*' ls-files -co --exclude-standard -z
    else
        find . -path ./build -prune -o -type f -print0
    fi
}

rm -rf "$work"
mkdir -p "$copy"
cd "$tree"
# A file that git still lists and that is gone is left out.
files | xargs -0 sh -c 'for file; do [ ! -e "$file" ] || printf "%s\0" "$file"; done' sh |
    tar -cf - --null --no-recursion -T - | tar -C "$copy" -xf -
cd "$copy"
export DEB_BUILD_OPTIONS="${DEB_BUILD_OPTIONS-nocheck} parallel=$(nproc)" DEB_BUILD_PROFILES="${DEB_BUILD_PROFILES-nocheck}"
# make's own variables, for instance of `make -j`, are not for the build in the copy.
env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS dpkg-buildpackage -us -uc >"$work/log" 2>&1 || {
    tail -n 60 "$work/log" >&2
    exit 1
}
cd "$work"
for file in *; do
    case $file in
    *.deb | *.dsc | *.tar.xz | *.changes | *.buildinfo) mv "$file" "$build/" && echo "$build/$file" ;;
    esac
done
mv log "$build/deb.log"
rm -rf "$work"
