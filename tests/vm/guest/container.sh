#!/bin/bash
# Starts the agent as the operator has it started: a privileged container with the image's
# root, the node's process ids, and the node's root at /root.
#
#   container.sh unit|cgroup [VARIABLE=VALUE]... -- ARGUMENT...
#
# `unit`: its processes are those of a unit of systemd, as with a kubelet that has systemd
# make the cgroups; a shutdown stops that unit. `cgroup`: systemd knows nothing of them,
# and only the last of a shutdown ends them. Both limit it as an interrupt's pod.
set -euo pipefail

kind=$1
shift
variables=()
while [ "$1" != -- ]; do
    variables+=("$1")
    shift
done
shift

in_unit=()
case $kind in
    unit)
        in_unit=(systemd-run --scope --quiet --collect --slice=kubepods
            --property MemoryMax=64M --property CPUQuota=50%)
        ;;
    cgroup)
        cgroup=/sys/fs/cgroup/podruntime/container-$$
        mkdir -p /sys/fs/cgroup/podruntime
        echo "+memory +cpu" >/sys/fs/cgroup/cgroup.subtree_control
        echo "+memory +cpu" >/sys/fs/cgroup/podruntime/cgroup.subtree_control
        mkdir "$cgroup"
        echo 64M >"$cgroup/memory.max"
        echo "50000 100000" >"$cgroup/cpu.max"
        echo $$ >"$cgroup/cgroup.procs"
        ;;
esac

# shellcheck disable=SC2016 # for the shell inside
exec "${in_unit[@]}" unshare --mount --propagation slave sh -euc '
    image=/test/image
    mount --rbind / "$image/root"
    mount -t proc proc "$image/proc"
    mount --rbind /dev "$image/dev"
    mount --rbind /sys "$image/sys"
    exec env -i "$@"
' sh PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    "${variables[@]}" chroot /test/image /skyhook-agent "$@"
