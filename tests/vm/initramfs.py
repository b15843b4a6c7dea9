"""Makes an initramfs: busybox, kernel modules, and the files of a part.

Promises: needs no root. Init mounts /proc, /sys and /dev, loads the modules in their
order, runs the script of the part at /main, and switches the machine off.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from downloads import Cache, Kernel, module_content

# The modules that a disk needs.
DISK_MODULES = ["virtio_pci", "virtio_blk"]

INIT = b"""\
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do
    insmod "/modules/$module" || echo "init: insmod $module failed"
done </modules/order
. /main
poweroff -f
"""


def build(
    target: Path,
    cache: Cache,
    kernel: Kernel,
    main: Path,
    modules: Sequence[str] = DISK_MODULES,
    files: Mapping[str, Path | bytes] | None = None,
) -> Path:
    """Writes an initramfs to `target`, and returns that.

    `files` says what is at which path: a file or directory of this machine, with its
    modes, or a content that can be executed.
    """
    files = files or {}
    entries: dict[str, tuple[int, bytes, int]] = {}

    def add(path: str, mode: int, content: bytes = b"", device: int = 0) -> None:
        above = path.rpartition("/")[0]
        if above and above not in entries:
            add(above, stat.S_IFDIR | 0o755)
        entries[path] = (mode, content, device)

    for directory in ("bin", "dev", "proc", "sys", "tmp", "root", "etc"):
        add(directory, stat.S_IFDIR | 0o755)
    # The kernel gives init a console before /dev is mounted.
    add("dev/console", stat.S_IFCHR | 0o600, device=os.makedev(5, 1))
    add("init", stat.S_IFREG | 0o755, INIT)
    add("main", stat.S_IFREG | 0o755, main.read_bytes())
    add("bin/busybox", stat.S_IFREG | 0o755, cache.busybox(kernel.arch).read_bytes())
    ordered = kernel.module_files(modules)
    for module in ordered:
        add(f"modules/{_name(module)}", stat.S_IFREG | 0o644, module_content(module))
    order = "".join(f"{_name(module)}\n" for module in ordered)
    add("modules/order", stat.S_IFREG | 0o644, order.encode())
    for path, what in files.items():
        path = path.strip("/")
        if isinstance(what, bytes):
            add(path, stat.S_IFREG | 0o755, what)
            continue
        for file in [what, *sorted(what.rglob("*"))]:
            below = file.relative_to(what)
            name = path if file == what else f"{path}/{below}"
            mode = file.lstat().st_mode
            if stat.S_ISLNK(mode):
                add(name, mode, os.readlink(file).encode())
            else:
                add(name, mode, file.read_bytes() if stat.S_ISREG(mode) else b"")
    with target.open("wb") as out:
        for number, (name, entry) in enumerate(entries.items()):
            out.write(_record(name, number + 1, *entry))
        out.write(_record("TRAILER!!!", 0, 0))
    return target


def _name(module: Path) -> str:
    return module.name.removesuffix(".xz")


def _record(name: str, number: int, mode: int, content: bytes = b"", device: int = 0) -> bytes:
    """Returns a record of a cpio archive (newc); all belongs to root."""
    encoded = name.encode() + b"\0"
    numbers = [number, mode, 0, 0, 1, 0, len(content), 0, 0]
    numbers += [os.major(device), os.minor(device), len(encoded), 0]
    header = b"070701" + "".join(f"{value:08x}" for value in numbers).encode() + encoded
    return _padded(header) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
