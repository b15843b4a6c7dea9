#!/usr/bin/env bash
# What a check can ask, about the last agent and about the host.
# shellcheck disable=SC2034,SC2154 # the parts share their variables
passed=0 failed=0 skipped=

skip() {
    echo "skipped: $*"
    skipped=$((skipped + 1))
}

# check NAME COMMAND...: prints one line, and the end of the last agent's output if COMMAND
# fails.
check() {
    local what=$1
    shift
    if "$@" >/dev/null 2>&1; then
        echo "ok: $what"
        passed=$((passed + 1))
    else
        echo "FAILED: $what"
        # The last line may have no end.
        tail -n 40 "$out" | awk '{ print "    | " $0 }'
        failed=$((failed + 1))
    fi
}

# Waits up to ten seconds until a command succeeds.
await() {
    local _
    for _ in {1..200}; do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.05
    done
    return 1
}

time='[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6}'
epoch='[0-9]+\.[0-9]+'

not() { ! "$@"; }
exits() { [ "$code" = "$1" ]; }
says() { grep -qF -- "$1" "$out"; }
stamps() { grep -qE -- "^\[$1\]$time $2" "$out"; }
# Succeeds if the host has this file and its whole content matches this pattern.
has() { [ -f "$host$1" ] && [[ $(cat "$host$1") =~ ^$2$ ]]; }
counts() { [ "$(find "$host$1" -maxdepth 1 -name "$2" | wc -l)" = "$3" ]; }
is_missing() { [ ! -e "$1" ]; }
is_empty() { [ -d "$1" ] && [ -z "$(ls -A "$1")" ]; }
# Succeeds if one of the host's files that match a pattern has a line that matches.
any_line() {
    local files
    # shellcheck disable=SC2206 # a pattern
    files=("$host"$1)
    grep -qE -- "$2" "${files[@]}"
}
# Succeeds if the stubs on the host were called with this line so many times.
called() { [ "$(grep -cxF -- "$1" "$host/var/log/calls")" = "$2" ]; }
writes_nothing_else() {
    [ -z "$(find "$host" -xdev -newer "$work/before" -type f \
        ! -path "$host$state/*" ! -path "$host/var/log/*")" ]
}

encode() { printf %s "$1" | base64 --wrap 0; }
