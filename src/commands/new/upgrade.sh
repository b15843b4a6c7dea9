#!/bin/sh
# Brings a node from an older version of this package to this one. The operator runs it
# in place of apply.sh. It is given the two versions, since config.json has
# "upgrade_step": true.
set -eu

echo "upgrade from ${1:-an unknown version} to ${2:-this one}"

# This is the place for what only an upgrade needs, such as moving files of the older
# version. The rest is the work of apply.sh.
exec sh "$STEP_ROOT/apply.sh"
