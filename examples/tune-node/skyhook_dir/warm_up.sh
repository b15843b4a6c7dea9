#!/bin/sh
# Runs slowly, so that you can watch lines appear as they are written, and the dots
# of the last line one by one. Exits with 3, which is a success in config.json.
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
