#!/bin/sh
# Writes a file whole, and restarts the service only if the file was another one.
set -eu
file=/etc/rehearse-good.conf
printf 'limit = 65536\n' > "$file.new"
if cmp -s "$file.new" "$file"; then
    rm "$file.new"
    echo "$file is as it should be"
else
    mv "$file.new" "$file"
    systemctl restart good.service
fi
