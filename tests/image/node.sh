#!/usr/bin/env bash
# Checks what the agent and its steps have of the node and of their container.
# shellcheck disable=SC2034,SC2154 # the parts share their variables

# Succeeds if a mount point is in this namespace, the node's.
is_mounted() { grep -qF " $1 " /proc/self/mountinfo; }
same() { cmp -s "$1" "$2"; }
is_gone() { not kill -0 "$(cat "$host/var/log/pid")"; }

# Prints a step that says what it has, mounts something, and waits for a mount.
probe() {
    cat <<'END'
#!/bin/sh
grep ^CapEff: /proc/self/status
readlink /proc/self/ns/pid /proc/self/ns/net
echo "the agent is process $PPID"
mkdir -p /mnt/step
mount -t tmpfs tmpfs /mnt/step && echo "mounted"
touch /var/log/ready
i=0
while [ $i != 200 ] && [ ! -e /mnt/late/file ]; do sleep 0.05; i=$((i + 1)); done
cat /mnt/late/file
END
}

test_container() {
    install -d "$host/mnt/late"
    probe | make_package probe 1.0.0
    stage_begins apply probe 1.0.0
    check "a step runs" await test -e "$host/var/log/ready"
    check "what a step mounts does not reach the node" not is_mounted "$host/mnt/step"
    mount -t tmpfs tmpfs "$host/mnt/late"
    echo "mounted later" >"$host/mnt/late/file"
    agent_ends
    check "a step may mount" stamps out mounted
    check "what the node mounts later reaches a step" stamps out "mounted later"
    check "a step has all capabilities that there are" \
        stamps out "CapEff:.$(awk '$1 == "CapPrm:" { print $2 }' /proc/self/status)"
    check "a step has the process ids of the node" \
        stamps out "$(readlink /proc/self/ns/pid | sed 's/[][]/\\&/g')"
    check "a step has the network of the node" \
        stamps out "$(readlink /proc/self/ns/net | sed 's/[][]/\\&/g')"
    check "the agent is not process 1" stamps out "the agent is process ([2-9]|[0-9]{2,})$"
    check "a success leaves no reason of a failure" same "$termination_log" /dev/null
    umount "$host/mnt/late"

    namespaces+=(pid)
    probe | sed 5q | make_package pids 1.0.0
    stage apply pids 1.0.0
    check "as process 1 of its own: exit code 0" exits 0
    check "as process 1 of its own: the step has run" stamps out "the agent is process "
    unset 'namespaces[-1]'
}

test_files_of_the_container() {
    stage apply-check probe 1.0.0 COPY_RESOLV=true
    check "the container's resolv.conf is copied to the node" \
        same "$work/resolv.conf" "$host/etc/resolv.conf"

    printf '#!/bin/sh\necho "no such knob" >&2\nexit 3\n' | make_package failing 1.0.0
    stage apply failing 1.0.0
    check "a failure: exit code 1" exits 1
    check "a failure: the termination log says which step" \
        grep -qxF "apply failing 1.0.0: run.sh failed with code 3" "$termination_log"
    check "a failure: the termination log has its last line" \
        grep -qE "^\[err\]$time no such knob$" "$termination_log"
}

test_read_only_root() {
    local mode
    printf '#!/bin/sh\necho "Hello, world!"\n' | make_package read-only 1.0.0
    writable=false tmpfs=/tmp
    for mode in apply apply-check config config-check post-interrupt post-interrupt-check; do
        stage $mode read-only 1.0.0
        check "a read-only root with a /tmp: $mode: exit code 0" exits 0
    done
    interrupt read-only 1.0.0 '{"type": "service_restart", "services": ["read-only"]}'
    check "a read-only root with a /tmp: interrupt: exit code 0" exits 0
    check "a read-only root with a /tmp: the service was restarted" \
        called "systemctl restart read-only" 1

    # Nothing accepts the control file of a step.
    tmpfs=
    stage uninstall read-only 1.0.0
    check "a read-only root without a /tmp: exit code 1" exits 1
    check "a read-only root without a /tmp: the reason is said" \
        says "cannot write a control file in any of /tmp, /var/tmp, ."
    check "a read-only root without a /tmp: the step has not run" not says "Hello, world!"
    tmpfs=/var/tmp
    stage uninstall read-only 1.0.0
    check "a read-only root with a /var/tmp: exit code 0" exits 0
    writable=true tmpfs=
}

# What a runtime does at the end of the grace period.
test_kill() {
    cat <<'END' | make_package killed 1.0.0
#!/bin/sh
[ ! -e /var/log/pid ] || { echo "once more"; exit 0; }
echo $$ >/var/log/pid
sleep 60
END
    stage_begins apply killed 1.0.0
    check "the step runs" await test -s "$host/var/log/pid"
    signal KILL
    agent_ends
    check "SIGKILL: exit code 137" exits 137
    check "SIGKILL: the step ends with the container" await is_gone
    check "SIGKILL: the step has no flag" is_missing "$host$demo/flags/killed"
    stage apply killed 1.0.0
    check "after SIGKILL: exit code 0" exits 0
    check "after SIGKILL: the step runs again" stamps out "once more"
}

test_node() {
    test_container
    test_files_of_the_container
    test_read_only_root
    test_kill
}
