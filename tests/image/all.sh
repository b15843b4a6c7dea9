#!/usr/bin/env bash
# Runs all checks of the image. scripts/test-image starts it, in mount and process
# namespaces that end with it: bash all.sh WORK CGROUP [ROOTFS]
# shellcheck disable=SC2034,SC2154 # the parts share their variables
set -euo pipefail
work=$1 cgroup=$2 rootfs=$3
image=$work/image host=$work/host out=$work/out
touch "$out"

# The values that the image and the operator set.
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
copy_dir=/var/lib/skyhook/tune-node
resource_id=demo-1_tune-node_1.0.0

for part in checks container image host packages stages node limits upstream; do
    # shellcheck source=/dev/null
    . "tests/image/$part.sh"
done

whole=false
# shellcheck disable=SC2317 # the trap calls it
finish() {
    $whole || { echo "FAILED: a command that no check has expected to fail"; failed=$((failed + 1)); }
    echo "$passed passed, $failed failed${skipped:+, $skipped skipped}"
    [ "$failed" = 0 ] || exit 1
}
trap finish EXIT

# crun wants no version 2 beside version 1. The mount goes from this namespace alone.
case $RUNTIME in
    *crun) ! mountpoint --quiet /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified ;;
esac

get_image
make_host
echo "the runtime: $("$RUNTIME" --version | head -n 1)"
touch "$work/before"
test_stages
check "nothing else was written on the host" writes_nothing_else
test_node
test_limits
test_upstream
whole=true
