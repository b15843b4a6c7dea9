#!/bin/sh
[ "$1" = --role ] && [ -n "$2" ] && echo "role     ✓ $2"
