# SPDX-License-Identifier: Apache-2.0
# bash completion for apiquotactl(8). What there is, it asks of `apiquotactl --help`, so that it never lags behind.

# "noun verb options" of each command.
_apiquotactl_commands() {
    apiquotactl --help 2>/dev/null | sed -n 's/^  \([a-z]\)/\1/p'
}

# _apiquotactl_names tenant|key|batch|webhook OPTION...: the names of tenants or the ids of the others, on the server that the
# options name; none where they may not be read.
_apiquotactl_names() {
    local of=$1 verb=list member=id
    shift
    [ "$of" != tenant ] || { verb=show member=tenant; }
    apiquotactl "$@" --json "$of" "$verb" 2>/dev/null | sed -n "s/^ *\"$member\": \"\([^\"\\\\]*\)\",*\$/\1/p"
}

_apiquotactl() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} noun='' verb='' words='' server=() i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        --state-dir | --key-file | --config | --conf | -f)
            ((i + 1 >= COMP_CWORD)) || server+=("${COMP_WORDS[i]}" "${COMP_WORDS[i + 1]}")
            i=$((i + 1))
            ;;
        --json | --help | -h | --version | --follow | --*=*) ;;
        --*) i=$((i + 1)) ;;
        -*) ;;
        *)
            if [ -z "$noun" ]; then noun=${COMP_WORDS[i]}; elif [ -z "$verb" ]; then verb=${COMP_WORDS[i]}; fi
            ;;
        esac
    done
    COMPREPLY=()
    case $before in
    --tenant) words=$(_apiquotactl_names tenant "${server[@]}") ;;
    --key) words=$(_apiquotactl_names key "${server[@]}") ;;
    --status)
        case "$noun $verb" in
        'batch purge') words='succeeded failed canceled' ;;
        webhook*) words='pending delivered failed dropped' ;;
        *) words='queued running canceling succeeded failed canceled' ;;
        esac
        ;;
    --state-dir | --key-file | --config | --conf | -f) mapfile -t COMPREPLY < <(compgen -f -- "$word") && return ;;
    *)
        if [ "${word:0:1}" = - ]; then
            words="--json --state-dir --key-file --config --help --version $(_apiquotactl_commands |
                grep -E "^$noun( $verb( |\$)| [^a-z]|\$)" | grep -oE -e '--[a-z-]+')"
        elif [ -z "$noun" ]; then
            words=$(_apiquotactl_commands | cut -d' ' -f1 | sort -u)
        elif [ -z "$verb" ]; then
            words=$(_apiquotactl_commands | sed -n "s/^$noun \([a-z]*\).*/\1/p")
            [ -n "$words" ] || { mapfile -t COMPREPLY < <(compgen -f -- "$word") && return; }
        else
            case "$noun $verb" in
            'key import') mapfile -t COMPREPLY < <(compgen -f -- "$word") && return ;;
            'key revoke' | 'key rotate') words=$(_apiquotactl_names key "${server[@]}") ;;
            tenant* | 'webhook test' | 'webhook rotate') words=$(_apiquotactl_names tenant "${server[@]}") ;;
            'batch list' | 'webhook list') ;;
            batch* | webhook*) words=$(_apiquotactl_names "$noun" "${server[@]}") ;;
            esac
        fi
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _apiquotactl apiquotactl
