#!/bin/sh
grep -q memlock /etc/gpu-node.limits
