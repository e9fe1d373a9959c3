#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs the Debian packages that build, tests, demo and measurements need.  `make deps` runs it, and so does the
# Vagrantfile.  It does nothing when all are there.  It needs root or sudo otherwise.
#
# apache2-bin, not apache2: the latter would start a server on port 80 and keep it there. What comes with a server of its
# own and cannot be had without (promtool is in prometheus) is installed without starting it, now or at the next boot.
#
# redis-tools, not redis-server: the server's program is in it, as redis-check-rdb, and is a server when called by that name.
#
# Of several machines (Vagrantfile) each has a role:
#   provision.sh redis ADDRESS   a Redis that listens there, and nothing else
#   provision.sh web ADDRESS     all of it, and behind Debian's apache2 the module, which counts in the Redis at ADDRESS
set -eu

role=${1:-}
redis_address=${2:-127.0.0.1}

# One line a purpose; a `release:` in front keeps a line to that release, a `role=` to machines of that role.
packages() {
    cat <<'TABLE'
build       gcc libc6-dev make pkg-config binutils
build       apache2-dev libapr1-dev libaprutil1-dev libjansson-dev libsqlite3-dev libcurl4-openssl-dev libssl-dev
build       libhiredis-dev
run         apache2-bin apache2-utils ca-certificates
test        jq check libsubunit-dev python3 python3-pytest python3-pytest-xdist libfaketime faketime
test        curl sqlite3 nghttp2-client procps iproute2 git redis-tools
test        python3-yaml python3-jsonschema nodejs npm
test        prometheus chromium chromium-driver python3-selenium
13:test     valkey-tools
lint        clang clang-format clang-tidy cppcheck
12:lint     libclang-rt-14-dev
13:lint     libclang-rt-19-dev
lint        mandoc systemd bash
package     build-essential dpkg-dev debhelper lintian
demo        iso-codes unicode-data
bench       valgrind hey wrk
role=web    apache2
role=redis  redis-server
TABLE
}

fail() {
    echo "provision.sh: $*" >&2
    exit 1
}

wanted() {
    packages | while read -r purpose names; do
        case $purpose in
        role=*) [ "$purpose" = "role=$role" ] || continue ;;
        *) [ "$role" != redis ] || continue ;;
        esac
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

# Of the packages that this script installs: what would serve at the next boot.
services="prometheus"

# What is not there yet must not start while it is installed: policy-rc.d is how a system says so.
policy=/usr/sbin/policy-rc.d

services_hold() {
    [ ! -e $policy ] || return 0
    as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"
    holding=1
}

services_let_go() {
    [ -n "${holding:-}" ] || return 0
    as_root rm -f $policy
    holding=
}

services_disable() {
    for service in $services; do
        case " $lacking" in
        *" $service "*) as_root update-rc.d "$service" disable >/dev/null 2>&1 || true ;;
        esac
    done
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
redis_configure() {
    # Reached by the machines of its private network alone, so it asks nobody who he is.
    sed -i -e "s/^bind .*/bind 127.0.0.1 $redis_address/" -e 's/^protected-mode .*/protected-mode no/' /etc/redis/redis.conf
    service redis-server restart
    for _ in 1 2 3 4 5; do
        redis-cli -h 127.0.0.1 ping >/dev/null 2>&1 && return
        sleep 1
    done
    fail "Redis does not answer; see /var/log/redis"
}

# The same file on all machines, for the key aq_vagrant: a request to one of them counts for all.
web_configure() {
    make -C "$(dirname "$0")/.." BUILD=/var/tmp/apiquota-build install >/dev/null
    mkdir -p /etc/apiquota
    printf '{"tenants": {"acme": {"plan": "basic"}}, "keys": [{"id": "k_vagrant", "sha256": "%s", "tenant": "acme"}]}\n' \
        "$(printf aq_vagrant | sha256sum | cut -d' ' -f1)" >/etc/apiquota/keys.json
    chgrp www-data /etc/apiquota/keys.json
    chmod 640 /etc/apiquota/keys.json
    cat >/etc/apache2/conf-available/api.conf <<CONF
APIQuotaStore redis://$redis_address
<Location "/v1">
    AuthType APIKey
    Require valid-user
    APIQuota On
</Location>
CONF
    mkdir -p /var/www/html/v1
    echo '{"hello": "world"}' >/var/www/html/v1/hello.json
    a2enmod -q apiquota
    a2enconf -q api
    apachectl restart
    echo "Ready. Now:  curl -i -H 'Authorization: Bearer aq_vagrant' http://$(hostname -I | awk '{print $NF}')/v1/hello.json"
}

configure() {
    case $role in
    '') ;;
    redis | web) "${role}_configure" ;;
    *) fail "$role is no role: allowed are redis and web" ;;
    esac
}

lacking=$(missing | tr '\n' ' ')
[ -n "$lacking" ] || { configure && exit 0; }

echo "installing: $lacking"
apt update
trap services_let_go EXIT
services_hold
# shellcheck disable=SC2086 -- a list of names, one word each
apt install -y --no-install-recommends $lacking </dev/null >/dev/null
services_let_go
services_disable

lacking=$(missing | tr '\n' ' ')
[ -z "$lacking" ] || fail "still missing after the install: $lacking"
configure
