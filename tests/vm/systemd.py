"""The part `systemd`: the agent on nodes that really have services and really reboot.

Promises: each test has a node that has never run, except those of services, which share one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import life
import node
import reboots
import services
from downloads import need
from node import Disks, Node
from suite import Suite

PACKAGES = {**life.PACKAGES, "holder": services.HOLDER}


@dataclass
class Fresh:
    """Gives new nodes, and tries things on them."""

    suite: Suite
    source: Disks
    made: int = 0

    def disks(self) -> Disks:
        """Returns the disks of a node that has never run."""
        self.made += 1
        return node.copy(self.source, self.suite.work / f"node-{self.made}")

    def test(self, name: str, check: Callable[[Node], str | None]) -> None:
        """Runs a test on a new node."""

        def on_a_node() -> str | None:
            fresh = self.disks().start()
            with fresh.machine:
                return check(fresh)

        self.suite.test(f"systemd: {name}", on_a_node)

    def tests(self, *tests: tuple[str, Callable[[Node], str | None]]) -> None:
        """Runs tests on one new node, one after the other."""
        booted: list[Node] = []

        def boots() -> str:
            booted.append(self.disks().start())
            return booted[0].get("systemctl --version | head -n 1")

        is_well = self.suite.test("systemd: a node boots", boots)
        for shared in booted:
            with shared.machine:
                for name, check in tests if is_well else ():
                    self.suite.test(f"systemd: {name}", lambda: check(shared))


def run(suite: Suite) -> None:
    """Runs the part."""
    need("qemu-system-x86_64", "mke2fs")
    fresh = Fresh(suite, node.prepare(suite, PACKAGES, suite.cache.kernel("amd64")))
    fresh.tests(
        ("service_restart restarts each unit once", services.service_restart),
        ("restart_all_services restarts what procps stands for", services.restart_all_services),
        ("a unit that does not exist, or cannot start, fails every time", services.failing_units),
        ("a daemon that holds a step's output is named and bounded", services.held_output),
    )
    fresh.test("a reboot is done once, and seen as done", reboots.come)
    fresh.test("a scheduled reboot that is cancelled is asked for again", reboots.cancelled)
    fresh.test("a reboot that a lock refuses is asked for again", reboots.refused)
    fresh.test(
        "a shutdown that is cancelled half-way is asked for again", reboots.cancelled_half_way
    )
    fresh.test("a reboot that a lock delays for too long is asked for again", reboots.delayed)
    suite.test(
        "systemd: power that is cut during the shutdown",
        lambda: reboots.power_cuts(fresh.disks(), suite.options.seed),
    )
    fresh.test("a whole life of a package", life.whole_life)
