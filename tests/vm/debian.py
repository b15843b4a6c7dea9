"""Makes a node to boot: Debian with its systemd, as a disk.

Promises: the disk is made once and kept in the cache. Needs root, for debootstrap. A
disk for another architecture is that of this one with other binaries.
"""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import disks
import downloads
from downloads import Cache, Missing, need, run

PACKAGES = "systemd-sysv,udev,dbus,procps,strace,jq"
SIZE = 1024 * 1024 * 1024

# Runs the commands of the tests; guest/serial.sh says how. Nothing stops it: a shutdown
# ends it with the last processes. The line is no controlling terminal: those who have one
# get a SIGHUP then.
SERIAL = """\
[Unit]
Description=Commands from the serial line
DefaultDependencies=no
After=multi-user.target dbus.service systemd-logind.service

[Service]
Type=exec
Restart=always
ExecStart=/test/serial.sh
Slice=-.slice
StandardInput=file:/dev/console
StandardOutput=file:/dev/console
StandardError=inherit
"""
FILES = {
    "etc/hostname": "node\n",
    "etc/machine-id": "5c0f0e4e9b3f4a3e8f7d6b1a2c3d4e5f\n",
    "etc/systemd/system/serial.service": SERIAL,
    # A journal on the disk is only slow.
    "etc/systemd/journald.conf.d/test.conf": "[Journal]\nStorage=volatile\n",
}
# What a node for tests has no use for.
MASKED = [
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "modprobe@.service",
    "proc-sys-fs-binfmt_misc.automount",
    "serial-getty@ttyAMA0.service",
    "serial-getty@ttyS0.service",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-pstore.service",
    "systemd-udev-trigger.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service",
]


def disk(cache: Cache, arch: str) -> Path:
    """Returns the disk of a node, to be copied."""
    what = hashlib.sha256(json.dumps([PACKAGES, FILES, MASKED, SIZE]).encode()).hexdigest()
    made = cache.path / f"debian-{arch}-{what[:12]}.ext4"
    if made.exists():
        return made
    if os.getuid() != 0:
        raise Missing("debootstrap: needs root; run scripts/test-vm as root")
    need("debootstrap", "unshare", "apt-get", "dpkg")
    own = run("dpkg", "--print-architecture").strip()
    release, mirror = downloads.debian()
    with cache.locked(), tempfile.TemporaryDirectory(dir=cache.path) as work:
        # Another process may have been faster.
        if not made.exists():
            root = Path(work) / "root"
            # If it fails, its mounts end with the namespace.
            run(
                *("unshare", "--mount", "debootstrap", "--variant=minbase"),
                *(f"--include={PACKAGES}", release, str(root), mirror),
            )
            if arch != own:
                replace_binaries(cache, root, release, arch)
            prepare(root)
            disks.make_ext4_of(Path(work) / "disk", root, SIZE).rename(made)
    return made


def replace_binaries(cache: Cache, root: Path, release: str, arch: str) -> None:
    """Replaces the binaries in a Debian root by those of another architecture.

    What the packages' scripts have set up stays: it is the same for all architectures. To
    run these scripts by emulation would take half an hour.
    """
    query = ("dpkg-query", f"--admindir={root}/var/lib/dpkg", "--show", "--showformat")
    packages = run(*query, "${Package} ${Architecture}\n").splitlines()
    names = [name for name, of in map(str.split, packages) if of != "all"]
    for directory in root.glob("usr/lib/*-linux-gnu*"):
        shutil.rmtree(directory)
    (root / "etc/ld.so.cache").unlink()
    archives = root / "var/cache/apt/archives"
    wanted = [f"{name}:{arch}/{release}" for name in names]
    cache.apt("apt-get", "download", *wanted, directory=archives)
    for archive in sorted(archives.glob(f"*_{arch}.deb")):
        unpacked = archive.with_suffix(".tar")
        run("dpkg", "--fsys-tarfile", str(archive), output=unpacked)
        # Debian has /lib and others as links; a package has them as directories.
        run("tar", "-x", "--keep-directory-symlink", "-C", str(root), "-f", str(unpacked))
        unpacked.unlink()


def prepare(root: Path) -> None:
    """Makes a Debian root one of a node for tests."""
    for directory in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man"):
        shutil.rmtree(root / directory, ignore_errors=True)
    (root / "test").mkdir()
    for path, content in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    units = root / "etc/systemd/system"
    for unit in MASKED:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    wanted = units / "multi-user.target.wants/serial.service"
    wanted.symlink_to("/etc/systemd/system/serial.service")


def copy(source: Path, target: Path) -> Path:
    """Copies a disk, which takes as much room as was written. Returns the copy."""
    run("cp", "--sparse=always", str(source), str(target))
    return target
