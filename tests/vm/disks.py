"""Makes disks with a file system on them.

Promises: needs no root and no loop device. A disk takes as much room as was written.
"""

from dataclasses import dataclass
from pathlib import Path

from downloads import need, run

# The least that mkfs.xfs takes.
SIZE = 300 * 1024 * 1024


@dataclass(frozen=True)
class FileSystem:
    """A file system: how it is made, what the guest calls it, and the modules it needs."""

    name: str
    mkfs: tuple[str, ...]
    kind: str
    modules: tuple[str, ...] = ()


FILE_SYSTEMS = {
    file_system.name: file_system
    for file_system in (
        FileSystem("ext4", ("mke2fs", "-q", "-F", "-t", "ext4"), "ext4"),
        FileSystem("xfs", ("mkfs.xfs", "-q", "-f", "-m", "reflink=1"), "xfs", ("xfs",)),
        FileSystem("xfs-no-reflink", ("mkfs.xfs", "-q", "-f", "-m", "reflink=0"), "xfs", ("xfs",)),
        FileSystem("btrfs", ("mkfs.btrfs", "-q", "-f"), "btrfs", ("btrfs",)),
    )
}


def make(target: Path, file_system: FileSystem, size: int = SIZE) -> Path:
    """Makes an empty file system in a new file, and returns that."""
    need(file_system.mkfs[0])
    with target.open("wb") as file:
        file.truncate(size)
    run(*file_system.mkfs, str(target))
    return target


def make_ext4_of(target: Path, directory: Path, size: int) -> Path:
    """Makes an ext4 file system with all that is in a directory, and returns its file."""
    need("mke2fs")
    with target.open("wb") as file:
        file.truncate(size)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-d", str(directory), str(target))
    return target
