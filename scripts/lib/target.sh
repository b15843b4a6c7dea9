#!/usr/bin/env bash
# Chooses what cargo builds for, and with which compiler and linker. To be sourced; the
# script that does so defines die.

# Prints this machine's architecture as container images name it.
own_arch() {
    case $(uname -m) in
        x86_64) echo amd64 ;;
        aarch64) echo arm64 ;;
        *) uname -m ;;
    esac
}

# use_target ARCH: sets `target` to the triple of amd64 or arm64. For a machine other
# than this one it also sets RUSTC and the linker in cargo's environment, and says what
# is missing.
use_target() {
    local cpu libc gcc linker
    case $1 in
        amd64) cpu=x86_64 libc=libc6-dev-amd64-cross ;;
        arm64) cpu=aarch64 libc=libc6-dev-arm64-cross ;;
        *) die "$1: expected amd64 or arm64 as the architecture" ;;
    esac
    target=$cpu-unknown-linux-gnu
    [ "$1" != "$(own_arch)" ] || return 0

    gcc=$cpu-linux-gnu-gcc
    linker=CARGO_TARGET_$(tr 'a-z-' 'A-Z_' <<<"$target")_LINKER
    export "$linker=${!linker:-$gcc}"
    type "${!linker}" >/dev/null 2>&1 ||
        die "${!linker}: expected a linker for $target, for example:
    apt-get install gcc-${cpu/_/-}-linux-gnu $libc"

    RUSTC=$(find_rustc) ||
        die "expected a Rust compiler with the standard library for $target. With rustup:
    rustup target add $target
With Debian's own, which goes beside rustup's:
    dpkg --add-architecture $1 && apt-get update
    apt-get install --no-install-recommends rustc-web libstd-rust-web-dev:$1"
    export RUSTC
}

# Prints the first compiler that has the standard library for the target: that of the
# PATH, or Debian's, which rustup's hides.
find_rustc() {
    local rustc libraries
    for rustc in ${RUSTC:-rustc /usr/bin/rustc}; do
        libraries=$("$rustc" --print target-libdir --target "$target" 2>/dev/null) || continue
        ! compgen -G "$libraries/libstd-*.rlib" >/dev/null || { echo "$rustc"; return; }
    done
    return 1
}
