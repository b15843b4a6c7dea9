"""The life of two packages on one node: what they are, and what the agent is told.

Promises: each step leaves files in the way of a careless script, without a sync, and what
it leaves is known to the byte.
"""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

CHECKED_MODES = ("apply", "config", "post-interrupt", "upgrade", "uninstall")

WORK = b"""\
#!/bin/sh
# work.sh NAME: leaves new files in new directories, a line in a file that is there, a
# file that was renamed, and a link.
set -e
top=/opt/$PACKAGE
case $1 in
    uninstall-check-*) top=/opt/gone-$PACKAGE ;;
    uninstall-*) rm -rf "$top"; exit ;;
esac
at=$top/$VERSION/$1
mkdir -p "$at/a/b"
yes "$PACKAGE $VERSION $1" | head -n 2000 >"$at/a/b/data"
yes "$1 $VERSION $PACKAGE" | head -n 100 >"$at/new"
mv "$at/new" "$at/renamed"
ln -sfn a/b/data "$at/link"
echo "$VERSION $1" >>"$top/journal"
[ -z "${CURRENT_VERSION:-}" ] || echo "$PREVIOUS_VERSION to $CURRENT_VERSION" >"$at/versions"
"""


@dataclass(frozen=True)
class Entry:
    """What is at a path: a file, a directory, or a link."""

    kind: str
    mode: int
    content: bytes = b""


Tree = dict[str, Entry]


@dataclass(frozen=True)
class Package:
    """One version of a package."""

    name: str
    version: str
    # How many steps its modes have, if not one.
    counts: dict[str, int] = field(default_factory=dict, hash=False)
    modes: tuple[str, ...] = CHECKED_MODES
    # The version that it upgrades.
    previous: str = ""

    @property
    def copy_dir(self) -> str:
        return f"var/lib/skyhook/{self.name}-{self.version}"

    @property
    def state(self) -> str:
        return f"etc/skyhook/flags/{self.name}/{self.version}"

    def steps(self, mode: str) -> list[str]:
        """Names the steps of a mode."""
        if mode.removesuffix("-check") not in self.modes:
            return []
        return [f"{mode}-{i + 1}" for i in range(self.counts.get(mode, 1))]

    def flag(self, step: str) -> str:
        """The path of a step's flag: the marker is made as Python prints lists."""
        marker = base64.b64encode(f"{[step]}_{[0]}".encode()).decode()
        return f"{self.state}/work.sh_{marker}"

    def config(self) -> dict[str, Any]:
        """The package's config.json."""
        return {
            "schema_version": "v1",
            "package_name": self.name,
            "package_version": self.version,
            "expected_config_files": ["settings"],
            "modes": {
                mode: [self.step(name) for name in self.steps(mode)]
                for base in self.modes
                for mode in (base, f"{base}-check")
            },
        }

    def step(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "path": "work_check.sh" if "-check-" in name else "work.sh",
            "arguments": [name],
            "returncodes": [0],
            "on_host": True,
            # The last of several runs every time.
            "idempotence": name.endswith("-3"),
            "upgrade_step": False,
            "env": {"PACKAGE": self.name, "VERSION": self.version},
        }

    def files(self) -> Tree:
        """All that is in the package."""
        tree = {
            "": Entry("directory", 0o755),
            "config.json": Entry("file", 0o644, json.dumps(self.config(), indent=1).encode()),
            "configmaps": Entry("directory", 0o755),
            "configmaps/settings": Entry("file", 0o644, b"setting = 1\n" * 100),
            "skyhook_dir": Entry("directory", 0o755),
            "skyhook_dir/work.sh": Entry("file", 0o755, WORK),
            "skyhook_dir/work_check.sh": Entry("file", 0o755, WORK),
            "skyhook_dir/data": Entry("file", 0o600, f"{self.version}\n".encode() * 20000),
            "root_dir": Entry("directory", 0o755),
        }
        for path in ("etc", "usr", "usr/lib"):
            tree[f"root_dir/{path}"] = Entry("directory", 0o755)
        tree |= {f"root_dir/{path}": entry for path, entry in self.overlay().items()}
        return tree

    def overlay(self) -> Tree:
        """What the package lays over the host."""
        mine = f"usr/lib/{self.name}"
        text = f"{self.name} {self.version}\n".encode()
        return {
            f"etc/{self.name}.conf": Entry("file", 0o640, text * 500),
            mine: Entry("directory", 0o775),
            f"{mine}/{self.version}": Entry("directory", 0o750),
            f"{mine}/{self.version}/tool": Entry("file", 0o755, text * 3000),
            f"{mine}/version": Entry("file", 0o644, text),
            f"{mine}/current": Entry("link", 0o777, self.version.encode()),
        }

    def effects(self, step: str) -> Tree:
        """What a step leaves, if the package is not uninstalled after it."""
        if step.startswith("uninstall-check"):
            top = f"opt/gone-{self.name}"
        elif step.startswith("uninstall"):
            return {}
        else:
            top = f"opt/{self.name}"
        at = f"{top}/{self.version}/{step}"
        tree = {
            f"{at}/a/b/data": file(f"{self.name} {self.version} {step}\n" * 2000),
            f"{at}/renamed": file(f"{step} {self.version} {self.name}\n" * 100),
            f"{at}/link": Entry("link", 0o777, b"a/b/data"),
        }
        if step.startswith("upgrade-") and "check" not in step:
            tree[f"{at}/versions"] = file(f"{self.previous} to {self.version}\n")
        return tree


