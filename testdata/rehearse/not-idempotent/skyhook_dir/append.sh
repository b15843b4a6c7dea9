#!/bin/sh
# Adds a line each time that it runs.
echo 'one more' >> /etc/rehearse-appended
