#!/bin/sh
# Checks that nothing of this package is left on the node.
set -eu

dir=${TARGET_DIR:-/var/lib/@NAME@}

if [ -e "$dir" ]; then
    echo "$dir: expected it to be gone" >&2
    exit 1
fi
echo "$dir is gone"
