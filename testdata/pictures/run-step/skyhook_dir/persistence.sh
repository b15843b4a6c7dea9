#!/bin/sh
# A step of the README's picture that fails.
echo "enabling persistence mode on 8 GPUs"
sleep 0.2 # The two streams come in this order.
echo "GPU 0000:4e:00.0: not found" >&2
exit 9
