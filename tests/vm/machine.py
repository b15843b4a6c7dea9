"""One emulated machine: a kernel, an initramfs, disks, and a serial console.

Promises: no wait is without a bound, and no emulator outlives this process, however it
ends, except by SIGKILL.
"""

import atexit
import codecs
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

# How many of the console's last characters an error shows.
SHOWN = 2000

EMULATORS = {
    "amd64": ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max"],
    "arm64": ["qemu-system-aarch64", "-machine", "virt", "-accel", "tcg", "-cpu", "cortex-a57"],
}
# On a busy machine the kernel may see no tick of the timer in time, and panic at its boot.
PARAMETERS = {"amd64": "console=ttyS0 no_timer_check", "arm64": "console=ttyAMA0"}


class MachineError(Exception):
    """What was expected of a machine has not come."""


@dataclass
class Machine:
    """A machine that has been started. `start` makes one."""

    process: subprocess.Popen[bytes]
    console: str = ""
    # Where the next `expect` begins to look.
    position: int = 0
    # Guards `console` and `has_ended`.
    changed: threading.Condition = field(default_factory=threading.Condition)
    has_ended: bool = False
    reader: threading.Thread | None = None

    def expect(self, pattern: str, seconds: float) -> re.Match[str]:
        """Waits until the console shows the pattern, after what was matched last."""
        found = self.find(pattern, seconds, self.position)
        self.position = found.end()
        return found

    def find(self, pattern: str, seconds: float, position: int) -> re.Match[str]:
        """Waits until the console shows the pattern, from a position on.

        Looks at whole lines alone: a line comes in parts, and `$` would match after each.
        """
        wanted = re.compile(pattern, re.MULTILINE)
        end = time.monotonic() + seconds
        with self.changed:
            while True:
                whole = self.console.rfind("\n") + 1
                found = wanted.search(self.console, position, whole)
                if found:
                    return found
                left = end - time.monotonic()
                if self.has_ended:
                    raise MachineError(f"the machine ended, expected {pattern!r}{self.shown()}")
                if left <= 0:
                    raise MachineError(f"expected {pattern!r} within {seconds} s{self.shown()}")
                self.changed.wait(left)

    def send(self, text: str) -> None:
        """Types a line on the console."""
        assert self.process.stdin
        try:
            self.process.stdin.write(text.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise MachineError(f"the machine ended before {text!r}{self.shown()}") from None

    def cut(self) -> None:
        """Cuts the power."""
        self.process.kill()
        self.process.wait()
        RUNNING.discard(self)

    def wait(self, seconds: float) -> int:
        """Waits until the machine has switched itself off. Returns the emulator's status."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise MachineError(f"expected it off within {seconds} s{self.shown()}") from None
        RUNNING.discard(self)
        return status

    def drained(self) -> None:
        """Waits until all that a machine has shown before it was cut is in `text`."""
        if self.process.poll() is not None and self.reader:
            self.reader.join(10)

    def text(self) -> str:
        """Returns all that the console has shown."""
        with self.changed:
            return self.console

    def shown(self) -> str:
        """Returns the console's last lines, for an error."""
        return "; the console's end:\n" + self.console[-SHOWN:]

    def _read(self) -> None:
        assert self.process.stdout
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while data := os.read(self.process.stdout.fileno(), 65536):
            with self.changed:
                self.console += decoder.decode(data).replace("\r", "")
                self.changed.notify_all()
        with self.changed:
            self.has_ended = True
            self.changed.notify_all()

    def __hash__(self) -> int:
        return id(self)

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()


RUNNING: set[Machine] = set()
# Set when all machines are cut for good: threads may still want to start one.
CLOSED = threading.Event()


def start(
    kernel: Path,
    initramfs: Path | None,
    disks: Sequence[Path | str] = (),
    append: str = "",
    arch: str = "amd64",
    memory: int = 256,
    reboots: bool = False,
    extra: Sequence[str] = (),
) -> Machine:
    """Starts a machine.

    A disk is a file, raw, or an `nbd+unix:` address. What the machine has written to it
    stays if the power is cut. `append` goes to the kernel's command line, `memory` is in
    MiB, `extra` are arguments of the emulator. If it `reboots`, it really does; else a
    reboot switches it off.
    """
    if CLOSED.is_set():
        raise MachineError("no machine starts any more: this process ends")
    command = [*EMULATORS[arch], "-m", str(memory), "-nodefaults", "-display", "none"]
    command += ["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]
    command += [] if reboots else ["-no-reboot"]
    command += ["-kernel", str(kernel)]
    command += ["-initrd", str(initramfs)] if initramfs else []
    command += ["-append", f"{PARAMETERS[arch]} quiet panic=-1 {append}"]
    for i, disk in enumerate(disks):
        # A cut ends the emulator alone: what is in this machine's memory for a file stays.
        cache = "unsafe" if isinstance(disk, Path) else "writeback"
        command += ["-drive", f"file={disk},format=raw,if=none,cache={cache},id=disk{i}"]
        command += ["-device", f"virtio-blk-pci,drive=disk{i}"]
    process = subprocess.Popen(
        [*command, *extra],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # A Ctrl-C is for this process, which then ends its machines.
        start_new_session=True,
    )
    machine = Machine(process)
    RUNNING.add(machine)
    if CLOSED.is_set():
        machine.cut()
    machine.reader = threading.Thread(target=machine._read, daemon=True)
    machine.reader.start()
    return machine


def cut_all() -> None:
    """Cuts the power of all machines. No other one starts."""
    CLOSED.set()
    for machine in list(RUNNING):
        machine.cut()


def end_with_this_process() -> None:
    """Makes sure that the machines end with this process, also if a signal ends it."""
    atexit.register(cut_all)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: exit(128 + number))
