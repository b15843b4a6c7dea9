#!/bin/sh
# Brings the settings of the custom resource onto the node. The operator runs it after
# apply and after upgrade, and again when the settings change.
set -eu

dir=${TARGET_DIR:-/var/lib/@NAME@}

mkdir -p "$dir"
cp "$SKYHOOK_DIR/configmaps/settings.conf" "$dir/settings.conf"
echo "wrote $dir/settings.conf"
