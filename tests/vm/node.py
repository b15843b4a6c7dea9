"""A node: a machine with systemd, and the agent in it as the operator has it started.

Promises: a command's output is its own, whatever else runs. What is on a node's disk stays
if the power is cut. No wait is without a bound.
"""

import base64
import itertools
import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import debian
import disks
import initramfs
import machine
from downloads import Kernel
from machine import Machine
from suite import Failure, Suite

GUEST = Path(__file__).parent / "guest"
STATE = "/etc/skyhook"
LOGS = "/var/log/skyhook"

# The second disk has the image's root, the packages, and the scripts.
SIZE = 256 * 1024 * 1024
# From the start of the emulator until commands are taken.
BOOT = 600
# A command that waits for nothing.
COMMAND = 180


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    output: str

    def has(self, *texts: str) -> "Done":
        """Fails if the output lacks one of these texts."""
        for text in texts:
            if text not in self.output:
                raise Failure(f"expected {text!r} in:\n{self.output}")
        return self

    def lacks(self, *texts: str) -> "Done":
        """Fails if the output has one of these texts."""
        for text in texts:
            if text in self.output:
                raise Failure(f"expected no {text!r} in:\n{self.output}")
        return self

    def ended(self, code: int) -> "Done":
        """Fails if the command ended in another way."""
        if self.code != code:
            raise Failure(f"expected code {code}, got {self.code}, after:\n{self.output}")
        return self


@dataclass(frozen=True)
class Command:
    """A command that runs on a node."""

    machine: Machine
    number: int
    # Of the console, when it was sent.
    position: int

    def expect(self, pattern: str, seconds: float = COMMAND) -> re.Match[str]:
        """Waits until it prints a line in which the pattern is."""
        return self.machine.find(rf"^{self.number}\| .*?{pattern}", seconds, self.position)

    def end(self, seconds: float = COMMAND) -> Done:
        """Waits until it has ended."""
        found = self.machine.find(rf"^{self.number}=(\d+)$", seconds, self.position)
        shown = self.machine.text()[self.position : found.start()]
        lines = re.findall(rf"^{self.number}\| (.*)$", shown, re.MULTILINE)
        return Done(int(found[1]), "\n".join(lines))


@dataclass(frozen=True)
class Package:
    """A package on a node, and the resource that has it there."""

    name: str
    version: str
    resource: str

    @property
    def resource_id(self) -> str:
        """Returns what SKYHOOK_RESOURCE_ID is."""
        return f"{self.resource}_{self.name}_{self.version}"

    @property
    def copy_dir(self) -> str:
        """Returns where it is on the node."""
        return f"/var/lib/skyhook/{self.resource}/{self.name}-{self.version}"

    @property
    def interrupts(self) -> str:
        """Returns where the flags of its interrupts are."""
        return f"{STATE}/interrupts/flags/{self.resource_id}"


@dataclass
class Node:
    """A node that runs. `start` makes one."""

    machine: Machine
    # The boot id of the kernel.
    boot: str = ""
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def has_booted(self, seconds: float = BOOT) -> None:
        """Waits until it has booted, again or for the first time."""
        # The last boot may still have said so.
        new = rf"^ready (?!{self.boot or 'none'}$)([0-9a-f-]{{36}})$"
        self.boot = self.machine.expect(new, seconds)[1]

    def start(self, command: str) -> Command:
        """Starts a command of bash."""
        number = next(self.numbers)
        position = len(self.machine.text())
        self.machine.send(f"{number} {command}")
        return Command(self.machine, number, position)

    def run(self, command: str, seconds: float = COMMAND) -> Done:
        """Runs a command of bash."""
        return self.start(command).end(seconds)

    def get(self, command: str, seconds: float = COMMAND) -> str:
        """Returns what a command of bash prints. It must succeed."""
        return self.run(command, seconds).ended(0).output.strip()

    def files(self, directory: str) -> list[str]:
        """Returns the paths of all files below a directory, if there is one."""
        found = self.run(f"cd {directory} 2>/dev/null && find . -type f -printf '%P\\n' | sort")
        return found.output.split()

    def stage(self, package: Package, source: str) -> None:
        """Puts a package of /test/packages on the node, as its own init container does."""
        self.get(
            f"rm -rf {package.copy_dir} && mkdir -p {package.copy_dir} && "
            f"cp -r /test/packages/{source}/. {package.copy_dir}"
        )

    def agent(
        self,
        package: Package,
        mode: str,
        *data: str,
        kind: str = "unit",
        variables: Mapping[str, str] | None = None,
    ) -> Command:
        """Starts the agent for a package; guest/container.sh says in what `kind` of pod."""
        words = [f"'{name}={value}'" for name, value in (variables or {}).items()]
        return self.start(
            f"/test/container.sh {kind} SKYHOOK_RESOURCE_ID={package.resource_id} "
            f"{' '.join(words)} -- {mode} /root {package.copy_dir} {' '.join(data)}"
        )

    def interrupt(
        self,
        package: Package,
        interrupt: Mapping[str, object],
        kind: str = "unit",
        timeout: float | None = None,
    ) -> Command:
        """Starts the agent for an interrupt. It waits for a reboot up to `timeout`."""
        data = base64.b64encode(json.dumps(interrupt).encode()).decode()
        variables = {} if timeout is None else {"SKYHOOK_AGENT_REBOOT_TIMEOUT": str(timeout)}
        return self.agent(package, "interrupt", data, kind=kind, variables=variables)


