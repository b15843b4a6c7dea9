#!/bin/sh
# Checks that upgrade.sh has had its effect.
set -eu

exec sh "$STEP_ROOT/apply_check.sh"
