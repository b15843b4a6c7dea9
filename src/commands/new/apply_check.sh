#!/bin/sh
# Checks that apply.sh has had its effect, and changes nothing. The operator goes on only
# if this exits with 0.
set -eu

dir=${TARGET_DIR:-/var/lib/@NAME@}

if [ ! -s "$dir/hello" ]; then
    echo "$dir/hello: expected a file with something in it" >&2
    exit 1
fi
echo "$dir/hello is there"
