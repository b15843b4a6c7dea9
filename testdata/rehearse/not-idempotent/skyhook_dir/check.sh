#!/bin/sh
grep -q 'one more' /etc/rehearse-appended
