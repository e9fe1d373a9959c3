#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The demo: `demo.sh start` runs a private httpd with a backend and the tour, and leaves it running; `demo.sh stop`
# ends it. `make demo` and `make demo-stop` call it.
#
#   AQ_BUILD    where mod_apiquota.so, apiquotactl and apiquota-worker lie (build/)
#   AQ_DEMO     folder of the demo's own ($AQ_BUILD/demo)
#   PORT        of the server on 127.0.0.1 (8080)
#   PROFILE     serves this profile of conf/profiles in place of the demo's own API
#   TOUR        off: start without it (on)
#   PACE_MS     least time that 500 rows of an import take, so that there is something to see (40)
#
# Everything lies in one run folder: below AQ_DEMO, or, where httpd's user may not read there (a checkout in a private
# home, built by root), in a temporary folder that AQ_DEMO/run points to. Nothing of the system's httpd is touched.
# Only processes whose command line names this run folder are ever signalled.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
build=${AQ_BUILD:-$here/../../build}
demo=${AQ_DEMO:-$build/demo}
port=${PORT:-8080}
profile=${PROFILE:-}
profiles=$here/../profiles
user=www-data
python=/usr/bin/python3
marker=.apiquota-demo

say() { printf '%s\n' "$*"; }
fail() {
    printf 'demo: %s\n' "$*" >&2
    exit 1
}
is_root() { [ "$(id -u)" = 0 ]; }

# ---- processes ---------------------------------------------------------------------------------------------------

# IDs of processes with $1 as their first argument (as number $3 if told) and $2 among them all. A zombie has none.
processes() {
    # shellcheck disable=SC2062 # a list of files, to be expanded
    printf '%s\n' "$2" | grep -lzxF -f - -- /proc/[0-9]*/cmdline 2>/dev/null | while IFS=/ read -r _ _ pid _; do
        name=$({ tr '\0' '\n' <"/proc/$pid/cmdline"; } 2>/dev/null | head -n "${3:-1}" | tail -n 1)
        [ "${name##*/}" != "$1" ] || echo "$pid"
    done
}
httpds() { processes apache2 "$run/httpd.conf"; }
workers() { processes apiquota-worker "$run/state"; }
backends() { processes backend.py "$run" 3; }
everything() { httpds; workers; backends; }

# A zombie has ended, whoever has yet to take note of it.
is_alive() { grep -q '^State:[[:space:]]*[^ZX]' "/proc/$1/status" 2>/dev/null; }

signal() {
    # shellcheck disable=SC2086 # a list of IDs; those that have gone are no error
    [ -z "$2" ] || kill "-$1" $2 2>/dev/null || true
}

# Waits $1 tenths of a second until the command given prints nothing.
wait_gone() {
    left=$1
    shift
    while [ -n "$("$@")" ]; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep 0.1
    done
}

stop_processes() {
    # The parent first: it ends its children and the worker in order.
    parent=$(cat "$run/httpd.pid" 2>/dev/null || true)
    if httpds | grep -qxF -e "$parent"; then
        signal TERM "$parent"
        if wait_gone 150 httpds; then
            wait_gone 50 workers || true
        fi
    fi
    signal TERM "$(everything)"
    wait_gone 50 everything || signal KILL "$(everything)"
    wait_gone 50 everything || fail "still running: $(everything | tr '\n' ' ')"
}

# ---- run folder --------------------------------------------------------------------------------------------------

# 1 where httpd's user cannot come to a folder.
is_reachable() {
    ! is_root || setpriv --reuid "$user" --regid "$user" --clear-groups test -x "$1"
}

make_run_folder() {
    mkdir -p "$demo"
    run=$(cd "$demo" && pwd -P)/files
    if ! is_reachable "$demo"; then
        parent_folder=
        for candidate in "${TMPDIR:-/tmp}" /tmp /var/tmp; do
            if [ -w "$candidate" ] && is_reachable "$candidate"; then
                parent_folder=$candidate
                break
            fi
        done
        [ -n "$parent_folder" ] || fail "$user can read neither $demo nor a temporary folder: set AQ_DEMO=FOLDER"
        run=$(mktemp -d "$parent_folder/apiquota-demo.XXXXXX")
        say "$user, whom httpd runs as, cannot reach $demo: the demo's files lie in $run"
    fi
    mkdir -p "$run/logs" "$run/data" "$run/state" "$run/bin" "$run/htdocs"
    chmod 755 "$run"
    : >"$run/$marker"
    ! is_root || chown "$user:" "$run/data"
    printf '%s\n' "$run" >"$demo/run"
}

