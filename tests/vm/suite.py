"""Runs tests and counts them: one line a test, with its time.

Promises: a failed test does not end the others, however it failed; a signal ends all. Tests
may run in parallel.
"""

import os
import shutil
import subprocess
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from downloads import Cache, Missing, need
from machine import MachineError

REPOSITORY = Path(__file__).resolve().parents[2]


class Failure(Exception):
    """Something is not as it was expected to be."""


@dataclass
class Suite:
    """One run of test-vm."""

    cache: Cache
    # A directory for anything, removed at the end.
    work: Path
    # The options of the command line that parts have.
    options: "Options"
    passed: int = 0
    failed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def test(self, name: str, check: Callable[[], str | None]) -> bool:
        """Runs one test. What it returns is printed after its name."""
        start = time.monotonic()
        why = note = None
        try:
            note = check()
        except Exception as error:
            why = reason(error)
        line = f"{name} ({time.monotonic() - start:.1f} s)" + (f": {note}" if note else "")
        with self.lock:
            if why is None:
                self.passed += 1
                print(f"ok: {line}", flush=True)
            else:
                self.failed += 1
                print(f"FAILED: {line}", flush=True)
                print("    | " + why.replace("\n", "\n    | "), flush=True)
        return why is None

    def agent(self, arch: str = "amd64") -> Path:
        """Returns the static binary as it is in the image, built once.

        SKYHOOK_TEST_VM_AGENT names another one for amd64.
        """
        return self.image_root(arch) / "skyhook-agent"

    def image_root(self, arch: str = "amd64") -> Path:
        """Returns the image's root, built once, to be copied.

        With the binary that SKYHOOK_TEST_VM_AGENT names, it has no time zones.
        """
        rootfs = self.work / f"rootfs-{arch}"
        if rootfs.exists():
            return rootfs
        named = os.environ.get("SKYHOOK_TEST_VM_AGENT")
        if named and arch == "amd64":
            for directory in ("root", "dev", "etc", "proc", "sys", "tmp"):
                (rootfs / directory).mkdir(parents=True)
            (rootfs / "tmp").chmod(0o1777)
            shutil.copy(named, rootfs / "skyhook-agent")
            return rootfs
        need("cargo")
        command = [str(REPOSITORY / "scripts/build-image"), "--arch", arch]
        command += ["--rootfs", str(rootfs)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
        if done.returncode != 0:
            raise Missing(f"{' '.join(command)}: failed:\n{done.stderr}")
        return rootfs


@dataclass(frozen=True)
class Options:
    """What the command line says, for the parts."""

    seed: int
    cuts: int
    life: int | None
    # Names of files of tests; all, if it is None.
    tests: list[str] | None
    # SKYHOOK_AGENT_SYNC for the agent, to see that the part `power` can fail.
    sync: str | None


def reason(error: Exception) -> str:
    """Says why something failed; of an error that was not foreseen, also where it came from."""
    if isinstance(error, (Failure, MachineError, Missing)):
        return str(error)
    own = Path(__file__).parent
    frames = traceback.extract_tb(error.__traceback__)
    lines = [
        f"{Path(frame.filename).name}:{frame.lineno}"
        for frame in frames
        if Path(frame.filename).parent == own
    ]
    return f"{type(error).__name__}: {error}, at {lines[-1] if lines else 'no known line'}"


def expect(is_true: bool, what: str) -> None:
    """Fails the test, if something is not true."""
    if not is_true:
        raise Failure(what)
