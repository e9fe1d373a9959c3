# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Bare Debian systems in folders, for scripts that source this. They need root, debootstrap and a Debian mirror.
#
#   bare_begin                   makes $work, a folder that goes with the script; sets $tree
#   bare_root NAME               a minimal system of $suite in $work/NAME, with the committed tree in /root/mod_apiquota
#   bare_run NAME FILE [alone]   runs the commands of FILE there, in PID and mount namespaces of their own: whatever they
#                                leave running or mounted ends with them. alone: with a loopback of its own, and no network
#
#   SUITE=bookworm|trixie   MIRROR=URL
#   BARE_BASE=FILE.tar      kept between runs: the minimal system, so that debootstrap runs once

suite=${SUITE:-bookworm}
mirror=${MIRROR:-http://deb.debian.org/debian}

bare_cleanup() {
    # Only what this script made, and never across a mount.
    case $work in
    */bare.??????) rm -rf --one-file-system "$work" ;;
    esac
}

bare_begin() {
    tree=$(cd "$(dirname "$0")/../.." && pwd)
    [ "$(id -u)" = 0 ] || { echo "${0##*/}: needs root" >&2; exit 1; }
    command -v debootstrap >/dev/null || { echo "${0##*/}: needs debootstrap" >&2; exit 1; }
    work=$(mktemp -d "${TMPDIR:-/tmp}/bare.XXXXXX")
    base=${BARE_BASE:-$work/base.tar}
    trap bare_cleanup EXIT
    trap 'exit 130' INT TERM HUP
}

bare_base_make() {
    echo "debootstrap $suite from $mirror"
    debootstrap --variant=minbase "$suite" "$work/base" "$mirror" >"$work/debootstrap.log" 2>&1 || {
        tail -n 20 "$work/debootstrap.log" >&2
        exit 1
    }
    tar -C "$work/base" -cpf "$base" --numeric-owner .
    rm -rf --one-file-system "$work/base"
}

bare_root() {
    [ -s "$base" ] || bare_base_make
    mkdir "$work/$1"
    tar -C "$work/$1" -xpf "$base" --numeric-owner
    cp /etc/resolv.conf "$work/$1/etc/resolv.conf"
    echo force-unsafe-io >"$work/$1/etc/dpkg/dpkg.cfg.d/bare" # gone after the test: nothing needs to be synced to disk
    git -c safe.directory='*' clone -q --no-hardlinks "$tree" "$work/$1/root/mod_apiquota"
}

bare_run() {
    {
        echo 'export HOME=/root LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive'
        cat "$2"
    } >"$work/$1/root/commands"
    # shellcheck disable=SC2016 -- expands inside
    unshare --mount --pid --fork --kill-child ${3:+--net} sh -c '
        { [ -z "$2" ] || ip link set lo up; } && mount -t proc proc "$1/proc" &&
        mkdir -p "$1/dev/shm" "$1/dev/pts" && mount -t devpts -o newinstance,ptmxmode=666 devpts "$1/dev/pts" &&
        ln -sf pts/ptmx "$1/dev/ptmx" && mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm" &&
        exec chroot "$1" sh /root/commands' sh "$work/$1" "${3:-}" </dev/null
}
