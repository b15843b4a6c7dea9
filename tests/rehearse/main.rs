//! `skyhook-agent rehearse`, as the real binary. Root rehearses on this machine's own root,
//! and nothing of what the packages do reaches it. An ordinary user, who cannot write to
//! directories of root even in a view, rehearses on a root of its own.

#[path = "../support/mod.rs"]
mod support;

mod cuts;
mod findings;
mod help;
mod hostile;
mod options;
mod report;
mod terminal;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::Value;
use support::{Skip, agent, is_root, stderr, stdout};
use tempfile::TempDir;

/// A package of the tests.
fn package(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata/rehearse")
        .join(name)
}

/// The programs that the packages use.
const TOOLS: &str =
    "/bin/sh cat chmod cmp cut env grep ls mkdir mv rm rmdir setsid sleep sort touch tr";

/// The root to rehearse on.
fn root() -> &'static Path {
    static OWN: OnceLock<TempDir> = OnceLock::new();
    if is_root() {
        return Path::new("/");
    }
    OWN.get_or_init(|| {
        let root = TempDir::new().unwrap();
        let script = format!(
            "for tool in {TOOLS}; do\n\
                 tool=$(command -v $tool)\n\
                 cp -L --parents $tool $(ldd $tool | grep -o '/[^ ]*') \"$0\"\n\
             done\n\
             # Stand-ins need what the agent needs.\n\
             cp -L --parents $(ldd \"$1\" | grep -o '/[^ ]*') \"$0\"\n\
             mkdir -p \"$0/etc\" \"$0/var/lib\" \"$0/var/log\""
        );
        let mut sh = Command::new("/bin/sh");
        sh.args(["-c", &script]).arg(root.path());
        let status = sh.arg(agent().get_program()).status();
        assert!(status.unwrap().success());
        root
    })
    .path()
}

/// `rehearse` with these arguments, and a package after them.
fn rehearse(arguments: &[&str], package: &Path) -> Command {
    let mut command = agent();
    command.arg("rehearse");
    if !is_root() && !arguments.contains(&"--root") {
        command.arg("--root").arg(root());
    }
    command.args(arguments).arg(package).stdin(Stdio::null());
    command
}

/// Runs a rehearsal and reads its JSON document.
#[track_caller]
fn document(arguments: &[&str], package: &Path) -> (Value, Output) {
    let arguments = [&["--output", "json"], arguments].concat();
    let output = rehearse(&arguments, package).output().unwrap();
    let document = serde_json::from_slice(&output.stdout);
    let document = document.unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (document, output)
}

/// Tells if this user can have a view here. As root it must be so.
fn can_have_a_view() -> Result<(), Skip> {
    static CAN: OnceLock<bool> = OnceLock::new();
    let can = *CAN.get_or_init(|| {
        let output = rehearse(&["--no-cut"], &package("good")).output().unwrap();
        let can = stdout(&output).contains("First pass");
        assert!(can || !is_root(), "{output:?}");
        assert!(can || stderr(&output).lines().count() == 1, "{output:?}");
        can
    });
    match can {
        true => Ok(()),
        false => Err(Skip::NotPossible("this user can have no view here")),
    }
}

/// Asserts that the root has nothing of the packages.
#[track_caller]
fn assert_root_untouched() {
    for dir in ["etc", "var/lib/skyhook", "var/log/skyhook"] {
        for entry in std::fs::read_dir(root().join(dir)).into_iter().flatten() {
            let name = entry.unwrap().file_name();
            assert!(!name.to_string_lossy().starts_with("rehearse"), "{name:?}");
        }
    }
}

/// The outcome of each stage: `first/apply succeeded`.
fn outcomes(document: &Value) -> Vec<String> {
    let stages = document["stages"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    stages
        .map(|stage| {
            let [pass, mode, outcome] = ["pass", "mode", "outcome"].map(|key| text(&stage[key]));
            format!("{pass}/{mode} {outcome}")
        })
        .collect()
}
