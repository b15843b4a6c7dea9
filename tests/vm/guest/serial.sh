#!/bin/bash
# Runs commands that come over the serial line, each in the background.
#
# In:  NUMBER COMMAND
# Out: ready BOOT_ID, until the first command
#      NUMBER| LINE, for each line that the command prints, and at last NUMBER=STATUS
#
# A shutdown of the node does not stop this unit. The last of it is a SIGTERM for every
# process: then this ends as soon as all commands have.
stty raw -echo
trap 'wait; exit' TERM

# Its output goes on while the shutdown ends it.
run() {
    trap '' TERM
    {
        env --default-signal=TERM bash -c "$2" 2>&1 </dev/null
        printf '\n=%s\n' $?
    } | sed -u -e "s/^\(=[0-9]*\)\$/$1\1/; t; s/^/$1| /"
}

boot=$(cat /proc/sys/kernel/random/boot_id)
seconds=1
while :; do
    if read -r -t $seconds number command; then
        run "$number" "$command" &
        seconds=1000000
    elif [ $seconds = 1 ]; then
        printf '\nready %s\n' "$boot"
    fi
done
