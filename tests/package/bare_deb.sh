#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The Debian packages in bare systems: `make check-deb RELEASE=bookworm|trixie` (root, debootstrap, a Debian mirror).
#
# In one system the committed tree is built into packages, and lintian looks at them. In another one, which holds nothing
# of what building takes, they are installed, used as docs/quick-start.md says, upgraded, removed and purged
# (in_root.sh), without a network: ports and servers of this machine are not touched.
#
#   MIRROR=URL   BARE_BASE=FILE.tar   see bare.sh
#   DEBS=FOLDER  takes the packages from there and builds none
set -eu
SUITE=${RELEASE:-bookworm}
. "$(dirname "$0")/bare.sh"
bare_begin

build() {
    bare_root builder
    cat >"$work/build" <<'COMMANDS'
set -eu
cd /root/mod_apiquota
sed 's/^deb /deb-src /' /etc/apt/sources.list >/etc/apt/sources.list.d/source.list
apt-get update -qq
apt-get build-dep -qq -o Dpkg::Use-Pty=0 --no-install-recommends -P nocheck -y . >/dev/null
apt-get install -qq -o Dpkg::Use-Pty=0 --no-install-recommends -y lintian >/dev/null
tests/package/build_deb.sh /root/debs
echo "lintian: $(lintian --version)"
lintian --allow-root --fail-on error,warning /root/debs/*.changes
COMMANDS
    bare_run builder "$work/build"
    DEBS=$work/builder/root/debs
}

# The same packages as of an earlier version, to be upgraded.
age() {
    for deb in "$user"/new/*.deb; do
        rm -rf "$work/aged"
        dpkg-deb -R "$deb" "$work/aged"
        sed -i -e 's/^\(Version: \).*/\10.0.1/' -e 's/(= [^)]*)/(= 0.0.1)/' "$work/aged/DEBIAN/control"
        dpkg-deb --root-owner-group -b "$work/aged" "$user/$(basename "$deb" | sed 's/_[^_]*_/_0.0.1_/')" >/dev/null
    done
}

[ -n "${DEBS:-}" ] || build
bare_root user
user=$work/user/root
mkdir "$user/new"
for deb in "$DEBS"/*.deb; do
    case $deb in
    *dbgsym*) ;;
    *) cp "$deb" "$user/new" ;;
    esac
done
age
cat >"$work/download" <<'COMMANDS'
set -eu
cd /root
apt-get update -qq
apt-get install -qq --download-only -y curl ./*.deb >/dev/null
COMMANDS
began=$(date +%s)
bare_run user "$work/download"
downloaded=$(($(date +%s) - began))
bare_run user "$tree/tests/package/in_root.sh" alone
echo "in a bare $suite: the packages do what they should (download: $downloaded s)"
