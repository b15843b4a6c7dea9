#!/bin/sh
set -eu
mkdir -p /etc/rehearse-leaves
echo a > /etc/rehearse-leaves/removed
echo b > /etc/rehearse-leaves/forgotten
