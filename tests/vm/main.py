"""The command line of scripts/test-vm: parts and options in, tests out."""

import argparse
import importlib
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import machine
from downloads import cache
from suite import Options, Suite, reason

# What each part tries. A part is a module here, with a function `run`.
PARTS = {
    "quick": "boots a machine and applies a package, in less than a minute",
    "power": "cuts the power during whole lives of packages, on four file systems",
    "systemd": "restarts services and reboots nodes that have systemd; as root",
    "arm64": "all tests on an arm64 node, and a whole life of a package; as root",
    "kernels": "all tests on an old kernel, a whole life there and on a new one; as root",
}


def parse() -> argparse.Namespace:
    """Reads the command line. Ends with 2 if it is not understood."""
    parts = "\n".join(f"  {name:8} {what}" for name, what in PARTS.items())
    parser = argparse.ArgumentParser(
        prog="scripts/test-vm",
        description="Tries the agent on emulated machines.",
        epilog=f"Parts (all of them, if none is named):\n{parts}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="what to try")
    parser.add_argument("--seed", type=int, default=1, help="power, systemd: chooses the moments")
    parser.add_argument("--cuts", type=int, default=200, help="power: how many, at least")
    parser.add_argument("--life", type=int, help="power: this one life of a package alone")
    parser.add_argument(
        "--tests",
        action="append",
        metavar="NAME",
        help="arm64, kernels: this file of tests alone; can be repeated",
    )
    arguments = parser.parse_args()
    unknown = [part for part in arguments.parts if part not in PARTS]
    if unknown:
        parser.error(f"{' '.join(unknown)}: expected parts of: {' '.join(PARTS)}")
    if arguments.cuts < 1:
        parser.error(f"--cuts {arguments.cuts}: expected 1 or more")
    return arguments


def main() -> int:
    """Runs the parts. Returns the exit code."""
    arguments = parse()
    machine.end_with_this_process()
    # The programs that make file systems are there, and a user may not have it.
    os.environ["PATH"] = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    options = Options(
        arguments.seed,
        arguments.cuts,
        arguments.life,
        arguments.tests,
        os.environ.get("SKYHOOK_AGENT_SYNC"),
    )
    with tempfile.TemporaryDirectory(prefix="skyhook-test-vm-") as work:
        suite = Suite(cache(), Path(work), options)
        for part in arguments.parts or PARTS:
            try:
                importlib.import_module(part).run(suite)
            except Exception as error:
                print(f"FAILED: {part}: {reason(error)}")
                suite.failed += 1
        machine.cut_all()
    print(f"{suite.passed} passed, {suite.failed} failed")
    return 1 if suite.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
