#!/bin/sh
# A step of the README's picture: it only says what a real one would do.
echo "vm.nr_hugepages  1024 → $1"
echo "16 GiB in huge pages"
