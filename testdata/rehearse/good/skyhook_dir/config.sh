#!/bin/sh
# Takes the settings of the custom resource, or none.
set -eu
settings=$SKYHOOK_DIR/configmaps/settings.conf
[ -e "$settings" ] || settings=/dev/null
cat "$settings" > /etc/rehearse-good.d.new
mv /etc/rehearse-good.d.new /etc/rehearse-good.d
