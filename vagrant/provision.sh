#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs the Debian packages that build, tests, demo and measurements need.  `make deps` runs it, and so does the
# Vagrantfile.  It does nothing when all are there.  It needs root or sudo otherwise.
#
# apache2-bin, not apache2: the latter would start a server on port 80 and keep it there.
set -eu

# One line a purpose; a `release:` in front keeps a line to that release.
packages() {
    cat <<'TABLE'
build       gcc libc6-dev make pkg-config binutils
build       apache2-dev libapr1-dev libaprutil1-dev libjansson-dev libsqlite3-dev libcurl4-openssl-dev libssl-dev
run         apache2-bin apache2-utils ca-certificates
test        check libsubunit-dev python3 python3-pytest python3-pytest-xdist libfaketime faketime
test        curl sqlite3 nghttp2-client procps iproute2 git
test        python3-yaml python3-jsonschema nodejs npm
lint        clang clang-format clang-tidy cppcheck
12:lint     libclang-rt-14-dev
13:lint     libclang-rt-19-dev
demo        iso-codes unicode-data
bench       valgrind hey wrk
TABLE
}

fail() {
    echo "provision.sh: $*" >&2
    exit 1
}

wanted() {
    packages | while read -r purpose names; do
        case $purpose in
        *:*) [ "${purpose%%:*}" = "$release" ] || continue ;;
        esac
        echo "$names"
    done | tr ' ' '\n'
}

missing() {
    # dpkg-query complains on stderr about names it never heard of; those are missing as well.
    installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' $all 2>/dev/null | sed -n 's/^installed //p')
    for name in $all; do
        # Other makers' nodejs holds npm, and keeps Debian's out.
        [ "$name" = npm ] && command -v npm >/dev/null && continue
        echo "$installed" | grep -qxF -- "$name" || echo "$name"
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -- "$@"
    else
        fail "packages are missing ($lacking): run \`make deps\` as root, or install sudo"
    fi
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@"
}

[ -r /etc/os-release ] || fail "no /etc/os-release: this is made for Debian 12 and 13"
distribution=$(. /etc/os-release && echo "${ID:-}")
release=$(. /etc/os-release && echo "${VERSION_ID:-}")
[ "$distribution" = debian ] || fail "this is $distribution $release; Debian 12 or 13 is needed (\`vagrant up\` in vagrant/ gives one)"
case $release in
12 | 13) ;;
*) fail "this is Debian ${release:-testing}; 12 and 13 are supported" ;;
esac

all=$(wanted)
lacking=$(missing | tr '\n' ' ')
[ -n "$lacking" ] || exit 0

echo "installing: $lacking"
apt update
# shellcheck disable=SC2086 -- a list of names, one word each
apt install -y --no-install-recommends $lacking </dev/null >/dev/null

lacking=$(missing | tr '\n' ' ')
[ -z "$lacking" ] || fail "still missing after the install: $lacking"
