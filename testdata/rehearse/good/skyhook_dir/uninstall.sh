#!/bin/sh
rm -f /etc/rehearse-good.conf /etc/rehearse-good.d
