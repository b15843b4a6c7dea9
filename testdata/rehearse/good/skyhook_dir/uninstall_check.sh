#!/bin/sh
[ ! -e /etc/rehearse-good.conf ] && [ ! -e /etc/rehearse-good.d ]
