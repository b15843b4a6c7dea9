"""Reboots of a node: those that come, those that do not, and power cuts during them.

Promises: after each end of a reboot, however it came, the next starts say that it is done,
or ask for it again: never neither, and never for ever. `reboot`, logind and its locks are
Debian's own, except where a test says so.
"""

import random
import time

import life
import node
from node import Command, Disks, Node, Package
from services import package
from suite import Failure, expect, reason

REBOOT = {"type": "node_restart"}


def command(on: Node, text: str) -> None:
    """Puts another `reboot` in front of Debian's."""
    on.get(
        "mkdir -p /usr/local/sbin && "
        f"printf '#!/bin/sh\\n{text}\\n' >/usr/local/sbin/reboot && "
        "chmod 755 /usr/local/sbin/reboot"
    )


def own_command(on: Node) -> None:
    """Lets `reboot` be Debian's again."""
    on.get("rm -f /usr/local/sbin/reboot")


def come(on: Node) -> str:
    """Reboots by both kinds of pods, and by a `reboot` that the shutdown ends."""
    for kind in ("unit", "cgroup"):
        life.reboot(on, package(on, f"reboot-{kind}"), kind)
    command(on, "/bin/systemctl reboot; exec sleep 60")
    life.reboot(on, package(on, "reboot-ended"))
    return "as a unit, outside of units, and by SIGTERM for reboot itself"


def in_vain(on: Node, started: Command, holder: Package) -> None:
    """Fails unless a reboot that has not come is given up, and nothing is left of it."""
    started.end().ended(1).has(
        "the node has not gone down within", "the next start asks for the reboot again"
    ).lacks("INTERRUPT FAILED")
    flags = on.files(holder.interrupts)
    expect(not flags, f"expected no flag, got {flags}")


def has_not_rebooted(on: Node) -> None:
    """Fails if the node has rebooted."""
    now = on.get("cat /proc/sys/kernel/random/boot_id")
    expect(now == on.boot, f"expected the boot {on.boot}, got {now}")


def cancelled(on: Node) -> str:
    """A node whose `reboot` schedules one, as some sites have it, and `shutdown -c`."""
    holder = package(on, "cancelled")
    command(on, "exec shutdown -r +5")
    for _ in range(2):
        started = on.interrupt(holder, REBOOT, timeout=10)
        started.expect("Reboot scheduled for")
        started.expect("waiting up to 10 s for the node to go down")
        flags = on.files(holder.interrupts)
        expect(flags == life.FLAGS, f"expected {life.FLAGS} during the wait, got {flags}")
        on.get("shutdown -c")
        in_vain(on, started, holder)
    has_not_rebooted(on)
    own_command(on)
    life.reboot(on, holder)
    return "shutdown -c, twice, then a reboot"


def refused(on: Node) -> str:
    """A lock that blocks, and a `reboot` that heeds it, as that of systemd 257 does."""
    holder = package(on, "refused")
    command(on, "exec systemctl reboot --check-inhibitors=yes")
    lock = on.start("exec systemd-inhibit --what=shutdown --mode=block sleep 1000")
    wait_for_lock(on, "block")
    for _ in range(2):
        done = on.interrupt(holder, REBOOT).end().ended(1)
        done.has("Operation inhibited by", "INTERRUPT FAILED: ['reboot'] return_code: 1")
        flags = on.files(holder.interrupts)
        expect(not flags, f"expected no flag, got {flags}")
    has_not_rebooted(on)
    on.get("pkill -x sleep")
    lock.end()
    life.reboot(on, holder)
    own_command(on)
    return "refused twice, then a reboot"


def cancelled_half_way(on: Node) -> str:
    """A unit that is slow to stop holds the shutdown, and its job is cancelled."""
    holder = package(on, "half-way")
    on.get("systemd-run --unit slow --property 'ExecStop=/bin/sleep 300' sleep 1000")
    # Outside of units, no SIGTERM tells the agent that the shutdown has begun.
    started = on.interrupt(holder, REBOOT, "cgroup", timeout=30)
    started.expect("waiting up to 30 s for the node to go down")
    on.get("until systemctl list-jobs | grep -q 'slow.service *stop'; do sleep 0.2; done")
    on.get("systemctl cancel")
    in_vain(on, started, holder)
    has_not_rebooted(on)
    on.get("systemctl kill --signal KILL slow; systemctl start dbus systemd-logind")
    life.reboot(on, holder)
    return "systemctl cancel, then a reboot"


