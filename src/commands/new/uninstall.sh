#!/bin/sh
# Removes what this package has put on the node. It must succeed, too, if some of it is
# gone already.
set -eu

dir=${TARGET_DIR:-/var/lib/@NAME@}

rm -f "$dir/hello" "$dir/settings.conf"
if [ -d "$dir" ]; then
    rmdir "$dir"
fi
echo "removed $dir"
