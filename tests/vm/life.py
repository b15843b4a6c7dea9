"""A whole life of a package, with a reboot in it, in the order of the operator.

Promises: each mode is run and checked as the operator does it, by what a package's author
and the operator can see: exit codes, the flags, the history, and what is on the node.
"""

import json

from node import STATE, Node, Package
from suite import expect

NAME = "tuning"
SERVICE = f"""\
[Unit]
Description=Part of a package

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'cat /proc/sys/kernel/random/boot_id >/var/lib/{NAME}.boot'

[Install]
WantedBy=multi-user.target
"""
SYSCTL = f"/etc/sysctl.d/90-{NAME}.conf"
STEPS = {
    "apply.sh": f"""\
mkdir -p /var/lib/{NAME}
echo "$STEP_ROOT" >/var/lib/{NAME}/applied
systemctl daemon-reload
systemctl enable {NAME}.service
""",
    "apply_check.sh": f"systemctl is-enabled {NAME}.service && test -s /var/lib/{NAME}/applied\n",
    "config.sh": f'install -m 644 "$SKYHOOK_DIR/configmaps/swappiness" {SYSCTL}\n',
    "config_check.sh": f'cmp "$SKYHOOK_DIR/configmaps/swappiness" {SYSCTL}\n',
    # The reboot has brought the service up, and the configuration into the kernel.
    "post_interrupt.sh": f"""\
cmp /proc/sys/kernel/random/boot_id /var/lib/{NAME}.boot
wanted=$(cut -d = -f 2 "$SKYHOOK_DIR/configmaps/swappiness")
[ "$(cat /proc/sys/vm/swappiness)" = "$wanted" ]
cp /proc/sys/kernel/random/boot_id /var/lib/{NAME}/interrupted
""",
    "post_interrupt_check.sh": f"cmp /proc/sys/kernel/random/boot_id /var/lib/{NAME}/interrupted\n",
    "upgrade.sh": f"""\
echo "$# $1 $2 $PREVIOUS_VERSION $CURRENT_VERSION" >/var/lib/{NAME}/upgraded
""",
    "upgrade_check.sh": f"""\
[ "$(cat /var/lib/{NAME}/upgraded)" = "2 1.0.0 2.0.0 1.0.0 2.0.0" ]
""",
    "uninstall.sh": f"""\
systemctl disable --now {NAME}.service
rm -rf /var/lib/{NAME} /var/lib/{NAME}.boot {SYSCTL} /etc/systemd/system/{NAME}.service
systemctl daemon-reload
""",
    "uninstall_check.sh": f"! systemctl cat {NAME}.service && [ ! -e {SYSCTL} ]\n",
}
MODES = ("apply", "config", "post-interrupt", "upgrade", "uninstall")


def files(version: str) -> dict[str, str]:
    """Returns the files of the package in a version, by their paths."""
    config = {
        "schema_version": "v1",
        "package_name": NAME,
        "package_version": version,
        "expected_config_files": ["swappiness"],
        "modes": {
            name: [step(f"{name.replace('-', '_')}.sh", name.startswith("upgrade"))]
            for mode in MODES
            for name in (mode, f"{mode}-check")
        },
    }
    return {
        "config.json": json.dumps(config),
        f"root_dir/etc/systemd/system/{NAME}.service": SERVICE,
        **{f"skyhook_dir/{path}": f"#!/bin/sh -eux\n{text}" for path, text in STEPS.items()},
    }


def step(path: str, is_upgrade: bool = False) -> dict[str, object]:
    """Returns a step, as config.json has it."""
    return {
        "name": path,
        "path": path,
        "arguments": [],
        "returncodes": [0],
        "on_host": True,
        "idempotence": False,
        "upgrade_step": is_upgrade,
    }


PACKAGES = {f"{NAME}-{version}": files(version) for version in ("1.0.0", "2.0.0")}


