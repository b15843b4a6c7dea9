#!/bin/sh
[ -e /etc/rehearse-restarted ]
