#!/bin/sh
[ ! -e /etc/rehearse-leaves/removed ]
