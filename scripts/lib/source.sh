#!/usr/bin/env bash
# Facts about the source that a script builds from. To be sourced in the source's root.

# Prints a field of Cargo.toml, or nothing if the field is missing.
field() {
    sed -n "s/^$1 = \"\(.*\)\"\$/\1/p" Cargo.toml
}

# commit DIGITS: prints the commit of the source, marked if files differ from it; nothing
# for source that is no work tree of its own, as an unpacked archive.
commit() {
    [ "$(git rev-parse --show-toplevel 2>/dev/null)" = "$(pwd -P)" ] || return 0
    git describe --always --dirty --exclude '*' --abbrev="$1" 2>/dev/null || true
}

# set_image_options: sets `image_options` to the arguments of the Containerfile, and to the
# labels that not every source has.
set_image_options() {
    local revision source
    revision=${SKYHOOK_AGENT_COMMIT-$(commit 40)} source=$(field repository)
    # shellcheck disable=SC2034 # for the script that sources this one
    image_options=(
        "--build-arg=VERSION=$(field version)"
        "--build-arg=DESCRIPTION=$(field description)"
        "--build-arg=LICENSES=$(field license)"
        ${revision:+"--label=org.opencontainers.image.revision=$revision"}
        ${source:+"--label=org.opencontainers.image.source=$source"}
    )
}
