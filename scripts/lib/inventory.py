#!/usr/bin/env python3
"""Lists all that is linked into the binary: crates, Rust's library, and the C library.

    inventory.py sbom TARGET RUSTC CC                   prints a CycloneDX document
    inventory.py licences DIR [TARGET RUSTC CC]...      writes licence texts into DIR

TARGET is the triple that a binary is built for, with this rustc and this C compiler.
The same source and the same tools give the same output. The time comes from
SOURCE_DATE_EPOCH. Needs cargo, and a C library that Debian's dpkg knows.
"""

import collections
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import urllib.parse
import uuid

PROGRAM = "skyhook-agent"
LICENCE_FILE = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)


def fail(problem):
    sys.exit(f"inventory: {problem}")


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


class Crates:
    """The crates that are linked in: those of builds and of tests are not."""

    def __init__(self, target):
        options = ("--locked", "--target", target, "--edges", "normal,no-proc-macro")
        tree = output("cargo", "tree", *options, "--prefix", "none", "--format", "{p}")
        linked = {tuple(line.split(" v")) for line in re.sub(r" \(.*\)", "", tree).splitlines()}
        metadata = json.loads(output("cargo", "metadata", "--locked", "--format-version", "1"))
        packages = {(p["name"], p["version"]): p for p in metadata["packages"]}
        self.packages = [packages[key] for key in sorted(linked)]
        self.dependencies = self._dependencies(metadata)
        self.checksums = dict(
            re.findall(
                r'name = "(.+)"\nversion = "(?:.+)"\nsource = ".+"\nchecksum = "(.+)"',
                pathlib.Path("Cargo.lock").read_text("utf-8"),
            )
        )

    def _dependencies(self, metadata):
        known = {p["id"]: p for p in self.packages}
        dependencies = {}
        for node in metadata["resolve"]["nodes"]:
            if node["id"] in known:
                linked = [known[d["pkg"]] for d in node["deps"] if d["pkg"] in known and
                          any(kind["kind"] is None for kind in d["dep_kinds"])]
                dependencies[purl(known[node["id"]])] = sorted(purl(p) for p in linked)
        return dependencies


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


Library = collections.namedtuple("Library", "name version licence purl notices")


def debian_package(path):
    """The name, version and architecture of the package that has this file."""
    found = subprocess.run(("dpkg", "-S", os.path.realpath(path)), capture_output=True, text=True)
    if found.returncode != 0:
        return None
    package = found.stdout.split(": ")[0]
    fields = "${Package} ${Version} ${Architecture}"
    return output("dpkg-query", "--show", "--showformat", fields, package).split()


def debian_library(path, licence):
    name, version, architecture = debian_package(path) or fail(
        f"{path}: expected a file of a Debian package, which has its licence"
    )
    package = f"pkg:deb/debian/{name}@{urllib.parse.quote(version)}?arch={architecture}"
    return Library(name, version, licence, package, f"/usr/share/doc/{name}/copyright")


def libraries(target, rustc, cc):
    """Rust's library, and those of C that a static binary takes in."""
    directory = output(rustc, "--print", "target-libdir", "--target", target).strip()
    standard = next(iter(pathlib.Path(directory).glob("libstd-*.rlib")), None)
    if standard is None:
        fail(f"{directory}: expected Rust's standard library for {target}")
    if debian_package(standard):
        yield debian_library(standard, "MIT OR Apache-2.0")
    else:
        version = output(rustc, "--version").split()[1]
        sysroot = output(rustc, "--print", "sysroot").strip()
        notices = f"{sysroot}/share/doc/rust/COPYRIGHT-library.html"
        yield Library("rust-std", version, "MIT OR Apache-2.0", f"pkg:generic/rust-std@{version}", notices)
    for name, licence in (
        ("libc.a", "LGPL-2.1-or-later"),
        ("libgcc_eh.a", "GPL-3.0-or-later WITH GCC-exception-3.1"),
    ):
        yield debian_library(output(cc, f"-print-file-name={name}").strip(), licence)


def crate_component(package, checksums):
    component = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "licenses": [{"expression": package["license"].replace("/", " OR ")}],
        "purl": purl(package),
    }
    if package["name"] in checksums:
        component["hashes"] = [{"alg": "SHA-256", "content": checksums[package["name"]]}]
    if package["repository"]:
        component["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return component


def library_component(library):
    return {
        "type": "library",
        "bom-ref": library.purl,
        "name": library.name,
        "version": library.version,
        "licenses": [{"expression": library.licence}],
        "purl": library.purl,
    }


def sbom(target, rustc, cc):
    crates = Crates(target)
    linked = list(libraries(target, rustc, cc))
    agent = next(p for p in crates.packages if p["name"] == PROGRAM)
    components = [crate_component(p, crates.checksums) for p in crates.packages if p is not agent]
    components += [library_component(library) for library in linked]
    dependencies = crates.dependencies
    dependencies[purl(agent)] += [library.purl for library in linked]
    dependencies.update({library.purl: [] for library in linked})
    time = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": dict(crate_component(agent, {}), type="application"),
            "properties": [{"name": "cdx:rustc:sbom:target:triple", "value": target}],
        },
        "components": components,
        "dependencies": [{"ref": ref, "dependsOn": on} for ref, on in sorted(dependencies.items())],
    }
    # A number made from the content, so that it is the same each time.
    content = json.dumps(document, sort_keys=True)
    document["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, content).urn
    print(json.dumps(document, indent=2))


def licences(directory, builds):
    """Writes crates.txt, which has each text once, and the notices of the libraries."""
    packages = {p["id"]: p for target, _, _ in builds for p in Crates(target).packages}
    users = collections.defaultdict(list)
    for package in sorted(packages.values(), key=purl):
        if package["name"] == PROGRAM:
            continue
        folder = pathlib.Path(package["manifest_path"]).parent
        files = [path for path in sorted(folder.iterdir()) if LICENCE_FILE.match(path.name)]
        texts = {path.read_text("utf-8").strip() for path in files if path.is_file()}
        if not texts:
            fail(f"{folder}: expected a file with the text of {package['license']}")
        for text in texts:
            users[text].append(f"{package['name']} {package['version']} ({package['license']})")
    with open(directory / "crates.txt", "w", encoding="utf-8") as file:
        for text, names in sorted(users.items(), key=lambda item: (item[1], item[0])):
            print("=" * 80, *names, "=" * 80, "", text, "", sep="\n", file=file)
    for library in {library for build in builds for library in libraries(*build)}:
        notices = pathlib.Path(library.notices)
        if not notices.is_file():
            fail(f"{notices}: expected the notices of {library.name}")
        name = f"{library.name}-{library.version}{notices.suffix or '.txt'}"
        (directory / name).write_bytes(notices.read_bytes())


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["sbom", target, rustc, cc]:
            sbom(target, rustc, cc)
        case ["licences", directory, *words] if words and len(words) % 3 == 0:
            licences(pathlib.Path(directory), [words[i : i + 3] for i in range(0, len(words), 3)])
        case _:
            sys.exit("usage: inventory.py sbom TARGET RUSTC CC | licences DIR [TARGET RUSTC CC]...")