def whole_life(node: Node) -> str:
    """Lives it: install, reboot, upgrade, reboot, uninstall. Returns what to say of it."""
    first = Package(NAME, "1.0.0", "node-7")
    second = Package(NAME, "2.0.0", "node-8")
    boots = [node.boot]

    stage(node, first, "vm.swappiness=17\n")
    both(node, first, "apply", ["1.0.0"])
    both(node, first, "config", ["1.0.0"])
    boots.append(reboot(node, first))
    both(node, first, "post-interrupt", ["1.0.0"])

    stage(node, second, "vm.swappiness=23\n")
    both(node, second, "upgrade", ["2.0.0", "1.0.0"])
    both(node, second, "config", ["2.0.0", "1.0.0"])
    boots.append(reboot(node, second))
    both(node, second, "post-interrupt", ["2.0.0", "1.0.0"])
    # What is done is not done again, and what was configured again is.
    node.agent(second, "post-interrupt").end().ended(0).has("Skipping post_interrupt.sh")
    node.agent(second, "config").end().ended(0).has("SUCEEDED: config.sh")

    both(node, second, "uninstall", ["uninstalled", "2.0.0", "1.0.0"])
    left = [file for file in node.files(f"{STATE}/flags") if file.startswith(f"{NAME}/")]
    expect(not left, f"expected no flag of a step after uninstall-check, got {left}")
    found = node.get("find / -xdev -path /proc -prune -o -name '*.skyhook-agent-*.tmp' -print")
    expect(not found, f"expected no temporary file, got {found}")
    expect(len(set(boots)) == 3, f"expected three boots, got {boots}")
    expect(node.get("cat /proc/sys/kernel/random/boot_id") == boots[-1], "rebooted once more")
    return "two versions, two reboots, 18 runs"


def stage(node: Node, package: Package, swappiness: str) -> None:
    """Puts the package and its configuration on the node, as the operator does."""
    node.stage(package, f"{package.name}-{package.version}")
    node.get(
        f"mkdir {package.copy_dir}/configmaps && "
        f"echo {swappiness.strip()} >{package.copy_dir}/configmaps/swappiness"
    )


def both(node: Node, package: Package, mode: str, versions: list[str]) -> None:
    """Runs a mode and its check, and looks at what they leave."""
    name = mode.replace("-", "_")
    node.agent(package, mode).end().ended(0).has(f"SUCEEDED: {name}.sh")
    node.agent(package, f"{mode}-check").end().ended(0).has(f"SUCEEDED: {name}_check.sh")
    flags = f"{STATE}/flags"
    # Of a step without arguments and with the code 0.
    flag = f"{flags}/{package.name}/{package.version}/{name}.sh_W11fWzBd"
    wanted = "test ! -e" if mode == "uninstall" else "test -f"
    results, history = node.get(
        f"cd {flags} && cat check_results && echo && test -f {mode}-check_ALL_CHECKED && "
        f"{wanted} {flag} && cat {STATE}/history/{package.name}.json"
    ).splitlines()
    expect(results == f"{name}_check.sh False", f"expected a good check, got {results!r}")
    found = json.loads(history)
    expect(found["current-version"] == versions[0], f"{mode}: got {history}")
    past = [entry["version"] for entry in found["history"]]
    expect(past == versions, f"after {mode}-check: expected {versions}, got {past}")


def reboot(node: Node, package: Package, kind: str = "unit") -> str:
    """Reboots the node by the package's interrupt. Returns the new boot's id.

    Fails if the end is not seen as the contract has it (§11).
    """
    before = node.boot
    run = node.interrupt(package, {"type": "node_restart"}, kind)
    run.end().ended(0).lacks("INTERRUPT FAILED", "has not gone down")
    node.has_booted()
    expect(node.boot != before, f"expected another boot id than {before}")
    left = node.get(f"cd {package.interrupts} && echo * && cat {FLAGS[0]}").splitlines()
    expect(left == [" ".join(FLAGS), before], f"expected {FLAGS} and {before}, got {left}")
    is_done(node, package, kind)
    return node.boot


# What a reboot that is asked for leaves in the directory of the interrupt.
FLAGS = ["node_restart_0.boot", "node_restart_0.complete"]


def is_done(node: Node, package: Package, kind: str = "unit") -> None:
    """Fails unless the next starts say that the reboot is done, and do not reboot."""
    for _ in range(2):
        again = node.interrupt(package, {"type": "node_restart"}, kind).end().ended(0)
        again.has(
            "Skipping interrupt node_restart_0 because it was already run for "
            + package.resource_id
        )
    now = node.get(
        f"cat /proc/sys/kernel/random/boot_id; ls -A {package.interrupts}; systemctl list-jobs"
    ).splitlines()
    wanted = [node.boot, FLAGS[1], "No jobs running."]
    expect(now == wanted, f"expected {wanted}, got {now}")
