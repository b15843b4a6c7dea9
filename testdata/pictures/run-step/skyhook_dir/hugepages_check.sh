#!/bin/sh
# A check of the README's picture.
echo "16 GiB in huge pages"
