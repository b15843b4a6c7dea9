#!/bin/sh
# Takes its argument from the environment: config.json says env:NODE_ROLE, and
# the agent puts the variable's value in its place.
set -eu
[ "$1" = --role ]

case $2 in
    training)  echo "role     training: big pages, no frequency scaling" ;;
    inference) echo "role     inference: low latency, small batches" ;;
    *)
        echo "role '$2': expected training or inference" >&2
        exit 2
        ;;
esac
