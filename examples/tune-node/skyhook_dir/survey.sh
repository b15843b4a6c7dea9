#!/bin/sh
# Looks at the node and changes nothing: facts on stdout, worries on stderr.
set -eu

echo "node     $(uname -n), Linux $(uname -r)"
echo "cores    $(getconf _NPROCESSORS_ONLN)"
awk '/^MemTotal:/ { printf "memory   %.1f GiB\n", $2 / 1048576 }' /proc/meminfo
echo "package  $SKYHOOK_DIR"

limit=$(ulimit -n)
if [ "$limit" != unlimited ] && [ "$limit" -lt 65536 ]; then
    echo "⚠ only $limit open files allowed, 65536 are better" >&2
fi
if [ "$(wc -l < /proc/swaps)" -gt 1 ]; then
    echo "⚠ swap is on: kubelets like it off" >&2
fi
echo "⚠ this is a sample: nothing on this node is changed" >&2
