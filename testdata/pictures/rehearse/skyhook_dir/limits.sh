#!/bin/sh
# Adds a line each time that it runs.
set -eu
echo '* hard memlock unlimited' >>/etc/gpu-node.limits
