#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# README's commands, and nothing else, in a bare Debian: `make check-bare` (root, debootstrap, a Debian mirror).
#
#   SUITE=bookworm|trixie   MIRROR=URL   BARE_BASE=FILE.tar   see tests/package/bare.sh
#   PORT=8080               of the demo
#   BARE_COMMANDS='...'     in place of README's
set -eu
. "$(dirname "$0")/../package/bare.sh"

commands=${BARE_COMMANDS:-"apt-get install -y make && make demo PORT=${PORT:-8080} && make check"}
bare_begin
bare_root root
cat >"$work/commands" <<COMMANDS
cd /root/mod_apiquota
apt-get update -qq || exit 1
$commands
COMMANDS

began=$(date +%s)
rc=0
bare_run root "$work/commands" || rc=$?
echo "in a bare $suite: exit code $rc after $(($(date +%s) - began)) s"
exit "$rc"
