#!/bin/sh
# Looks at the node and changes nothing. Prints warnings on stderr, then facts on stdout.
set -eu

echo "⚠ this is a sample: nothing on this node is changed" >&2
# shellcheck disable=SC3045 # every shell of Linux knows -n
limit=$(ulimit -n)
if [ "$limit" != unlimited ] && [ "$limit" -lt 65536 ]; then
    echo "⚠ only $limit open files allowed, 65536 are better" >&2
fi
if [ "$(wc -l < /proc/swaps)" -gt 1 ]; then
    echo "⚠ swap is on: kubelet expects it to be off" >&2
fi

echo "node     $(uname -n), $(uname -s) on $(uname -m)"
echo "cores    $(getconf _NPROCESSORS_ONLN)"
awk '/^MemTotal:/ { printf "memory   %.1f GiB\n", $2 / 1048576 }' /proc/meminfo
echo "package  $SKYHOOK_DIR"
