"""The part `quick`: an emulated machine boots, and the agent applies a package in it.

Promises: takes less than a minute after the binary is built. Shows that all that the other
parts stand on works.
"""

import json
from pathlib import Path

import disks
import initramfs
import machine
from downloads import need
from suite import Suite, expect

GUEST = Path(__file__).parent / "guest"

STEP = {
    "name": "greet",
    "path": "greet.sh",
    "arguments": ["world"],
    "returncodes": [0],
    "on_host": True,
    "idempotence": False,
    "upgrade_step": False,
}
CONFIG = {
    "schema_version": "v1",
    "package_name": "greeting",
    "package_version": "1.0.0",
    "expected_config_files": [],
    "modes": {"apply": [STEP], "apply-check": [STEP]},
}
GREET = b'#!/bin/sh\necho "Hello, $1!"\necho "$1" >/etc/greeted\n'


def run(suite: Suite) -> None:
    """Runs the part."""
    suite.test("quick: a package is applied on a machine of its own", lambda: apply(suite))


def apply(suite: Suite) -> str:
    """Boots, asks for the version, applies a package, and looks at what is left."""
    need("qemu-system-x86_64")
    agent = suite.agent()
    kernel = suite.cache.kernel("amd64")
    image = initramfs.build(
        suite.work / "quick.cpio",
        suite.cache,
        kernel,
        GUEST / "quick.sh",
        files={
            "skyhook-agent": agent,
            "skyhook-package/config.json": json.dumps(CONFIG).encode(),
            "skyhook-package/skyhook_dir/greet.sh": GREET,
        },
    )
    disk = disks.make(suite.work / "quick.disk", disks.FILE_SYSTEMS["ext4"])
    with machine.start(kernel.image, image, [disk]) as guest:
        guest.expect(r"^booted$", 60)
        version = guest.expect(r"^skyhook-agent \d+\.\d+\.\d+.*$", 30).group()
        guest.expect(r"^\[out\]\S+ Hello, world!$", 30)
        guest.expect(r"SUCEEDED: greet\.sh world$", 30)
        guest.expect(r"^apply ended with 0$", 30)
        guest.expect(r"^greeted: world$", 30)
        flag = guest.expect(r"^flag: .*/flags/greeting/1\.0\.0/greet\.sh_\S+$", 30)
        expect("START" not in flag.group(), "expected the flag of the step alone")
        expect(guest.wait(30) == 0, "expected that the machine switches itself off")
    return f"{version}, kernel {kernel.version}"
