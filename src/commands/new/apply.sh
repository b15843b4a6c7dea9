#!/bin/sh
# Does the work of this package on a node: replace it with your own. It must be safe to
# run again, since a run that was cut off starts again with its first unfinished step.
set -eu

dir=${TARGET_DIR:-/var/lib/@NAME@}

mkdir -p "$dir"
echo "hello from @NAME@" > "$dir/hello"
echo "wrote $dir/hello"
