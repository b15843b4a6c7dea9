#!/usr/bin/env bash
# Checks an interrupt in 64 MiB and half a core, with the control groups of both versions
# as far as this machine has them.
# shellcheck disable=SC2034,SC2154 # the parts share their variables

memory=$((64 << 20))
# What the command writes: more than the limit, and its lines grow in the log. On a tmpfs
# files count as memory, those of the log and of the container's output too.
mib=96
[ "$(stat --file-system --format %T "$work")" != tmpfs ] || mib=8

# Writes the script of a stub that says much, and then notes what its cgroup has.
make_noisy() {
    echo "yes 'one line of a service that has much to say' | head -c $((mib << 20))" \
        >"$host/var/lib/skyhook/noisy"
    cat >>"$host/var/lib/skyhook/noisy" <<'END'
while IFS=: read -r _ controllers group; do
    case ",$controllers," in
        *,memory,*)
            cd "/sys/fs/cgroup/memory$group" || exit
            echo "memory $(cat memory.limit_in_bytes)"
            grep "^rss " memory.stat
            grep "^oom_kill " memory.oom_control ;;
        *,cpu,*)
            cd "/sys/fs/cgroup/cpu$group" || exit
            echo "cpu $(cat cpu.cfs_quota_us) $(cat cpu.cfs_period_us)" ;;
        ,,)
            cd "/sys/fs/cgroup$group" 2>/dev/null && [ -e memory.max ] || continue
            echo "memory $(cat memory.max)"
            echo "rss $(awk '$1 == "anon" { print $2 }' memory.stat)"
            grep "^oom_kill " memory.events
            echo "cpu $(cat cpu.max)" ;;
    esac
done </proc/self/cgroup >/var/log/usage
END
}

# Prints a value that the stub has noted.
usage() { sed -n "s/^$1 //p" "$host/var/log/usage"; }
used() { [ "$(usage "$1")" = "$2" ]; }
at_most() { [ "$(usage "$1")" -le "$2" ]; }

# test_limited VERSION: an interrupt whose command writes much.
test_limited() {
    local lines
    rm -rf "$host/var/log/usage" "$host$demo/interrupts" "$host$demo_logs/limited"
    limits="\"memory\": {\"limit\": $memory}, \"cpu\": {\"quota\": 50000, \"period\": 100000},"
    interrupt limited 1.0.0 '{"type": "service_restart", "services": ["noisy"]}'
    limits=
    check "$1: exit code 0" exits 0
    check "$1: the limit is 64 MiB" used memory $memory
    check "$1: the limit is half a core" used cpu "50000 100000"
    check "$1: nothing was killed for lack of memory" used oom_kill 0
    check "$1: agent and command use less than 8 MiB themselves" at_most rss $((8 << 20))
    lines=$(cat "$host$demo_logs"/limited/1.0.0/interrupts/service_restart_1-*.log |
        grep -c "one line of a") || true
    check "$1: the log has all $mib MiB" [ "$lines" = $(((mib << 20) / 43 + 1)) ]
}

test_limits() {
    make_noisy
    printf '#!/bin/sh\n' | make_package limited 1.0.0
    if [ "$(stat --file-system --format %T /sys/fs/cgroup)" = cgroup2fs ]; then
        test_limited "cgroup v2"
        skip "cgroup v1: this machine has v2"
        return
    fi
    if [ -e /sys/fs/cgroup/memory/tasks ] && [ -e /sys/fs/cgroup/cpu/tasks ]; then
        test_limited "cgroup v1"
    else
        skip "cgroup v1: memory and cpu are not mounted"
    fi

    # Version 2 in place of version 1, in the namespaces of this test.
    if ! mount -t cgroup2 cgroup2 /sys/fs/cgroup; then
        skip "cgroup v2: cannot be mounted"
        return
    fi
    mount --bind /sys/fs/cgroup "$host/sys/fs/cgroup"
    if grep -qw memory /sys/fs/cgroup/cgroup.controllers &&
        grep -qw cpu /sys/fs/cgroup/cgroup.controllers; then
        test_limited "cgroup v2"
    else
        skip "limits with cgroup v2: this machine has memory and cpu in v1"
        interrupt limited 1.0.0 '{"type": "service_restart", "services": ["version-2"]}'
        check "cgroup v2 without limits: exit code 0" exits 0
    fi
    umount "$host/sys/fs/cgroup" /sys/fs/cgroup
}
