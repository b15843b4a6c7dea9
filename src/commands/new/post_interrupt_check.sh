#!/bin/sh
# Runs after the interrupt, such as a reboot. Checks that what needed it is in effect
# now: after a reboot, for example, a parameter in /proc/cmdline.
set -eu

exec sh "$STEP_ROOT/apply_check.sh"
