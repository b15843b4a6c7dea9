#!/bin/sh
[ -e /etc/rehearse-upgraded.conf ]
