#!/usr/bin/env bash
# Gets the root of the image, and checks the image's config if there is an image.
# shellcheck disable=SC2034,SC2154 # the parts share their variables

configured() {
    [ "$(buildah inspect --type image --format "{{.OCIv1.Config.$1}}" "$2")" = "$3" ]
}

get_image() {
    local tag container
    if [ -n "$rootfs" ]; then
        cp -a "$rootfs" "$image"
    elif ! type buildah >/dev/null 2>&1; then
        skip "the config of the image: buildah is not installed"
        scripts/build-image --rootfs "$image"
    else
        # A separate store for this test; vfs needs no mounts.
        export CONTAINERS_STORAGE_CONF=$work/storage.conf STORAGE_DRIVER=vfs
        cat > "$CONTAINERS_STORAGE_CONF" <<END
[storage]
driver = "vfs"
graphroot = "$work/storage"
runroot = "$work/run"
END
        BUILDER=buildah scripts/build-image
        tag=$(buildah images --format '{{.Name}}:{{.Tag}}')
        check "the entrypoint is the binary" configured Entrypoint "$tag" "[/skyhook-agent]"
        check "it runs as root" configured User "$tag" 0:0
        check "PATH and LANG are set" configured Env "$tag" "[PATH=$path LANG=C.UTF-8]"
        container=$(buildah from "$tag")
        cp -a "$(buildah mount "$container")" "$image"
    fi
}
