#!/bin/sh
# Checks that the node has the settings of the custom resource.
set -eu

dir=${TARGET_DIR:-/var/lib/@NAME@}

cmp "$SKYHOOK_DIR/configmaps/settings.conf" "$dir/settings.conf"
echo "$dir/settings.conf is as it should be"
