#!/bin/sh
[ -e /etc/rehearse-good.d ]
