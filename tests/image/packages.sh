#!/usr/bin/env bash
# Packages that tests make on the host, and their stages, with the directories that the
# operator sets.
# shellcheck disable=SC2034,SC2154 # the parts share their variables

demo=/var/lib/skyhook/demo
demo_logs=/var/log/skyhook/demo

# Prints a step of config.json. Its argument is the mode: with equal arguments, what one
# mode has done would be done for all.
step() {
    echo "{\"name\": \"$1\", \"path\": \"$1\", \"arguments\": [\"$2\"],
        \"returncodes\": [0], \"on_host\": true, \"idempotence\": false, \"upgrade_step\": false}"
}

# make_package NAME VERSION [STEP]...: makes a package of these steps, or of run.sh. Each
# mode has them, and each check mode has run_check.sh. The steps' text is read from
# standard input. The package has a configmap, extra.txt.
make_package() {
    local name=$1 version=$2 dir=$host$demo/$1-$2 mode one steps modes=
    shift 2
    [ $# != 0 ] || set -- run.sh
    rm -rf "$dir"
    install -d "$dir"/{skyhook_dir,configmaps}
    echo "This is a test" >"$dir/configmaps/extra.txt"
    for mode in apply config post-interrupt uninstall; do
        steps=
        for one; do
            steps+=", $(step "$one" $mode)"
        done
        modes+=", \"$mode\": [${steps#, }], \"$mode-check\": [$(step run_check.sh $mode)]"
    done
    cat >"$dir/config.json" <<END
{
  "schema_version": "v1",
  "package_name": "$name",
  "package_version": "$version",
  "expected_config_files": ["extra.txt"],
  "modes": {${modes#, }}
}
END
    cat >"$dir/skyhook_dir/$1"
    for one; do
        cmp -s "$dir/skyhook_dir/$1" "$dir/skyhook_dir/$one" ||
            cp "$dir/skyhook_dir/$1" "$dir/skyhook_dir/$one"
    done
    printf '#!/bin/sh\necho "all is well"\n' >"$dir/skyhook_dir/run_check.sh"
}

# stage MODE NAME VERSION [VARIABLE=VALUE]...: runs a stage of a package.
stage() {
    stage_begins "$@"
    agent_ends
}

stage_begins() {
    local mode=$1 name=$2 version=$3
    shift 3
    agent_begins "SKYHOOK_RESOURCE_ID=demo-1_${name}_$version" "SKYHOOK_ROOT_DIR=$demo" \
        "SKYHOOK_LOG_DIR=$demo_logs" "$@" -- "$mode" /root "$demo/$name-$version"
}

# interrupt NAME VERSION DATA: runs an interrupt of a package.
interrupt() {
    agent "SKYHOOK_RESOURCE_ID=demo-1_$1_$2" "SKYHOOK_ROOT_DIR=$demo" \
        "SKYHOOK_LOG_DIR=$demo_logs" -- interrupt /root "$demo/$1-$2" "$(encode "$3")"
}
