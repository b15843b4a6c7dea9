"""A disk with a write cache that a power cut empties.

Promises: what the guest has flushed stays. What it has written since its last flush is
lost, or stays, or stays in part and in any order, as on a real disk with a volatile
cache. It is a server for the emulator (NBD), which also counts the guest's writes and
flushes, so that the power can be cut at a chosen one.
"""

import io
import os
import random
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

# The protocol's numbers: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
FIXED_NEWSTYLE_NO_ZEROES = 0b11
OPTION_GO = 7
REPLY_ACK, REPLY_INFO, REPLY_UNSUPPORTED = 1, 3, 0x80000001
HAS_FLAGS_AND_FLUSH = 0b101
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3

# What a disk writes whole.
SECTOR = 4096


@dataclass
class Trap:
    """Cuts the power at the guest's nth write, or before or after its nth flush."""

    moment: str
    left: int
    cut: Callable[[], None]


@dataclass
class VolatileDisk:
    """A disk, served while it is open."""

    path: Path
    address: str = ""
    trap: Trap | None = None
    # How many of each since `count_from_here`.
    counts: dict[str, int] = field(default_factory=dict)
    # Each write since the last flush: where, what was there, what was written.
    pending: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    server: threading.Thread | None = None
    file: int = -1

    def connect(self) -> str:
        """Waits for one machine, in the background. Returns the address for it."""
        self.settled()
        self.file = os.open(self.path, os.O_RDWR)
        listener = socket.socket(socket.AF_UNIX)
        name = self.path.with_suffix(".socket")
        name.unlink(missing_ok=True)
        listener.bind(str(name))
        listener.listen(1)
        # An emulator that never comes must not be waited for.
        listener.settimeout(60)
        self.trap = None
        self.pending = []
        self.server = threading.Thread(target=self._serve, args=(listener,), daemon=True)
        self.server.start()
        return f"nbd+unix:///?socket={name}"

    def settled(self) -> None:
        """Waits until the machine's last request is done. It must have been switched off."""
        if self.server:
            self.server.join(60)
            self.server = None
        if self.file >= 0:
            os.close(self.file)
            self.file = -1

    def lose(self, rng: random.Random) -> str:
        """Loses what the power cut takes: of all that was not flushed, a part. Says which."""
        if self.server:
            self.server.join(60)
        for offset, before, _ in reversed(self.pending):
            os.pwrite(self.file, before, offset)
        share = rng.choice([0.0, 0.0, 0.5, 0.9, 1.0])
        kept = [write for write in self.pending if rng.random() < share]
        for offset, _, data in kept:
            # A large write may have come as far as one of its sectors.
            sectors = len(data) // SECTOR
            if 0.0 < share < 1.0 and sectors > 1 and rng.random() < 0.3:
                data = data[: SECTOR * rng.randint(1, sectors)]
            os.pwrite(self.file, data, offset)
        said = f"{len(kept)} of {len(self.pending)} writes kept that were not flushed"
        self.pending = []
        self.settled()
        return said

    def count_from_here(self, trap: Trap | None) -> None:
        """Counts writes and flushes from now on, and sets a trap."""
        self.counts = {}
        self.trap = trap

    def _is_trapped(self, moment: str) -> bool:
        self.counts[moment] = self.counts.get(moment, 0) + 1
        trap = self.trap
        if not trap or trap.moment != moment:
            return False
        trap.left -= 1
        if trap.left > 0:
            return False
        self.trap = None
        trap.cut()
        return True

    def _serve(self, listener: socket.socket) -> None:
        try:
            with listener:
                connection, _ = listener.accept()
            connection.settimeout(None)
            with connection, connection.makefile("rb") as requests:
                self._greet(connection, requests)
                while self._answer(connection, requests):
                    pass
        except (OSError, struct.error):
            # The machine has been switched off, or never came: then it says so itself.
            pass

    def _greet(self, to: socket.socket, requests: io.BufferedReader) -> None:
        to.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", FIXED_NEWSTYLE_NO_ZEROES))
        requests.read(4)
        while True:
            _, option, length = struct.unpack(">8sII", requests.read(16))
            requests.read(length)
            if option != OPTION_GO:
                to.sendall(_reply(option, REPLY_UNSUPPORTED))
                continue
            size = self.path.stat().st_size
            export = struct.pack(">HQH", 0, size, HAS_FLAGS_AND_FLUSH)
            to.sendall(_reply(option, REPLY_INFO, export) + _reply(option, REPLY_ACK))
            return

    def _answer(self, to: socket.socket, requests: io.BufferedReader) -> bool:
        """Does one request. Returns False after the last."""
        header = requests.read(28)
        _, _, kind, handle, offset, length = struct.unpack(">IHH8sQI", header)
        done = struct.pack(">II", 0x67446698, 0) + handle
        if kind == READ:
            to.sendall(done + os.pread(self.file, length, offset))
        elif kind == WRITE:
            data = requests.read(length)
            if len(data) < length:
                return False
            before = os.pread(self.file, length, offset)
            self.pending.append((offset, before, data))
            os.pwrite(self.file, data, offset)
            if self._is_trapped("write"):
                return False
            to.sendall(done)
        elif kind == FLUSH:
            if self._is_trapped("before flush"):
                return False
            self.pending = []
            to.sendall(done)
            if self._is_trapped("flush"):
                return False
        else:
            return False
        return True


def _reply(option: int, kind: int, data: bytes = b"") -> bytes:
    return struct.pack(">QIII", 0x3E889045565A9, option, kind, len(data)) + data
