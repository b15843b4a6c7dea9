#!/bin/sh
# A check runs after its step. Its exit code says whether the step had its effect.
[ -r /proc/meminfo ] && echo "survey   ✓"