# Sets `run` to the folder of the demo that was started last; false where there is none.
find_run_folder() {
    run=$(cat "$demo/run" 2>/dev/null) && [ -f "$run/$marker" ]
}

remove_run_folder() {
    rm -rf --one-file-system "$run"
    rm -f "$demo/run"
}

# ---- start -------------------------------------------------------------------------------------------------------

profile_names() {
    for file in "$profiles"/*.conf; do
        basename "$file" .conf
    done
}

check_environment() {
    [ -z "$profile" ] || profile_names | grep -qxF -e "$profile" ||
        fail "there is no profile $profile: there are $(profile_names | tr '\n' ' ')"
    [ -r /proc/self/cmdline ] || fail "/proc is not mounted (mount -t proc proc /proc)"
    for file in mod_apiquota.so apiquotactl apiquota-worker; do
        [ -e "$build/$file" ] || fail "$build/$file is missing: run \`make\`"
    done
    for file in "$python" /usr/share/iso-codes/json/iso_3166-1.json; do
        [ -r "$file" ] || fail "$file is missing: run \`make deps\`"
    done
    httpd=$(PATH=$PATH:/usr/sbin command -v apache2) || fail "apache2 is missing: run \`make deps\`"
    modules=${AQ_HTTPD_MODULES:-/usr/lib/apache2/modules}
    # httpd would read these as its own: quotes, and ${NAME}.
    case $build$demo in
    *[\"\\\$]*) fail "httpd cannot take a path like this one: $build" ;;
    esac
}

check_port() {
    "$python" - "$port" <<'PYTHON' || exit 1
import errno, socket, sys
try:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", int(sys.argv[1])))
        probe.listen(1)
except (ValueError, OverflowError):
    sys.exit(f"demo: PORT={sys.argv[1]} is no port number")
except OSError as error:
    why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be had ({error.strerror})"
    sys.exit(f"demo: port {sys.argv[1]} {why}: choose another, for instance `make demo PORT=8081`")
PYTHON
}

# Starts a program of ours in a session of its own, apart from the terminal and from make.
detached() {
    log=$1
    shift
    setsid "$@" </dev/null >>"$log" 2>&1 &
}

# Waits 20 seconds until $1 is a file; gives up when process $2 has gone.
wait_file() {
    left=200
    until [ -s "$1" ]; do
        left=$((left - 1))
        [ "$left" -gt 0 ] && is_alive "$2" || return 1
        sleep 0.1
    done
}

start_backend() {
    set -- --run "$run" --pace-ms "${PACE_MS:-40}"
    ! is_root || set -- "$@" --user "$user"
    detached "$run/logs/backend.log" "$python" -B "$here/backend.py" "$@"
    wait_file "$run/data/backend.port" $! || fail "the backend did not start: $(tail "$run/logs/backend.log")"
    backend=http://127.0.0.1:$(cat "$run/data/backend.port")
}

write_conf() {
    # The worker is started as httpd's user, so it must lie where that user can read.
    cp "$build/mod_apiquota.so" "$build/apiquotactl" "$build/apiquota-worker" "$run/bin/"
    {
        say "Define RUN \"$run\""
        say "Define PORT $port"
        say "Define BACKEND $backend"
        say "Define MODULES \"$modules\""
        say "Define BUILD \"$run/bin\""
        ! is_root || say "Define USER $user"
        ! has_users || say "Define USERS"
        say
        cat "$here/httpd.conf"
        if [ -n "$profile" ]; then
            say "Define APIQUOTA_PROFILES \"$run/profiles\""
            say "Define APIQUOTA_KEYS \"$run/keys.json\""
            say "Define APIQUOTA_STATE \"$run/state\""
            say "Define APIQUOTA_BACKEND $backend/v1"
            say "Define APIQUOTA_USERS \"$run/users.db\""
            say "Define APIQUOTA_SESSION_SECRET \"$run/session.secret\""
            say "Include \"$run/profiles/$profile.conf\""
        else
            cat "$here/countries.conf"
        fi
        cat "$here/pages.conf"
    } >"$run/httpd.conf"
}

# httpd's user reads the file again when it changes; apiquotactl keeps its owner and mode.
write_keys() {
    (umask 027 && cat >"$run/keys.json")
    ! is_root || chgrp "$user" "$run/keys.json"
}

copy_profile() {
    mkdir "$run/profiles"
    cp "$profiles/$profile".* "$run/profiles/"
    write_keys <"$profiles/$profile.keys.json"
    ! has_users || make_users
}

has_users() { [ -n "$profile" ] && [ -e "$profiles/$profile.users.sql" ]; }

# People of a profile, and the secret that seals their sessions: httpd reads it at its start.
make_users() {
    "$python" - "$profiles/$profile.users.sql" "$run/users.db" <<'PYTHON'
import sqlite3, sys
with open(sys.argv[1], encoding="utf-8") as sql:
    sqlite3.connect(sys.argv[2]).executescript(sql.read()).close()
PYTHON
    (umask 077 && "$python" -c 'import secrets; print(secrets.token_hex(32))' >"$run/session.secret")
}

# The commands that an operator uses. A new key is printed once and stored nowhere, so it is kept for the tour alone.
make_keys() {
    echo '{}' | write_keys
    apiquotactl tenant set acme --plan basic >/dev/null
    apiquotactl tenant set globex --plan professional >/dev/null
    BASIC_KEY=$(apiquotactl key create --tenant acme)
    PROFESSIONAL_KEY=$(apiquotactl key create --tenant globex)
    export BASIC_KEY PROFESSIONAL_KEY
}
apiquotactl() { "$run/bin/apiquotactl" --key-file "$run/keys.json" "$@" 2>>"$run/logs/apiquotactl.log"; }

start_httpd() {
    # A module built with a sanitizer needs its runtime loaded before all else.
    [ -z "${AQ_LD_PRELOAD:-}" ] || set -- env LD_PRELOAD="$AQ_LD_PRELOAD"
    detached "$run/logs/console.log" "$@" "$httpd" -d "$run" -f "$run/httpd.conf" -DFOREGROUND
    wait_file "$run/httpd.pid" $! || {
        cat "$run/logs/console.log" "$run/logs/error.log" 2>/dev/null | tail -n 20 >&2
        fail "httpd did not start; its configuration: $run/httpd.conf"
    }
}

tour() {
    if [ -n "$profile" ]; then
        "$python" -B "$here/profile_tour.py" --profile "$profile" --page "$here/../../docs/profiles/$profile.md" --port "$port"
    else
        "$python" -B "$here/tour.py" --run "$run" --port "$port"
    fi
}

say_examples() {
    file=$(dpkg -L unicode-data | grep '/UnicodeData\.txt$')
    cat <<TEXT
  KEY=$PROFESSIONAL_KEY
  curl -i -H "Authorization: Bearer \$KEY" http://127.0.0.1:$port/v1/countries/JP
  curl -i -H "X-API-Key: \$KEY" http://127.0.0.1:$port/v1/languages/amh
  curl -i -H "Authorization: Bearer \$KEY" --data-binary @$file http://127.0.0.1:$port/v1/import
TEXT
}

go_on() {
    say
    say "The demo goes on at http://127.0.0.1:$port (only on this machine):"
    say
    if [ -n "$profile" ]; then
        say "  keys and what they may: docs/profiles/$profile.md"
    else
        say_examples
    fi
    cat <<TEXT

  status page    http://127.0.0.1:$port/apiquota-status
  metrics        http://127.0.0.1:$port/apiquota-metrics
  configuration  $run/httpd.conf
  logs           $run/logs/error.log, access.log, backend.log
  end it         make demo-stop
TEXT
}

start() {
    check_environment
    stop >/dev/null
    check_port
    make_run_folder
    # What began is ended again if the rest cannot; its logs stay to be read.
    trap stop_processes EXIT
    trap 'exit 130' INT TERM HUP
    start_backend
    write_conf
    if [ -n "$profile" ]; then copy_profile; else make_keys; fi
    start_httpd
    trap - EXIT INT TERM HUP
    say "httpd serves http://127.0.0.1:$port; its folder is $run"
    tour_failed=0
    [ "${TOUR:-on}" = off ] || tour || tour_failed=1
    go_on
    [ "$tour_failed" = 0 ] || fail "the tour found what is not as it should be (above)"
}

stop() {
    if ! find_run_folder; then
        # `make clean` may have taken the folder away below a running demo.
        run=$(realpath -m "$demo")/files
        if [ -z "$(everything)" ]; then
            say "no demo runs (none was started from $demo)"
            return 0
        fi
    fi
    stop_processes
    remove_run_folder
    say "the demo is stopped; nothing of it is left"
}

case ${1:-} in
start) start ;;
stop) stop ;;
*) fail "usage: demo.sh start|stop" ;;
esac