def delayed(on: Node) -> str:
    """A lock that delays the reboot for longer than the agent waits.

    The node reboots after the agent has given up. So it asks for another reboot, and that
    is the last one, for the lock is gone.
    """
    holder = package(on, "delayed")
    on.get("mkdir -p /etc/systemd/logind.conf.d")
    on.get("printf '[Login]\\nInhibitDelayMaxSec=1000\\n' >/etc/systemd/logind.conf.d/test.conf")
    on.get("systemctl restart systemd-logind")
    on.start("exec systemd-inhibit --what=shutdown --mode=delay sleep 1000")
    wait_for_lock(on, "delay")
    in_vain(on, on.interrupt(holder, REBOOT, timeout=3), holder)
    # A reboot that is under way cannot be asked for: a failure, and no flag.
    done = on.interrupt(holder, REBOOT, timeout=3).end().ended(1)
    done.has("already a shutdown", "INTERRUPT FAILED: ['reboot'] return_code: 1")
    flags = on.files(holder.interrupts)
    expect(not flags, f"expected no flag, got {flags}")
    has_not_rebooted(on)
    old = on.boot
    on.start("pkill -x sleep")
    on.has_booted()
    expect(on.boot != old, "expected the delayed reboot")
    life.reboot(on, holder)
    return "given up, failed, rebooted late, and rebooted once more"


def wait_for_lock(on: Node, mode: str) -> None:
    """Waits until logind has a lock."""
    on.get(f"until systemd-inhibit --list | grep -q ' {mode}$'; do sleep 0.2; done")


# --- power cuts --------------------------------------------------------------------

# The shutdown has begun when the agent's `reboot` has run; this is what is seen of it.
MOMENTS = [
    r"^\d+\| reboot$",
    r"waiting up to \S+ s for the node to go down",
    r"a signal ended the wait",
    r"^\d+=0$",
    r"Failed unmounting",
]
# From the start of the agent to the node's end, on a fast and on a slow machine.
LONGEST = 12


def power_cuts(disks: Disks, seed: int) -> str:
    """Cuts the power while the node goes down, and looks what the next starts make of it."""
    chance = random.Random(seed)
    ends = {"done": 0, "asked for again": 0}
    moments: list[str | float] = [*MOMENTS]
    moments += [chance.uniform(0, LONGEST) for _ in range(5)]
    on = disks.start()
    try:
        for i, moment in enumerate(moments):
            holder = package(on, f"cut-{i}")
            on.get("sync")
            position = len(on.machine.text())
            on.interrupt(holder, REBOOT, chance.choice(["unit", "cgroup"]))
            if isinstance(moment, str):
                on.machine.find(moment, node.COMMAND, position)
            else:
                time.sleep(moment)
            was_asked = " reboot\n" in on.machine.text()[position:]
            on.machine.cut()
            on = disks.start()
            try:
                end = after_a_cut(on, holder)
            except Exception as error:
                raise Failure(f"cut {i} at {moment} of --seed {seed}: {reason(error)}") from error
            expect(
                end == "done" or not was_asked,
                f"cut {i} at {moment} of --seed {seed}: asked for twice",
            )
            ends[end] += 1
    finally:
        on.machine.cut()
    return ", ".join(f"{count} {end}" for end, count in ends.items())


def after_a_cut(on: Node, holder: Package) -> str:
    """Lets the interrupt go on, and returns how it did."""
    first = on.interrupt(holder, REBOOT)
    shown = first.expect(r"(Skipping interrupt node_restart_0|reboot$)")[1]
    if shown != "reboot":
        first.end().ended(0)
        life.is_done(on, holder)
        return "done"
    first.end().ended(0)
    on.has_booted()
    life.is_done(on, holder)
    return "asked for again"
