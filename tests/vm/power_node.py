"""What must be on a node's disk, by what the agent was told and has reported.

Promises: knows nothing of machines. `check` takes a tree as it was found, and names each
thing in it that breaks a promise.
"""

import json
import re
from dataclasses import dataclass, field

from power_life import HOST, NODE_FILES, RESOLV_CONF, Entry, Job, Package, Tree

STATE = "etc/skyhook"
FLAG = re.compile(
    rb"last_run: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\nstep_always_runs: (True|False)"
)
EPOCH_SECONDS = re.compile(rb"\d+\.\d+")
HISTORY_KEEPERS = ("apply-check", "upgrade-check", "uninstall-check")


@dataclass
class Node:
    """A node, as far as it is known."""

    begun: list[Job] = field(default_factory=list)
    ended: list[Job] = field(default_factory=list)
    # The versions that ended checks have written, oldest first.
    histories: dict[str, list[str]] = field(default_factory=dict)
    # Jobs whose work no uninstall has removed.
    standing: list[Job] = field(default_factory=list)
    # Packages whose uninstall has begun, and whose flags may be going.
    uninstalling: set[str] = field(default_factory=set)
    clearing: set[str] = field(default_factory=set)
    # The agent's own files that may be there since the last cut: no later run of their
    # package has ended that uses them.
    untidied: set[str] = field(default_factory=set)
    # What must be there, and what must not; with the package that it belongs to.
    required: dict[str, tuple[str, Entry | None]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    # What may be at a path of the host; None is nothing.
    allowed: dict[str, list[Entry | None]] = field(default_factory=dict)

    def begin(self, job: Job) -> None:
        """A job is about to be given to the agent, perhaps once more."""
        package, name = job.package, job.package.name
        if job not in self.begun:
            self.begun.append(job)
        if not job.mode.startswith("uninstall"):
            self.uninstalling.discard(name)
            self.clearing.discard(name)
            self.absent = {path: whose for path, whose in self.absent.items() if whose != name}
        else:
            self.uninstalling.add(name)
            self.forget(name, "opt/")
            self.standing = [other for other in self.standing if other.package.name != name]
        if job.mode == "uninstall-check":
            self.clearing.add(name)
            self.forget(name, package.state.rpartition("/")[0])
        if job not in self.standing:
            self.standing.append(job)
        for path, entry in laid(job).items():
            may = self.allowed.setdefault(path, [HOST.get(path)])
            if entry not in may:
                may.append(entry)

    def cut(self) -> None:
        """The power has been cut."""
        self.untidied = {own for job in self.begun for own in own_files(job)}

    def forget(self, name: str, prefix: str) -> None:
        """No longer requires what a package has at a path and below it."""
        self.required = {
            path: what
            for path, what in self.required.items()
            if what[0] != name or not path.startswith(prefix)
        }

    def end(self, job: Job) -> None:
        """A job has reported that all went well."""
        package, name, mode = job.package, job.package.name, job.mode
        self.ended.append(job)
        self.untidied -= own_files(job)

        def require(path: str, entry: Entry | None = None) -> None:
            self.required[path] = (name, entry)

        for path, laid_entry in laid(job).items():
            self.allowed[path] = [laid_entry]
        require(package.copy_dir)
        for step in package.steps(mode):
            for path, entry in package.effects(step).items():
                require(path, entry)
        if mode == "interrupt":
            for path in job.interrupt_flags():
                require(path)
            return
        require(f"{STATE}/flags/START")
        if mode.endswith("-check"):
            require(f"{STATE}/flags/check_results")
            require(f"{STATE}/flags/{mode}_ALL_CHECKED")
        else:
            for step in package.steps(mode):
                require(package.flag(step))
        if mode in HISTORY_KEEPERS:
            version = "uninstalled" if mode == "uninstall-check" else package.version
            self.histories.setdefault(name, []).append(version)
        if mode == "uninstall":
            self.absent[f"opt/{name}"] = name
        if mode == "uninstall-check":
            self.absent[f"{STATE}/flags/{name}"] = name

    def check(self, tree: Tree, is_settled: bool) -> list[str]:
        """Names what is wrong. A node is settled if no run was cut after the last one."""
        problems = list(self.check_state(tree, is_settled))
        problems += self.check_host(tree, is_settled)
        problems += self.check_flags(tree)
        problems += self.check_marks(tree)
        for name in {job.package.name for job in self.begun}:
            problems += self.check_history(tree, name)
        return problems

    def check_state(self, tree: Tree, is_settled: bool) -> list[str]:
        """Each file of the state is known, and whole."""
        problems = []
        flags = {
            job.package.flag(step)
            for job in self.begun
            if not job.mode.endswith("-check")
            for step in job.package.steps(job.mode)
        }
        interrupts = {flag for job in self.begun for flag in job.interrupt_flags()}
        results = [results_of(job) for job in self.begun if job.mode.endswith("-check")]
        for path, entry in tree.items():
            if is_temporary(path):
                if is_settled and path.rpartition("/")[2] not in self.untidied:
                    problems.append(f"{path}: left by a run that was cut, and the next one ended")
                continue
            if not path.startswith(f"{STATE}/") or entry.kind == "directory":
                continue
            below = path.removeprefix(f"{STATE}/")
            if below == "flags/START" or re.fullmatch(r"flags/[a-z-]+_ALL_CHECKED", below):
                is_whole = entry.content == b""
            elif below == "flags/check_results":
                is_whole = entry.content in results
            elif path in flags:
                is_whole = bool(FLAG.fullmatch(entry.content))
            elif path in interrupts:
                is_whole = bool(EPOCH_SECONDS.fullmatch(entry.content))
            elif re.fullmatch(r"history/(alpha|beta)\.json", below):
                # More in check_history.
                is_whole = entry.content.endswith(b"]}")
            else:
                problems.append(f"{path}: no file of the state")
                continue
            if not is_whole:
                problems.append(f"{path}: torn: {entry.content[:200]!r}")
        return problems

    def check_host(self, tree: Tree, is_settled: bool) -> list[str]:
        """What was reported is there; copies are whole, old or missing."""
        problems = []
        for path, (name, entry) in self.required.items():
            if path not in tree:
                problems.append(f"{path}: lost, and a run of {name} that needs it has ended with 0")
            elif entry and tree[path] != entry:
                problems.append(
                    f"{path}: {difference(tree[path], entry)}, and a run has ended with 0"
                )
        for path in self.absent:
            if any(is_below(other, path) for other in tree):
                problems.append(
                    f"{path}: there again, and the run that removed it has ended with 0"
                )
        for path, may in self.allowed.items():
            found = tree.get(path)
            if not any(is_same(found, entry, is_settled) for entry in may):
                problems.append(f"{path}: neither whole nor old: {describe(found)}")
        for package in packages(self.begun):
            at = package.copy_dir
            if at not in tree:
                continue
            for path, entry in (package.files() | NODE_FILES).items():
                found = tree.get(f"{at}/{path}".rstrip("/"))
                if not is_same(found, entry, True):
                    problems.append(f"{at}/{path}: not whole in COPY_DIR: {describe(found)}")
        return problems

    def check_flags(self, tree: Tree) -> list[str]:
        """A flag is not there without all that it promises."""
        problems = []
        for package in packages(self.begun):
            name = package.name
            for mode in package.modes:
                flags = [package.flag(step) for step in package.steps(mode)]
                for step, flag in zip(package.steps(mode), flags, strict=True):
                    if flag not in tree:
                        continue
                    promise = f"{flag} is there"
                    if package.copy_dir not in tree:
                        problems.append(f"{package.copy_dir}: lost, and {promise}")
                    for earlier in flags[: flags.index(flag)]:
                        if earlier not in tree and name not in self.clearing:
                            problems.append(f"{earlier}: lost, and {promise}")
                    if mode == "uninstall":
                        if any(is_below(path, f"opt/{name}") for path in tree):
                            problems.append(f"opt/{name}: still there, and {promise}")
                        continue
                    if name in self.uninstalling:
                        continue
                    problems += missing(tree, package, step, promise)
                    for path in package.overlay():
                        if tree.get(path) in (None, HOST.get(path)):
                            problems.append(f"{path}: not laid over the host, and {promise}")
        return problems

    def check_marks(self, tree: Tree) -> list[str]:
        """A mark that all was checked is not there without what one of the checks has left."""
        problems = []
        for mode in {job.mode for job in self.begun if job.mode.endswith("-check")}:
            mark = f"{STATE}/flags/{mode}_ALL_CHECKED"
            jobs = [job for job in self.begun if job.mode == mode]
            # It says nothing if it may be of a check whose work is gone.
            if mark not in tree or any(job not in self.standing for job in jobs):
                continue
            lost = [
                [
                    problem
                    for step in job.package.steps(mode)
                    for problem in missing(tree, job.package, step, f"{mark} is there")
                ]
                for job in jobs
            ]
            if all(lost):
                problems += lost[0]
        return problems

    def check_history(self, tree: Tree, name: str) -> list[str]:
        """The history has each version that was reported, and no other one."""
        path = f"{STATE}/history/{name}.json"
        ended = once(self.histories.get(name, []))
        may = [ended]
        for job in self.begun:
            if job.package.name == name and job.mode in HISTORY_KEEPERS and job not in self.ended:
                version = "uninstalled" if job.mode == "uninstall-check" else job.package.version
                may.append(once([*ended, version]))
        if path not in tree:
            return [f"{path}: lost, expected {ended}"] if ended else []
        try:
            history = json.loads(tree[path].content)
            versions = [entry["version"] for entry in history["history"]]
            newest = history["current-version"]
        except (ValueError, KeyError, TypeError) as error:
            return [f"{path}: torn: {error}: {tree[path].content[:200]!r}"]
        problems = []
        if once(versions[::-1]) not in may:
            problems.append(f"{path}: expected one of {may}, oldest first, got {versions[::-1]}")
        if versions[:1] != [newest]:
            problems.append(f"{path}: current-version {newest!r} is not the newest of {versions}")
        flags = f"{STATE}/flags/{name}"
        if newest == "uninstalled" and name in self.clearing and flags in tree:
            problems.append(f"{flags}: still there, and the history says uninstalled")
        return problems


def own_files(job: Job) -> set[str]:
    """The names of the agent's own files that a job uses, and so tidies up."""
    # An interrupt does not take the lock of the state.
    kinds = ["run"] if job.mode == "interrupt" else ["run", "state", "new"]
    return {f".skyhook-agent-{job.package.name}.{kind}" for kind in kinds}


def laid(job: Job) -> Tree:
    """What a job lays over the host."""
    resolv_conf = {"etc/resolv.conf": Entry("file", 0o644, RESOLV_CONF)}
    if job.mode == "interrupt" or job.mode.startswith("uninstall"):
        return resolv_conf
    return resolv_conf | job.package.overlay()


def missing(tree: Tree, package: Package, step: str, promise: str) -> list[str]:
    """Names what a step has left and is not there."""
    problems = [
        f"{path}: {difference(tree.get(path), entry)}, and {promise}"
        for path, entry in package.effects(step).items()
        if tree.get(path) != entry
    ]
    journal = tree.get(f"opt/{package.name}/journal")
    line = f"{package.version} {step}".encode()
    if "uninstall" not in step and (not journal or line not in journal.content.split(b"\n")):
        problems.append(f"opt/{package.name}/journal: has no line of {step}, and {promise}")
    return problems


def results_of(job: Job) -> bytes:
    """What `check_results` has after a job."""
    return "\n".join("work_check.sh False" for _ in job.package.steps(job.mode)).encode()


def packages(jobs: list[Job]) -> list[Package]:
    """All packages of jobs, each once."""
    found: list[Package] = []
    for job in jobs:
        if job.package not in found:
            found.append(job.package)
    return found


def once(versions: list[str]) -> list[str]:
    """Leaves one of equal neighbours: a run that is repeated adds its version again."""
    return [version for i, version in enumerate(versions) if [version] != versions[i - 1 : i]]


def is_temporary(path: str) -> bool:
    """Tells if a name is one that the agent gives while it works."""
    name = path.rpartition("/")[2]
    return name.startswith(".skyhook-agent-") or name.endswith(".partial")


def is_below(path: str, above: str) -> bool:
    """Tells if a path is another one, or below it."""
    return path == above or path.startswith(f"{above}/")


def is_same(found: Entry | None, expected: Entry | None, is_settled: bool) -> bool:
    """Tells if two are the same. The mode of a directory may come after its name."""
    if found and expected and found.kind == expected.kind == "directory" and not is_settled:
        return True
    return found == expected


def difference(found: Entry | None, expected: Entry) -> str:
    """Says how a thing is not as it was expected."""
    return f"expected {describe(expected)}, got {describe(found)}"


def describe(entry: Entry | None) -> str:
    """Describes what is at a path."""
    if not entry:
        return "nothing"
    end = f", beginning with {entry.content[:40]!r}" if entry.content else ""
    return f"a {entry.kind}, mode {entry.mode:o}, {len(entry.content)} bytes{end}"
