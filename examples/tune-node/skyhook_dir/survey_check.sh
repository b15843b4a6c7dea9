#!/bin/sh
# A check runs after its step and says whether the step did what it should.
[ -r /proc/meminfo ] && echo "survey   ✓"
