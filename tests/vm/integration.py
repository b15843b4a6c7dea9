"""The integration tests, built here and run on a node.

Promises: the tests have the binary of the image in place of cargo's. They are static, so
that they need nothing of the node but the tools that they start. They find their tree at
the path where it is on this machine.
"""

import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from downloads import Missing, need
from node import Node
from suite import REPOSITORY, Failure, Suite

# Building all for another architecture, on two busy cores.
BUILD_SECONDS = 2400
# One file of tests, by emulation on a busy machine. The slowest took 360 s.
SECONDS = 1500

BUILD = """
die() { echo "$*" >&2; exit 1; }
. scripts/lib/target.sh
. scripts/lib/source.sh
use_target "$1"
# A test expects that the agent says it.
export SKYHOOK_AGENT_COMMIT=${SKYHOOK_AGENT_COMMIT-$(commit 12)}
export CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_STRIP=symbols
export RUSTFLAGS="-C target-feature=+crt-static"
cargo test --no-run --locked --target "$target" --target-dir target --message-format json
"""
# Look at the scripts of developers, with tools that a node does not have.
NOT_ON_NODES = ("pictures",)
# What the tests read.
TREE = ("docs", "examples", "testdata", "tests")


@dataclass(frozen=True)
class Built:
    """What cargo has built: the files of tests, the agent, and the examples."""

    tests: dict[str, Path]
    agent: Path
    examples: dict[str, Path]


def build(arch: str) -> Built:
    """Builds the tests for an architecture."""
    need("cargo")
    done = subprocess.run(
        ["bash", "-euc", BUILD, "bash", arch],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
    )
    if done.returncode != 0:
        raise Missing(f"the tests for {arch}: cannot be built:\n{done.stderr}")
    tests: dict[str, Path] = {}
    examples: dict[str, Path] = {}
    agent = None
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if not message.get("executable"):
            continue
        executable = Path(message["executable"])
        (kind,), name = message["target"]["kind"], message["target"]["name"]
        if kind == "example":
            examples[name] = executable
        elif message["profile"]["test"]:
            tests[name if kind == "test" else kind] = executable
        else:
            agent = executable
    for name in NOT_ON_NODES:
        tests.pop(name, None)
    if not tests or not agent:
        raise Missing(f"the tests for {arch}: expected some of cargo, got {done.stdout[-2000:]}")
    return Built(tests, agent, examples)


def tree(suite: Suite, arch: str, built: Built) -> Path:
    """Returns a directory with all that the tests need, to be put on a node."""
    made = Path(tempfile.mkdtemp(prefix="tree-", dir=suite.work))
    # Some tests start the agent as another user.
    made.chmod(0o755)
    for directory in TREE:
        shutil.copytree(REPOSITORY / directory, made / directory, symlinks=True)
    for document in REPOSITORY.glob("*.md"):
        shutil.copy2(document, made)

    def put(source: Path, at: Path) -> None:
        target = made / at.relative_to(REPOSITORY)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)

    put(suite.agent(arch), built.agent)
    for name, example in built.examples.items():
        # The tests look for it under its plain name, and that it is newer than its source.
        put(example, example.with_name(name))
    for test in built.tests.values():
        put(test, test)
    return made


def run(suite: Suite, part: str, node: Node, built: Built) -> None:
    """Runs each file of tests on a node that has their tree at /test/tree."""
    chosen = suite.options.tests or sorted(built.tests)
    if unknown := [name for name in chosen if name not in built.tests]:
        known = " ".join(sorted(built.tests))
        raise Missing(f"--tests {' '.join(unknown)}: expected some of: {known}")
    node.get(f"mkdir -p {REPOSITORY} && mount --bind /test/tree {REPOSITORY}")
    for name in chosen:
        binary = built.tests[name]
        command = f"cd {REPOSITORY} && SKYHOOK_TEST_STRICT=1 {binary}"
        suite.test(f"{part}: {name}", lambda: counted(node.run(command, SECONDS).ended(0).output))


def counted(output: str) -> str:
    """Returns how many tests passed, and which were skipped."""
    found = re.search(r"^test result: ok\. (\d+ passed); 0 failed;", output, re.MULTILINE)
    if not found:
        raise Failure(f"expected the result of tests, got:\n{output}")
    skipped = re.findall(r"^skipped: .*$", output, re.MULTILINE)
    return "; ".join([found[1], *skipped])
