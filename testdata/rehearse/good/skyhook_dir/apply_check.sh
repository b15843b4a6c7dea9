#!/bin/sh
grep -q '^limit = 65536$' /etc/rehearse-good.conf
