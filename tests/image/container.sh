#!/usr/bin/env bash
# Runs the agent under the runtime, as the kubelet and containerd have it run: privileged,
# with the process ids and the network of the node, and the node's root at /root.
# shellcheck disable=SC2034,SC2154 # the parts share their variables

# How the next agents run. Tests set these, and set them back.
writable=true               # false: the container's root is read-only
tmpfs=                      # a directory with a tmpfs on it
namespaces=(mount ipc uts)  # pid: with process ids of its own
limits=                     # members of "resources"

bundle=$work/bundle
termination_log=$work/termination-log
install -d "$bundle"
echo "nameserver 192.0.2.53" >"$work/resolv.conf"

# Prints a JSON list of strings.
list() {
    local item text=
    for item; do
        item=${item//\\/\\\\}
        text+=", \"${item//\"/\\\"}\""
    done
    echo "[${text#, }]"
}

# Prints a JSON list of all capabilities that there are here: a privileged container gets
# them all, but a runtime cannot give what it does not have.
capabilities() {
    local names name bits given=() number=0
    names=(CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP
        LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER
        SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE
        SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP
        MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF
        CHECKPOINT_RESTORE)
    bits=$((16#$(awk '$1 == "CapPrm:" { print $2 }' /proc/self/status)))
    for name in "${names[@]}"; do
        [ $((bits >> number & 1)) = 0 ] || given+=("CAP_$name")
        number=$((number + 1))
    done
    list "${given[@]}"
}
capabilities=$(capabilities)

# Prints a JSON list of the namespaces of the container.
namespaces() {
    local kind text=
    for kind in "${namespaces[@]}"; do
        text+=", {\"type\": \"$kind\"}"
    done
    echo "[${text#, }]"
}

# configure [VARIABLE=VALUE]... -- ARGUMENT...: writes the runtime's config.json.
configure() {
    local name variables=()
    local -A environment=([PATH]=$path [LANG]=C.UTF-8 [COPY_RESOLV]=false
        [NODE_ROLE]=training [SKYHOOK_RESOURCE_ID]=$resource_id)
    while [ "$1" != -- ]; do
        environment[${1%%=*}]=${1#*=}
        shift
    done
    shift
    for name in "${!environment[@]}"; do
        variables+=("$name=${environment[$name]}")
    done
    : >"$termination_log"
    cat >"$bundle/config.json" <<END
{
  "ociVersion": "1.0.2",
  "hostname": "node",
  "root": {"path": "$image", "readonly": $([ $writable = true ] && echo false || echo true)},
  "process": {
    "user": {"uid": 0, "gid": 0},
    "cwd": "/",
    "args": $(list /skyhook-agent "$@"),
    "env": $(list "${variables[@]}"),
    "noNewPrivileges": false,
    "capabilities": {
      "bounding": $capabilities,
      "effective": $capabilities,
      "permitted": $capabilities
    }
  },
  "mounts": [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
      "options": ["nosuid", "mode=755", "size=65536k"]},
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
      "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
      "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs",
      "options": ["nosuid", "noexec", "nodev"]},
$([ -z "$tmpfs" ] || echo "
    {\"destination\": \"$tmpfs\", \"type\": \"tmpfs\", \"source\": \"tmpfs\"},")
    {"destination": "/etc/resolv.conf", "type": "bind", "source": "$work/resolv.conf",
      "options": ["rbind", "rprivate", "rw"]},
    {"destination": "/dev/termination-log", "type": "bind", "source": "$termination_log",
      "options": ["rbind", "rprivate", "rw"]},
    {"destination": "/root", "type": "bind", "source": "$host",
      "options": ["rbind", "rslave", "rw"]}
  ],
  "linux": {
    "rootfsPropagation": "rslave",
    "cgroupsPath": "/$cgroup/agent",
    "namespaces": $(namespaces),
    "resources": {
      $limits
      "devices": [{"allow": true, "access": "rwm"}]
    }
  }
}
END
}

runtime() {
    "$RUNTIME" --root "$work/runtime" "$@"
}

# agent [VARIABLE=VALUE]... -- ARGUMENT...: runs the agent. Its output goes to $out, its
# exit code to $code.
agent() {
    agent_begins "$@"
    agent_ends
}

# The same in two halves, with the agent running in between.
agent_begins() {
    configure "$@"
    runtime run --bundle "$bundle" agent >"$out" 2>&1 </dev/null &
    running=$!
}

agent_ends() {
    code=0
    wait "$running" || code=$?
}

# Sends a signal, as the runtime does if a pod is deleted. If there is no container any
# more, later checks fail.
signal() {
    runtime kill agent "$1" || true
}
