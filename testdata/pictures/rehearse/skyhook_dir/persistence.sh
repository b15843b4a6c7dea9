#!/bin/sh
# Takes a lock, and leaves it there if it is cut off.
set -eu
mkdir /etc/gpu-node.lock 2>/dev/null || { echo 'the node is being set up already'; exit 1; }
sleep 1
systemctl restart nvidia-persistenced
rmdir /etc/gpu-node.lock
