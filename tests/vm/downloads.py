"""What the machines are made of, by apt, in a cache.

Promises: works for an ordinary user, and leaves the machine's own apt and dpkg alone: apt
gets a state of its own in the cache, for both architectures, with the machine's sources.
What is in the cache is whole, and two processes can use it at once.
"""

import fcntl
import lzma
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# A download of the largest package at 100 KB/s, and unpacking it.
SECONDS = 900

PROGRAMS = {
    "apt-get": "apt",
    "dpkg": "dpkg",
    "cargo": "cargo",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-system-aarch64": "qemu-system-arm",
    "mke2fs": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "mkfs.btrfs": "btrfs-progs",
    "debootstrap": "debootstrap",
}


class Missing(Exception):
    """Something that a part needs is not here. Says how to get it."""


def need(*programs: str) -> None:
    """Makes sure that programs are installed."""
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        packages = " ".join(sorted({PROGRAMS.get(program, program) for program in missing}))
        raise Missing(f"{', '.join(missing)}: not installed; apt-get install {packages}")


@dataclass(frozen=True)
class Kernel:
    """A kernel package, unpacked."""

    arch: str
    version: str
    image: Path
    modules: Path

    @property
    def release(self) -> str:
        """Returns its first two numbers."""
        return ".".join(self.version.split(".")[:2])

    def module_files(self, names: Sequence[str]) -> list[Path]:
        """Returns the files of modules and of all that they need, in the order of insmod.

        A name that is no module is built in.
        """
        files = {
            path.name.split(".ko")[0].replace("-", "_"): path
            for path in self.modules.rglob("*.ko*")
        }
        ordered: dict[str, Path] = {}

        def add(name: str) -> None:
            name = name.replace("-", "_")
            if name in ordered or name not in files:
                return
            for other in needed_by(files[name]):
                add(other)
            ordered[name] = files[name]

        for name in names:
            add(name)
        return list(ordered.values())


def module_content(path: Path) -> bytes:
    """Returns a module, unpacked."""
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content


def needed_by(module: Path) -> list[str]:
    """Returns the modules that a module wants before it. It says so itself."""
    content = module_content(module)
    names = []
    for value in re.findall(rb"\0depends=([\w,-]+)\0", content):
        names += value.decode().split(",")
    for value in re.findall(rb"\0softdep=pre: ([\w -]+)\0", content):
        names += value.decode().split()
    return names


@dataclass(frozen=True)
class Cache:
    """The directory of all downloads."""

    path: Path

    def kernel(self, arch: str, release: str = "") -> Kernel:
        """Returns the newest cloud kernel of this machine's Debian, or of another release."""
        found = self.package(self.newest_cloud_kernel(arch, release), arch, release)
        images = sorted((found / "boot").glob("vmlinuz-*"))
        if not images:
            raise Missing(f"{found}: expected a kernel in it; remove this directory")
        version = images[-1].name.removeprefix("vmlinuz-")
        # Of late, modules are below /usr.
        (modules,) = found.glob(f"**/lib/modules/{version}")
        return Kernel(arch, version, images[-1], modules)

    def newest_cloud_kernel(self, arch: str, release: str) -> str:
        """Returns the package on which the package of the newest cloud kernel depends.

        A kernel that is in the cache stays the newest until the cache is removed.
        """
        kept = self.path / "-".join(filter(None, ["newest", arch, release]))
        if not kept.exists():
            with self.locked():
                package = f"linux-image-cloud-{arch}:{arch}"
                shown = self.apt("apt-cache", "show", package, release=release)
            found = re.search(r"^Depends: (linux-image-[\w.+-]+)", shown, re.MULTILINE)
            if not found:
                raise Missing(f"linux-image-cloud-{arch}: expected that apt knows it")
            write(kept, found.group(1))
        return kept.read_text()

    def busybox(self, arch: str) -> Path:
        """Returns a static busybox."""
        return self.package("busybox-static", arch) / "bin/busybox"

    def package(self, name: str, arch: str, release: str = "") -> Path:
        """Returns the directory into which a Debian package is unpacked."""
        unpacked = self.path / f"{name}_{arch}"
        if unpacked.exists():
            return unpacked
        need("apt-get", "dpkg")
        with self.locked(), tempfile.TemporaryDirectory(dir=self.path) as work:
            # Another process may have been faster.
            if not unpacked.exists():
                self.apt(
                    *("apt-get", "download", f"{name}:{arch}"),
                    directory=Path(work),
                    release=release,
                )
                (archive,) = Path(work).glob("*.deb")
                target = Path(work) / "unpacked"
                run("dpkg", "-x", str(archive), str(target))
                target.rename(unpacked)
        return unpacked

    def apt(self, *command: str, directory: Path | None = None, release: str = "") -> str:
        """Runs a command of apt with a state of its own. The cache must be locked.

        Its sources are those of this machine, or another release on the same mirror.
        """
        home = self.path / "-".join(filter(None, ["apt", release]))
        options = [
            f"Dir::State={home}/state",
            f"Dir::State::status={home}/status",
            f"Dir::Cache={home}/cache",
            "APT::Architecture=amd64",
            "APT::Architectures=amd64,arm64",
            # Apt's own user may not enter the cache.
            f"APT::Sandbox::User={'root' if os.getuid() == 0 else ''}",
        ]
        if release:
            options += [f"Dir::Etc::sourcelist={home}/sources.list", "Dir::Etc::sourceparts=-"]
        arguments = [word for option in options for word in ("-o", option)]
        if not (home / "status").exists():
            (home / "state/lists/partial").mkdir(parents=True, exist_ok=True)
            (home / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
            if release:
                signed = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
                _, mirror = debian()
                write(home / "sources.list", f"deb {signed} {mirror} {release} main\n")
            run("apt-get", *arguments, "update")
            write(home / "status", "")
        return run(command[0], *arguments, *command[1:], directory=directory)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the cache's lock."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def cache() -> Cache:
    """Returns the cache that the environment names."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    named = os.environ.get("SKYHOOK_TEST_VM_CACHE")
    return Cache(Path(named or f"{home}/skyhook-agent/test-vm").absolute())


def debian() -> tuple[str, str]:
    """Returns this machine's release of Debian, and where its packages are."""
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            release = line.partition("=")[2].strip('"')
            found = run(
                *("apt-get", "indextargets", "--format", "$(REPO_URI)", f"Codename: {release}")
            )
            if found:
                return release, found.splitlines()[0]
    raise Missing("/etc/os-release: expected a Debian with sources for apt")


def run(*command: str, directory: Path | None = None, output: Path | None = None) -> str:
    """Runs a command and returns what it prints, or writes that to a file.

    Its failure says why.
    """
    try:
        with open(output or os.devnull, "wb") as file:
            done = subprocess.run(
                command,
                cwd=directory,
                stdout=file if output else subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                timeout=SECONDS,
            )
    except subprocess.TimeoutExpired:
        raise Missing(f"{' '.join(command)}: not done after {SECONDS} s") from None
    if done.returncode != 0:
        raise Missing(f"{' '.join(command)}: failed: {done.stderr.strip()}")
    return done.stdout or ""


def write(path: Path, text: str) -> None:
    """Writes a whole file."""
    new = path.with_suffix(f".{os.getpid()}.new")
    new.write_text(text)
    new.rename(path)
