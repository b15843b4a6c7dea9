#!/usr/bin/env bash
# Makes the test host: a tree that is mounted at /root in the containers.
# shellcheck disable=SC2034,SC2154 # the parts share their variables

# Unpacks a minimal Debian. The first run keeps it in the cache.
debian() {
    local cache codename mirror archive
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    cache=${SKYHOOK_TEST_IMAGE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/skyhook-agent/test-image}
    archive=$cache/debian-$codename-$(uname -m).tar
    if [ -e "$archive" ]; then
        install -d "$host"
        tar --extract --file "$archive" --directory "$host"
    else
        type debootstrap >/dev/null 2>&1 || return
        # shellcheck disable=SC2016 # for apt-get
        mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $codename" | head -n 1)
        # If it fails, its mounts end with the namespace.
        unshare --mount debootstrap --variant=minbase "$codename" "$host" "$mirror" >/dev/null ||
            return
        rm -rf "$host"/var/cache/apt/* "$host"/var/lib/apt/lists/*
        install -d "$cache"
        # Only a whole archive gets its name.
        if tar --create --file "$archive.$cgroup" --directory "$host" .; then
            mv "$archive.$cgroup" "$archive"
        else
            rm -f "$archive.$cgroup"
        fi
    fi
}

# Copies the programs that steps and stubs use, each with the libraries that ldd names.
small_tree() {
    local program file
    rm -rf "$host"
    for program in /bin/sh $(type -P awk cat getconf grep head kill ls mkdir mount printf \
        readlink rm sleep tee touch uname wc yes); do
        for file in "$program" $(ldd "$(realpath "$program")" | grep -o '/[^ ]*'); do
            install -D "$(realpath "$file")" "$host$file"
        done
    done
    install -d "$host"/{dev,etc,mnt,proc,sys,tmp}
}

make_host() {
    local stub
    if debian; then
        echo "the host: $(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' "$host/etc/os-release")"
    else
        skip "a Debian host: debootstrap is missing or cannot reach a mirror; uses a small tree"
        small_tree
    fi
    for stub in systemctl service reboot; do
        install -D /dev/stdin "$host/usr/local/sbin/$stub" <<'END'
#!/bin/sh
echo "${0##*/} $*" | tee -a /var/log/calls
case "${0##*/} $*" in
    # A shutdown ends the process that asked for it.
    reboot*) kill -TERM $$ ;;
    "systemctl restart broken") exit 1 ;;
    "systemctl restart noisy") . /var/lib/skyhook/noisy ;;
esac
END
    done
    install -d "$host/var/log" "$host/var/lib/skyhook"
    cp -r examples/tune-node "$host$copy_dir"

    # A node's root is a mount of its own, and what is mounted below it later is seen in
    # the containers that asked for that.
    mount --bind "$host" "$host"
    mount --make-shared "$host"
    mount -t proc proc "$host/proc"
    mount --rbind /dev "$host/dev"
    mount --rbind /sys "$host/sys"
}