@dataclass(frozen=True)
class Disks:
    """The disks of a node, and what it boots from."""

    kernel: Kernel
    initramfs: Path
    disks: Sequence[Path]

    def start(self, memory: int = 512, processors: int = 1) -> Node:
        """Switches a node on, and waits until it has booted."""
        node = Node(
            machine.start(
                self.kernel.image,
                self.initramfs,
                self.disks,
                append="loglevel=1",
                arch=self.kernel.arch,
                memory=memory,
                reboots=True,
                extra=["-smp", str(processors)],
            )
        )
        try:
            node.has_booted()
        except BaseException:
            node.machine.cut()
            raise
        return node


def boot(suite: Suite, part: str, disks: Disks) -> Node | None:
    """Tests that a new node boots and that the agent starts on it. Returns it if so."""
    nodes: list[Node] = []
    own = copy(disks, Path(tempfile.mkdtemp(dir=suite.work)) / "disks")

    def check() -> str:
        nodes.append(own.start(memory=1024, processors=2))
        version = nodes[0].get("/test/image/skyhook-agent --version")
        return f"{version}, Linux {nodes[0].get('uname -r -m')}"

    if suite.test(f"{part}: the agent starts", check):
        return nodes[0]
    for node in nodes:
        node.machine.cut()
    return None


def prepare(
    suite: Suite,
    packages: Mapping[str, Mapping[str, str]],
    kernel: Kernel,
    directories: Mapping[str, Path] | None = None,
) -> Disks:
    """Makes the disks of a node. They are not to be started, but copied.

    `packages` are the files of each package, by their paths. `directories` are others that
    it has below /test.
    """
    work = Path(tempfile.mkdtemp(prefix="node-", dir=suite.work))
    brought = work / "test"
    shutil.copytree(suite.image_root(kernel.arch), brought / "image", symlinks=True)
    for name, directory in (directories or {}).items():
        shutil.copytree(directory, brought / name, symlinks=True)
    # The kubelet mounts the node's or the cluster's there.
    (brought / "image/etc/resolv.conf").write_text("nameserver 192.0.2.53\n")
    for script in ("serial.sh", "container.sh"):
        shutil.copy(GUEST / script, brought)
    for name, files in packages.items():
        for path, content in files.items():
            file = brought / "packages" / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
            file.chmod(0o755 if content.startswith("#!") else 0o644)
    # Rehearsals mount overlays.
    modules = [*initramfs.DISK_MODULES, "overlay"]
    switch_root = GUEST / "switch_root.sh"
    image = initramfs.build(work / "initramfs", suite.cache, kernel, switch_root, modules=modules)
    test = disks.make_ext4_of(work / "test.disk", brought, SIZE)
    return Disks(kernel, image, [debian.disk(suite.cache, kernel.arch), test])


def copy(source: Disks, directory: Path) -> Disks:
    """Copies the disks of a node to a new directory."""
    directory.mkdir(parents=True)
    copies = [debian.copy(disk, directory / f"disk{i}") for i, disk in enumerate(source.disks)]
    return Disks(source.kernel, source.initramfs, copies)
