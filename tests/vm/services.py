"""Services on a node: restarts by interrupts, and a step that starts a daemon.

Promises: services are Debian's own, and each restart is proven by systemd and counted.
"""

import time

from node import Node, Package
from suite import expect

# A package for all that is not a whole life: its step starts a daemon.
HOLDER = {
    "config.json": """\
{
  "schema_version": "v1", "package_name": "holder", "package_version": "1.0.0",
  "expected_config_files": [],
  "modes": {
    "apply": [{"name": "start", "path": "start.sh", "arguments": [], "returncodes": [0],
               "on_host": true, "idempotence": true, "upgrade_step": false}],
    "apply-check": [{"name": "check", "path": "check.sh", "arguments": [], "returncodes": [0],
                     "on_host": true, "idempotence": false, "upgrade_step": false}]
  }
}
""",
    "skyhook_dir/start.sh": "#!/bin/sh\nsleep 300 &\necho started\n",
    "skyhook_dir/check.sh": "#!/bin/sh\nexec pgrep -x sleep\n",
}


def package(on: Node, resource: str) -> Package:
    """Puts the package of this part on the node, for a resource of its own."""
    made = Package("holder", "1.0.0", resource)
    on.stage(made, "holder")
    return made


def count_starts(on: Node, *units: str) -> None:
    """Lets units count their starts from now on."""
    for unit in units:
        drop_in = f"/etc/systemd/system/{unit}.service.d"
        on.get(
            f"mkdir -p {drop_in} && printf '[Service]\\nExecStartPre=+/bin/sh -c "
            f'"echo >>/run/starts-{unit}"\\n\' >{drop_in}/test.conf'
        )
    on.get("systemctl daemon-reload")


def starts(on: Node, unit: str) -> tuple[str, int]:
    """Returns the id of a unit's last start, and how often it has started since."""
    identity, *lines = on.get(
        f"systemctl show --value --property InvocationID {unit}; "
        f"if [ -e /run/starts-{unit} ]; then cat -n /run/starts-{unit}; fi"
    ).splitlines()
    return identity, len(lines)


def service_restart(on: Node) -> str:
    """Restarts two units of Debian, and says a second time that this is done."""
    units = ["systemd-logind", "systemd-udevd"]
    count_starts(on, *units)
    holder = package(on, "service-restart")
    before = [starts(on, unit) for unit in units]
    interrupt = {"type": "service_restart", "services": units}
    on.interrupt(holder, interrupt).end().ended(0).has(
        "systemctl daemon-reload\n", *(f"systemctl restart {unit}\n" for unit in units)
    )
    after = [starts(on, unit) for unit in units]
    for unit, (old, count), (new, counted) in zip(units, before, after):
        expect(new != old and counted == count + 1, f"{unit}: {old} {count}, {new} {counted}")
    flags = [f"service_restart_{i}.complete" for i in range(3)]
    expect(on.files(holder.interrupts) == flags, f"expected {flags}")
    on.interrupt(holder, interrupt).end().ended(0).has(
        *(f"Skipping interrupt service_restart_{i} because" for i in range(3))
    )
    expect([starts(on, unit) for unit in units] == after, "restarted again")
    return " and ".join(units)


def restart_all_services(on: Node) -> str:
    """`service procps force-reload` really is a restart of systemd-sysctl."""
    holder = package(on, "restart-all")
    on.get("echo vm.swappiness=41 >/etc/sysctl.d/90-test.conf")
    count_starts(on, "systemd-sysctl")
    old, count = starts(on, "systemd-sysctl")
    interrupt = {"type": "restart_all_services"}
    on.interrupt(holder, interrupt).end().ended(0).has("service procps force-reload\n")
    after = starts(on, "systemd-sysctl")
    expect(after[0] != old and after[1] == count + 1, f"expected a restart: {old} {count}, {after}")
    expect(on.get("cat /proc/sys/vm/swappiness") == "41", "expected the new value")
    flags = on.files(holder.interrupts)
    expect(flags == ["restart_all_services_0.complete"], f"expected its flag, got {flags}")
    on.interrupt(holder, interrupt).end().ended(0).has("Skipping interrupt restart_all_services_0")
    expect(starts(on, "systemd-sysctl") == after, "restarted again")
    return "systemd-sysctl"


def failing_units(on: Node) -> str:
    """A restart that fails ends the run, and is tried again by the next one."""
    on.get(
        "printf '[Service]\\nType=oneshot\\nExecStart=/bin/false\\n' "
        ">/etc/systemd/system/fails.service"
    )
    codes = []
    for unit in ("no-such-unit", "fails"):
        holder = package(on, unit)
        interrupt = {"type": "service_restart", "services": [unit, "systemd-udevd"]}
        before = starts(on, "systemd-udevd")
        for _ in range(2):
            done = on.interrupt(holder, interrupt).end().ended(1)
            code = {"no-such-unit": 5, "fails": 1}[unit]
            done.has(
                f"systemctl restart {unit}\n",
                f"INTERRUPT FAILED: ['systemctl', 'restart', '{unit}'] return_code: {code}",
            ).lacks("restart systemd-udevd")
            flags = on.files(holder.interrupts)
            expect(flags == ["service_restart_0.complete"], f"{unit}: left {flags}")
        expect(starts(on, "systemd-udevd") == before, "ran on after a failure")
        codes.append(f"{unit}: {code}")
    # Once the unit is there, the next start goes on with it.
    on.get("sed -i s,/bin/false,/bin/true, /etc/systemd/system/fails.service")
    on.get("systemctl daemon-reload")
    on.interrupt(holder, interrupt).end().ended(0).has("Skipping interrupt service_restart_0")
    expect(starts(on, "systemd-udevd")[1] == before[1] + 1, "expected the rest to run")
    return ", ".join(codes)


def held_output(on: Node) -> str:
    """A daemon keeps the step's output open: a notice after 10 s, an end in time."""
    holder = package(on, "held")
    notice = r"start\.sh ended 10s ago, but its output is held open by \d+ \(sleep\)"
    bounded = on.agent(holder, "apply", variables={"SKYHOOK_AGENT_DRAIN_TIMEOUT": "15"})
    bounded.expect(r"\[out\]\S+ started")
    began = time.monotonic()
    bounded.expect(notice)
    noticed = time.monotonic() - began
    bounded.end().ended(0).has(
        "start.sh has ended, but its output is held open by", "not waiting any longer"
    )
    ended = time.monotonic() - began
    # A loaded machine is slow, and never fast.
    expect(noticed > 9 and ended > 14, f"expected 10 s and 15 s, got {noticed} and {ended}")
    on.agent(holder, "apply-check").end().ended(0).has("SUCEEDED: check.sh")
    on.get("pkill -x sleep")

    unbounded = on.agent(holder, "apply")
    unbounded.expect(notice)
    on.get("pkill -x sleep")
    unbounded.end().ended(0).has("SUCEEDED: start.sh").lacks("not waiting any longer")
    return f"a notice after {noticed:.1f} s, the end after {ended:.1f} s"
