"""The part `arm64`: the agent on a node of another architecture, with Debian's systemd.

Promises: the binary is that of the image for arm64. All integration tests run there, and
a package lives its whole life, with two real reboots.
"""

import integration
import life
import node
from downloads import need
from suite import Suite


def run(suite: Suite) -> None:
    """Runs the part."""
    need("qemu-system-aarch64", "mke2fs")
    built = integration.build("arm64")
    brought = {"tree": integration.tree(suite, "arm64", built)}
    disks = node.prepare(suite, life.PACKAGES, suite.cache.kernel("arm64"), brought)
    guest = node.boot(suite, "arm64", disks)
    if guest:
        with guest.machine:
            suite.test("arm64: a whole life of a package", lambda: life.whole_life(guest))
            integration.run(suite, "arm64", guest, built)
