# Runs in the guest of the part `power`: does what the console is told, line by line.

# Keeps in memory what is not synced: the kernel writes nothing back by itself.
keep_in_memory() {
    echo 0 >/proc/sys/vm/dirty_writeback_centisecs
    echo 360000 >/proc/sys/vm/dirty_expire_centisecs
    echo 80 >/proc/sys/vm/dirty_background_ratio
    echo 90 >/proc/sys/vm/dirty_ratio
    # XFS has a timer of its own.
    [ ! -e /proc/sys/fs/xfs ] || echo 720000 >/proc/sys/fs/xfs/xfssyncd_centisecs
}

# Makes a host of the empty disk, and brings it to disk.
make_host() {
    mkdir -p /root/bin /root/tmp /root/etc /root/opt /root/usr/lib /root/var/lib /root/var/log
    cp /bin/busybox /root/bin/busybox
    for applet in sh mkdir yes head cat mv ln rm; do
        ln -s busybox "/root/bin/$applet"
    done
    # In place of systemd.
    printf '#!/bin/sh\necho "$@" >>/opt/systemctl\n' >/root/bin/systemctl
    chmod 755 /root/bin/systemctl
    cp -r /host/. /root
    sync
}

# Copies what is on the host to the second disk. It must not write back the first one.
snapshot() {
    tar -C /root -cf - etc opt usr var | dd of=/dev/vdb bs=64k conv=fsync 2>/dev/null
}

# job NUMBER DATA_DIR RESOURCE_ID ARGUMENT...: runs the agent.
job() {
    local number=$1
    export SKYHOOK_DATA_DIR=$2 SKYHOOK_RESOURCE_ID=$3
    shift 3
    /skyhook-agent "$@" </dev/null
    # In one write, so that it is a line of its own.
    printf '\nEND %s %s\n' "$number" $?
}

# Else the console shows the commands, too.
stty -echo
echo ready
while read -r command; do
    eval "$command"
done
