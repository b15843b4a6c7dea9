#!/bin/sh
echo "warm-up  ✓ from $STEP_ROOT"
