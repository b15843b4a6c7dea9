#!/usr/bin/env python3
"""Writes one image of several architectures as an OCI image layout.

    oci_layout.py LAYOUT TAG ARCH=ROOT... [--build-arg NAME=VALUE]... [--label NAME=VALUE]...

LAYOUT is a new directory. ROOT is the directory with the files of one architecture.
Entrypoint, user, environment and labels are those of the Containerfile, with the
arguments that are given. The same files give the same bytes: entries are sorted, belong
to root, and have the time SOURCE_DATE_EPOCH.
"""

import argparse
import datetime
import gzip
import hashlib
import io
import json
import os
import pathlib
import shlex
import string
import sys
import tarfile

EPOCH = int(os.environ["SOURCE_DATE_EPOCH"])
CREATED = datetime.datetime.fromtimestamp(EPOCH, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
TYPE = "application/vnd.oci.image."


def instructions(containerfile):
    """The instructions of a Containerfile, each as its name and the rest of its line."""
    lines = containerfile.read_text("utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#"))
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            yield line.split(maxsplit=1)


def image_config(containerfile, arguments):
    """The config of the image, of the few instructions that an image from scratch needs."""
    config = {"Labels": {}, "Env": []}

    def pairs(rest):
        words = (string.Template(word).substitute(arguments) for word in shlex.split(rest))
        return (word.split("=", 1) for word in words)

    for name, rest in instructions(containerfile):
        match name, rest:
            case "FROM", "scratch":
                pass
            case "COPY", "rootfs/ /":
                pass
            case "ARG", _:
                if rest not in arguments:
                    sys.exit(f"oci_layout: ARG {rest}: expected --build-arg {rest}=VALUE")
            case "LABEL", _:
                config["Labels"].update(pairs(rest))
            case "ENV", _:
                config["Env"] += [f"{key}={value}" for key, value in pairs(rest)]
            case "USER", _:
                config["User"] = rest
            case "ENTRYPOINT", _:
                config["Entrypoint"] = json.loads(rest)
            case _:
                sys.exit(f"oci_layout: {containerfile}: {name} {rest}: expected no such instruction")
    return config


def layer(root):
    """A tar archive of a directory."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(root.rglob("*")):
            entry = tar.gettarinfo(path, str(path.relative_to(root)))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = EPOCH
            with open(path, "rb") if entry.isreg() else io.BytesIO() as file:
                tar.addfile(entry, file)
    return archive.getvalue()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Layout:
    def __init__(self, directory):
        self.blobs = directory / "blobs" / "sha256"
        self.blobs.mkdir(parents=True)
        self.directory = directory
        self.write("oci-layout", {"imageLayoutVersion": "1.0.0"})

    def write(self, name, value):
        (self.directory / name).write_bytes(json.dumps(value).encode())

    def blob(self, kind, data, **more):
        """Stores a value as JSON, or bytes as they are. Returns its descriptor."""
        if not isinstance(data, bytes):
            data = json.dumps(data).encode()
        (self.blobs / digest(data).removeprefix("sha256:")).write_bytes(data)
        return {"mediaType": TYPE + kind, "digest": digest(data), "size": len(data), **more}

    def manifest(self, arch, root, config):
        files = layer(root)
        packed = gzip.compress(files, compresslevel=9, mtime=0)
        settings = {
            "created": CREATED,
            "architecture": arch,
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [digest(files)]},
            "history": [{"created": CREATED, "created_by": "COPY rootfs/ /"}],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": TYPE + "manifest.v1+json",
            "config": self.blob("config.v1+json", settings),
            "layers": [self.blob("layer.v1.tar+gzip", packed)],
            "annotations": config["Labels"],
        }
        platform = {"architecture": arch, "os": "linux"}
        return self.blob("manifest.v1+json", manifest, platform=platform)

    def index(self, manifests, labels, tag):
        index = {
            "schemaVersion": 2,
            "mediaType": TYPE + "index.v1+json",
            "manifests": manifests,
            "annotations": labels,
        }
        name = {"org.opencontainers.image.ref.name": tag}
        entry = self.blob("index.v1+json", index, annotations=name)
        self.write("index.json", {"schemaVersion": 2, "manifests": [entry]})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("layout", type=pathlib.Path)
    parser.add_argument("tag")
    parser.add_argument("roots", nargs="+", metavar="ARCH=ROOT")
    parser.add_argument("--build-arg", action="append", default=[])
    parser.add_argument("--label", action="append", default=[])
    options = parser.parse_args()
    source = pathlib.Path(__file__).parents[2]
    arguments = dict(argument.split("=", 1) for argument in options.build_arg)
    config = image_config(source / "Containerfile", arguments)
    config["Labels"].update(label.split("=", 1) for label in options.label)
    layout = Layout(options.layout)
    roots = (pair.split("=", 1) for pair in options.roots)
    manifests = [layout.manifest(arch, pathlib.Path(root), config) for arch, root in roots]
    layout.index(manifests, config["Labels"], options.tag)


if __name__ == "__main__":
    main()
