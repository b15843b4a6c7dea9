"""The part `power`: the power is cut during whole lives of packages.

Promises: each life has its file system, its cuts and their moments from the seed and its
number alone. After each cut the machine boots again with the same disk; what is on the
disk is checked, the run that was cut is started again, and the life goes on.
"""

import itertools
import random
import re
import shlex
import signal
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import disks
import initramfs
import machine
from downloads import need
from machine import Machine, MachineError
from power_life import HOST, NODE_FILES, RESOLV_CONF, Entry, Job, Tree, life
from power_node import Node, packages
from suite import Failure, Suite, reason
from volatile import Trap, VolatileDisk

GUEST = Path(__file__).parent / "guest"

# Two emulators keep two cores busy.
AT_ONCE = 2

# Ways to mount that keep more in memory. Without `noauto_da_alloc`, ext4 syncs some of
# what careless programs rename.
OPTIONS = {"ext4": "commit=300,noauto_da_alloc", "xfs": "noatime", "btrfs": "commit=300"}

# The most seconds for a boot, and for a run of the agent.
BOOT = 180
RUN = 180

# How many problems of a disk are shown.
SHOWN = 6

# How likely the first, second and third run of a job is cut.
CHANCES = (0.85, 0.5, 0.3)

END = r"^END (?P<job>\d+) (?P<code>\d+)$"
# Says that the flag before it has been written, or that a step has ended.
PROMISE = r"^[a-z-]+ work(_check)?\.sh \[|SUCEEDED: work"


@dataclass(frozen=True)
class Cut:
    """When the power is cut: after some `count` of moments; seconds, if it is `time`."""

    moment: str
    count: float

    def __str__(self) -> str:
        return f"{self.moment} {self.count:g}"


def choose(rng: random.Random, kind: str) -> Cut:
    """Chooses a moment. If the run ends before it comes, the cut is right after the end."""
    # A run has 20 to 60 writes and 20 to 40 flushes; on btrfs about twice as many.
    scale = 2 if kind == "btrfs" else 1
    moment = rng.choice(["time", "write", "write", "before flush", "flush", "flush", "line", "end"])
    most = {
        "write": 50 * scale,
        "before flush": 25 * scale,
        "flush": 25 * scale,
        "line": 5,
        "end": 1,
    }
    if moment == "time":
        return Cut(moment, round(rng.uniform(0, 2.5), 3))
    return Cut(moment, rng.randint(1, most[moment]))


@dataclass
class Life:
    """One life, on one disk and as many machines as it takes."""

    suite: Suite
    number: int
    images: dict[str, Path]
    cuts: int = 0
    did: list[str] = field(default_factory=list)
    node: Node = field(default_factory=Node)
    running: Machine | None = None

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.suite.options.seed}/{self.number}")
        names = list(disks.FILE_SYSTEMS)
        self.file_system = disks.FILE_SYSTEMS[names[self.number % len(names)]]
        path = self.suite.work / f"life-{self.number}"
        self.disk = VolatileDisk(path.with_suffix(".disk"))
        self.copy = path.with_suffix(".tar")

    def run(self) -> str:
        """Lives it."""
        try:
            disks.make(self.disk.path, self.file_system)
            with self.copy.open("wb") as file:
                file.truncate(64 * 1024 * 1024)
            self.boot()
            self.tell("make_host")
            for batch in life():
                self.do(batch)
            self.check(is_settled=not self.node.untidied)
        except Exception as error:
            command = f"scripts/test-vm power --seed {self.suite.options.seed} --life {self.number}"
            did = "\n".join(self.did[-4:])
            raise Failure(f"again with: {command}\n{did}\n{reason(error)}") from error
        finally:
            if self.running:
                self.running.cut()
            self.disk.settled()
            self.disk.path.unlink(missing_ok=True)
            self.copy.unlink(missing_ok=True)
        return f"{self.cuts} cuts"

    def boot(self) -> None:
        """Switches the machine on."""
        self.running = machine.start(
            self.suite.cache.kernel("amd64").image,
            self.images[self.file_system.kind],
            [self.disk.connect(), self.copy],
            memory=192,
        )
        self.running.expect("^ready$", BOOT)
        kind = self.file_system.kind
        self.tell(f"mount -t {kind} -o {OPTIONS[kind]} /dev/vda /root && keep_in_memory")
        if setting := self.suite.options.sync:
            self.tell(f"export SKYHOOK_AGENT_SYNC={shlex.quote(setting)}")

    def tell(self, command: str) -> None:
        """Has the machine do something that must succeed."""
        assert self.running
        self.running.send(f"{command} && echo && echo done")
        self.running.expect("^done$", BOOT)

    def do(self, batch: list[Job]) -> None:
        """Does jobs side by side, and again what was cut, until all have ended."""
        left = batch
        for attempt in itertools.count():
            chance = CHANCES[attempt] if attempt < len(CHANCES) else 0
            cut = choose(self.rng, self.file_system.kind) if self.rng.random() < chance else None
            for job in left:
                self.node.begin(job)
            jobs = ", ".join(f"{job.mode} of {job.package.name}" for job in left)
            ended = self.perform(left, cut)
            self.did.append(f"{jobs}: {f'cut at {cut}' if cut else 'not cut'}; ended: {ended}")
            for job in left:
                if job.number in ended:
                    self.node.end(job)
            left = [job for job in left if job.number not in ended]
            if cut:
                self.node.cut()
                self.cuts += 1
                self.did[-1] += f"; {self.disk.lose(self.rng)}"
                self.boot()
            if cut or attempt:
                self.check(is_settled=not cut)
            if not left:
                return

    def perform(self, jobs: list[Job], cut: Cut | None) -> set[int]:
        """Has the agent do jobs, and cuts the power. Returns the jobs that have ended with 0."""
        running = self.running
        assert running
        start = len(running.text())
        cut_power = running.process.kill
        timer = threading.Timer(0, cut_power)
        line = trap = None
        if cut and cut.moment == "time":
            timer = threading.Timer(cut.count, cut_power)
        elif cut and cut.moment == "line":
            line = int(cut.count)
        elif cut:
            trap = Trap(cut.moment, int(cut.count), cut_power)
        self.disk.count_from_here(trap)
        running.send(" & ".join(job.command() for job in jobs) + " & wait")
        if timer.interval:
            timer.start()
        try:
            self.watch(running, len(jobs), line)
        except MachineError:
            # It has been cut, and has not ended by itself.
            if not cut or not running.has_ended or running.wait(10) != -signal.SIGKILL:
                raise
        finally:
            timer.cancel()
        if cut:
            running.cut()
        return self.reported(running, start)

    def watch(self, running: Machine, jobs: int, line: int | None) -> None:
        """Waits for the end of jobs, or of the machine; or cuts it at a line that promises."""
        end = time.monotonic() + RUN
        while jobs:
            found = running.expect(f"{END}|{PROMISE}", end - time.monotonic())
            if found["job"]:
                jobs -= 1
            elif line is not None:
                line -= 1
                if line == 0:
                    running.cut()
                    return

    def reported(self, running: Machine, start: int) -> set[int]:
        """Reads which jobs have ended."""
        running.drained()
        ended = set()
        for found in re.finditer(END, running.text()[start:], re.MULTILINE):
            if found["code"] != "0":
                raise Failure(f"{found.group()}: expected 0{running.shown()}")
            ended.add(int(found["job"]))
        return ended

    def check(self, is_settled: bool) -> None:
        """Checks what is on the disk."""
        self.tell("snapshot")
        problems = self.node.check(read(self.copy), is_settled)
        if problems:
            more = f"\nand {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
            raise Failure("\n".join(problems[:SHOWN]) + more)


