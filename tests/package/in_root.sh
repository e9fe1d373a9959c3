# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Run in a bare system by bare_deb.sh: the packages from their installation to their purge. /root holds them in an earlier
# version, /root/new as they are.
set -eu

fail() {
    echo "FAILED: $*"
    tail -n 20 /var/log/apache2/error.log 2>/dev/null
    exit 1
}

expect() { # WHAT COMMAND...
    what=$1
    shift
    "$@" || fail "$what"
    echo "ok      $what"
}

# What the guide says, block by block. Its shell keeps its variables for what follows here.
follow() {
    awk '/^```sh$/ {on = 1; next} /^```$/ {on = 0} on' "/root/mod_apiquota/docs/$1" >"/root/$1.sh"
    set -x
    . "/root/$1.sh"
    { set +x; } 2>/dev/null
}

used() {
    apiquotactl --json usage show --tenant acme | tr -d ' \n' | sed 's/.*"limit":"day"[^}]*"used":\([0-9]*\).*/\1/'
}

ask() {
    curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $KEY" http://localhost/v1/hello.json
}

install_quietly() {
    apt-get install -qq -o Dpkg::Use-Pty=0 -y "$@" >/root/apt.log 2>&1 || { cat /root/apt.log; fail "install $*"; }
}

seen() { # FILE TEXT...: all of it, carriage returns aside
    file=$1
    shift
    for text; do
        tr -d '\r' <"$file" | grep -qF -- "$text" || { cat "$file"; return 1; }
    done
}

# Prints links of the guides to files that did not come with the package. README speaks of the sources as well.
dead_links() {
    cd /usr/share/doc/libapache2-mod-apiquota
    find docs -name '*.md' | while read -r guide; do
        sed -n 's/](/\n](/gp' "$guide" | sed -n 's/^](\([^)#]*\).*/\1/p' | grep -v '^http' | sort -u | while read -r link; do
            [ -e "${guide%/*}/$link" ] || echo "$guide: $link"
        done
    done
}

trap '[ $? = 0 ] || { echo "FAILED, after:"; tail -n 25 /root/followed; }' EXIT
cd /root
echo "== the newcomer's path"
began=$(date +%s)
follow quick-start.md >/root/followed 2>&1 || { cat /root/followed; fail "the quick start"; }
took=$(($(date +%s) - began))
times >/root/times # of this shell and its children: not in a subshell, which has its own
worked=$(awk -F'[ms ]+' '{for (i = 1; i < NF; i += 2) sum += 60 * $i + $(i + 1)} END {print int(sum)}' /root/times)
expect "the first answer has its headers" seen followed 'HTTP/1.1 200 OK' 'X-RateLimit-Remaining: 59' 'X-RateLimit-Remaining-Daily: 999'
expect "the 61st request is refused" seen followed '59 200' '1 429' 'HTTP/1.1 429 Too Many Requests' 'Content-Type: application/problem+json' 'X-RateLimit-Remaining: 0'
expect "the check finds nothing" seen followed 'Nothing found.'
expect "the guides' links lead to files" [ -z "$(dead_links | tee /dev/stderr)" ]
# A machine that is busy with other things takes longer: what is judged is the work that was done here.
expect "all of it took less than five minutes ($worked s of work in $took s, without the download)" [ "$worked" -lt 300 ]

echo "== batches, by the worker of its package"
cat >/etc/apache2/conf-available/batches.conf <<'END'
<Location "/v1/import">
    APIQuotaBatch On
    APIQuotaBatchTarget exec:/usr/bin/sort
</Location>
<Location "/v1/batches">
    SetHandler apiquota-batches
</Location>
END
apiquotactl tenant set beta --plan basic >/dev/null
BETA=$(apiquotactl key create --tenant beta 2>/dev/null)
a2enconf -q batches
apachectl graceful
sleep 2
batch=$(printf 'b\na\n' | curl -si -H "Authorization: Bearer $BETA" --data-binary @- http://localhost/v1/import |
    tr -d '\r' | sed -n 's/^Location: .*\(\/v1\/batches\)/\1/p')
id=${batch##*/}
expect "an upload is taken" [ -n "$id" ]
expect "the worker does it" timeout 30 apiquotactl batch show --follow "$id"
curl -s -H "Authorization: Bearer $BETA" "http://localhost$batch/result" >/root/result
expect "the result is there" [ "$(cat /root/result)" = "$(printf 'a\nb')" ]

echo "== upgrade"
before=$(used)
cp /etc/apiquota/keys.json keys.before
sed -i 's/60\/minute/600\/minute/' /etc/apache2/mods-available/apiquota.conf
# A bare system has no init that would restart httpd: what it is asked to do is noted, and done here.
printf '#!/bin/sh\necho "$*" >>/root/asked\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
install_quietly ./new/*.deb
expect "the new version is installed" sh -c '[ "$(dpkg-query -W -f "\${Version}" libapache2-mod-apiquota)" != 0.0.1 ]'
expect "httpd was to be restarted" sh -c 'grep -q "^apache2 .*restart" /root/asked || { cat /root/asked /root/apt.log; exit 1; }'
apachectl stop
sleep 2
apachectl start
sleep 2
expect "counters are kept ($before of the day)" [ "$(used)" = "$before" ]
expect "keys are kept" cmp keys.before /etc/apiquota/keys.json
expect "batches are kept" sh -c "apiquotactl batch list | grep -q $id"
expect "what was configured is kept" grep -q 600/minute /etc/apache2/mods-available/apiquota.conf
expect "requests are counted on" [ "$(ask)" = 200 ]
expect "in the same counter" [ "$(used)" = $((before + 1)) ]

echo "== remove, and install again"
apt-get remove -qq -o Dpkg::Use-Pty=0 -y libapache2-mod-apiquota apiquota-worker >/root/apt.log 2>&1 || { cat /root/apt.log; fail remove; }
expect "the module is off" [ ! -e /etc/apache2/mods-enabled/apiquota.load ]
expect "the programs are gone" [ ! -e /usr/sbin/apiquotactl -a ! -e /usr/libexec/apiquota-worker ]
expect "state and keys are kept" [ -s /var/lib/apiquota/counters -a -s /etc/apiquota/keys.json -a -s /var/lib/apiquota/batches/queue.db ]
a2disconf -q api batches
expect "httpd does without" apachectl configtest
install_quietly ./new/*.deb
a2enmod -q apiquota
a2enconf -q api batches
expect "its configuration is good" apachectl configtest
apachectl restart
sleep 2
expect "requests are counted on" [ "$(ask)" = 200 ]
expect "in the same counter" [ "$(used)" = $((before + 2)) ]

echo "== purge"
a2disconf -q api batches
apt-get purge -qq -o Dpkg::Use-Pty=0 -y libapache2-mod-apiquota apiquota-worker >/root/apt.log 2>&1 || { cat /root/apt.log; fail purge; }
expect "nothing is left" sh -c '! find / -xdev -path /proc -prune -o -path /root -prune -o -path /var/cache/apt -prune -o -name "*apiquota*" -print | grep .'
expect "httpd does without" apachectl configtest
apachectl stop