def file(text: str) -> Entry:
    """A file as a step leaves it."""
    return Entry("file", 0o644, text.encode())


@dataclass(frozen=True)
class Job:
    """One run of the agent."""

    number: int
    package: Package
    mode: str
    # Without a root mount, as operators gave it at first.
    is_legacy: bool = False

    @property
    def resource(self) -> str:
        return f"node_{self.package.name}_{self.package.version}"

    def command(self) -> str:
        """The line for the guest."""
        package = self.package
        words = ["job", str(self.number), f"/packages/{package.name}-{package.version}"]
        words += [self.resource, self.mode]
        words += [] if self.is_legacy else ["/root"]
        words.append(f"/{package.copy_dir}")
        if self.mode == "interrupt":
            data = {"type": "service_restart", "services": [package.name]}
            words.append(base64.b64encode(json.dumps(data).encode()).decode())
        return " ".join(words)

    def interrupt_flags(self) -> list[str]:
        """What an interrupt sets: one flag for a daemon-reload, one for the restart."""
        at = f"etc/skyhook/interrupts/flags/{self.resource}"
        return [f"{at}/service_restart_{i}.complete" for i in range(2)]


def life() -> list[list[Job]]:
    """All that is done, in order. What is in one list runs side by side."""
    alpha_1 = Package("alpha", "1.0.0", {"apply": 3, "apply-check": 2})
    alpha_2 = Package("alpha", "2.0.0", {"upgrade": 2, "config": 2}, previous="1.0.0")
    beta = Package("beta", "5.1.0", {"apply": 2}, ("apply", "config", "uninstall"))
    plan: list[list[tuple[Package, str]]] = [
        [(alpha_1, "apply")],
        [(alpha_1, "apply-check")],
        [(alpha_1, "config"), (beta, "apply")],
        [(alpha_1, "config-check"), (beta, "apply-check")],
        [(alpha_1, "interrupt")],
        [(alpha_1, "post-interrupt"), (beta, "config")],
        [(alpha_1, "post-interrupt-check"), (beta, "interrupt")],
        [(alpha_2, "upgrade")],
        [(alpha_2, "upgrade-check"), (beta, "config-check")],
        [(alpha_2, "config")],
        [(alpha_2, "uninstall"), (beta, "uninstall")],
        [(alpha_2, "uninstall-check"), (beta, "uninstall-check")],
        # Once more: each step has to run again.
        [(alpha_1, "apply"), (beta, "apply")],
        [(alpha_1, "apply-check")],
    ]
    jobs: list[list[Job]] = []
    number = 0
    for side_by_side in plan:
        batch = []
        for package, mode in side_by_side:
            batch.append(Job(number, package, mode, is_legacy=number < 2))
            number += 1
        jobs.append(batch)
    return jobs


# What the host has before the agent comes.
HOST: Tree = {
    "etc/alpha.conf": Entry("file", 0o644, b"the host's own\n" * 10),
    "etc/resolv.conf": Entry("file", 0o644, b"nameserver 192.0.2.1\n"),
}
RESOLV_CONF = b"nameserver 192.0.2.53\n" * 30
NODE_FILES: Tree = {"skyhook_dir/node": Entry("file", 0o644, b"of the node\n" * 1000)}
