#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# README's commands, and nothing else, in a bare Debian: `make check-bare` (root, debootstrap, a Debian mirror).
#
# debootstrap makes a minimal system in a folder of its own; the committed tree (HEAD) is cloned into it; then the
# commands run there, in PID and mount namespaces of their own: whatever they leave running or mounted ends with them.
#
#   SUITE=bookworm|trixie   MIRROR=URL   PORT=8080 of the demo
#   BARE_BASE=FILE.tar      kept between runs: the minimal system, so that debootstrap runs once
#   BARE_COMMANDS='...'     in place of README's
set -eu

suite=${SUITE:-bookworm}
mirror=${MIRROR:-http://deb.debian.org/debian}
commands=${BARE_COMMANDS:-"apt-get install -y make && make demo PORT=${PORT:-8080} && make check"}
tree=$(cd "$(dirname "$0")/../.." && pwd)

[ "$(id -u)" = 0 ] || { echo "bare_root.sh: needs root" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "bare_root.sh: needs debootstrap" >&2; exit 1; }
work=$(mktemp -d "${TMPDIR:-/tmp}/bare.XXXXXX")
root=$work/root

cleanup() {
    # Only what this script made, and never across a mount.
    case $work in
    */bare.??????) rm -rf --one-file-system "$work" ;;
    esac
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

if [ -n "${BARE_BASE:-}" ] && [ -s "$BARE_BASE" ]; then
    mkdir "$root"
    tar -C "$root" -xpf "$BARE_BASE" --numeric-owner
else
    echo "debootstrap $suite from $mirror"
    debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$work/debootstrap.log" 2>&1 || {
        tail -n 20 "$work/debootstrap.log" >&2
        exit 1
    }
    [ -z "${BARE_BASE:-}" ] || tar -C "$root" -cpf "$BARE_BASE" --numeric-owner .
fi
cp /etc/resolv.conf "$root/etc/resolv.conf"
git -c safe.directory='*' clone -q --no-hardlinks "$tree" "$root/root/mod_apiquota"

cat >"$root/root/commands" <<COMMANDS
cd /root/mod_apiquota
export HOME=/root LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive
apt-get update -qq || exit 1
$commands
COMMANDS

began=$(date +%s)
rc=0
# shellcheck disable=SC2016 -- expands inside
unshare --mount --pid --fork --kill-child sh -c '
    mount -t proc proc "$1/proc" &&
    mkdir -p "$1/dev/shm" "$1/dev/pts" && mount -t devpts -o newinstance,ptmxmode=666 devpts "$1/dev/pts" &&
    ln -sf pts/ptmx "$1/dev/ptmx" && mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm" &&
    exec chroot "$1" sh /root/commands' sh "$root" </dev/null || rc=$?
echo "in a bare $suite: exit code $rc after $(($(date +%s) - began)) s"
exit "$rc"
