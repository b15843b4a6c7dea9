#!/bin/sh
# Slow enough to watch: lines come as they are written, and the dots of one line
# one by one. Ends with 3, which config.json counts as success ("nothing to do").
set -eu

i=1
while [ "$i" -le "$1" ]; do
    echo "GPU $((i - 1))   $((38 + i * 3)) °C"
    sleep "$PAUSE"
    i=$((i + 1))
done
printf 'settling '
for _ in 1 2 3; do
    printf '·'
    sleep "$PAUSE"
done
echo ' ✓'
exit 3
