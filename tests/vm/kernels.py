"""The part `kernels`: the agent on the oldest kernel that Debian's mirrors have, and on a newer
one than that of the other parts.

Promises: on each, a package lives its whole life, with two real reboots. On the oldest, all
integration tests run, too. All else on these nodes is that of the part `systemd`.
"""

import integration
import life
import node
from downloads import need
from suite import Suite

# Linux 5.10, which lacks one call of the table in docs/operations.md, and 6.12.
OLD, NEW = "bullseye", "trixie"


def run(suite: Suite) -> None:
    """Runs the part."""
    need("qemu-system-x86_64", "mke2fs")
    built = integration.build("amd64")
    trees = {OLD: {"tree": integration.tree(suite, "amd64", built)}, NEW: {}}
    for release, brought in trees.items():
        kernel = suite.cache.kernel("amd64", release)
        part = f"kernels: Linux {kernel.release}"
        guest = node.boot(suite, part, node.prepare(suite, life.PACKAGES, kernel, brought))
        if not guest:
            continue
        with guest.machine:
            suite.test(f"{part}: a whole life of a package", lambda: life.whole_life(guest))
            if brought:
                integration.run(suite, part, guest, built)
