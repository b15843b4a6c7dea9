#!/bin/sh
set -eu
echo 'version = 2' > /etc/rehearse-upgraded.conf
echo 'new in version 2' > /etc/rehearse-upgraded.extra