def read(archive: Path) -> Tree:
    """Reads the archive on the second disk."""
    tree: Tree = {}
    kinds = {tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "link"}
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            content = file.read() if file else member.linkname.encode()
            kind = kinds.get(member.type, "file")
            tree[member.name.rstrip("/")] = Entry(kind, member.mode & 0o7777, content)
    return tree


def write(target: Path, tree: Tree) -> Path:
    """Writes a tree below a directory of this machine."""
    for path, entry in sorted(tree.items()):
        file = target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind == "directory":
            file.mkdir(exist_ok=True)
        elif entry.kind == "link":
            file.symlink_to(entry.content.decode())
            continue
        else:
            file.write_bytes(entry.content)
        file.chmod(entry.mode)
    return target


def build_images(suite: Suite) -> dict[str, Path]:
    """Makes an initramfs for each kind of file system, with the packages in it."""
    files: dict[str, Path | bytes] = {
        "skyhook-agent": suite.agent(),
        "host": write(suite.work / "host", HOST),
        "etc/resolv.conf": RESOLV_CONF,
        "etc/nvidia-bootstrap/node-files": write(suite.work / "node-files", NODE_FILES),
    }
    for package in packages([job for batch in life() for job in batch]):
        name = f"packages/{package.name}-{package.version}"
        files[name] = write(suite.work / name, package.files())
    return {
        file_system.kind: initramfs.build(
            suite.work / f"power-{file_system.kind}.cpio",
            suite.cache,
            suite.cache.kernel("amd64"),
            GUEST / "power.sh",
            [*initramfs.DISK_MODULES, *file_system.modules],
            files,
        )
        for file_system in disks.FILE_SYSTEMS.values()
    }


def run(suite: Suite) -> None:
    """Runs the part: one test is one life."""
    need("qemu-system-x86_64", *{kind.mkfs[0] for kind in disks.FILE_SYSTEMS.values()})
    images = build_images(suite)
    if suite.options.life is not None:
        live(suite, suite.options.life, images)
        return
    lock = threading.Lock()
    begun = cuts = 0
    # A life without any cut has failed before the first: the others would, too, without end.
    is_in_vain = False

    def work() -> None:
        nonlocal begun, cuts, is_in_vain
        while True:
            with lock:
                # All file systems get as many lives.
                is_enough = cuts >= suite.options.cuts and begun % len(disks.FILE_SYSTEMS) == 0
                if is_enough or is_in_vain or machine.CLOSED.is_set():
                    return
                number = begun
                begun += 1
            done = live(suite, number, images)
            with lock:
                cuts += done
                is_in_vain |= not done

    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for worker in [pool.submit(work) for _ in range(AT_ONCE)]:
                worker.result()
        except (KeyboardInterrupt, SystemExit):
            # The pool would wait for lives that go on.
            machine.cut_all()
            raise
    print(f"power: {cuts} cuts in {begun} lives, seed {suite.options.seed}", flush=True)


def live(suite: Suite, number: int, images: dict[str, Path]) -> int:
    """Lives one life, as a test. Returns the number of its cuts."""
    one = Life(suite, number, images)
    suite.test(f"power: life {number} on {one.file_system.name}", one.run)
    return one.cuts
