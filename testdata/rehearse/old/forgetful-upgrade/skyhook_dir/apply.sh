#!/bin/sh
echo 'version = 1' > /etc/rehearse-upgraded.conf
