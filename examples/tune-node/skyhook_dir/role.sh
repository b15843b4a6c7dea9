#!/bin/sh
# Gets an argument from the environment: config.json has env:NODE_ROLE, and the
# agent replaces it with the value of the variable.
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
