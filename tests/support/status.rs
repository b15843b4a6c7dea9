//! `skyhook-agent status` of a node.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::files::files;
use super::node::Node;
use super::process::agent;
use super::text::stderr;

/// A flag as the agent writes it.
pub const FLAG: &str = "last_run: 2026-05-02T21:51:23.456789\nstep_always_runs: False";

/// `status` of the state and the logs of a node.
pub fn status(node: &Node, arguments: &[&str]) -> Command {
    let mut command = agent();
    command.arg("status").arg("--state-dir");
    command.arg(node.path("state"));
    command.arg("--log-dir").arg(node.path("log"));
    command.args(arguments);
    command
}

/// Its answer as JSON.
#[track_caller]
pub fn json_of(mut command: Command) -> Value {
    let output = command.args(["--output", "json"]).output().unwrap();
    assert_eq!(stderr(&output), "");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The only package of the answer.
#[track_caller]
pub fn package(node: &Node) -> Value {
    let document = json_of(status(node, &[]));
    let packages = document["packages"].as_array().unwrap();
    assert_eq!(packages.len(), 1, "{document}");
    packages[0].clone()
}

/// Writes a file of the node, and the directories above it.
pub fn write(node: &Node, path: &str, content: impl AsRef<[u8]>) {
    let path = node.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Every file below a directory, with its number, its times and its content.
pub fn snapshot(dir: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let one = |path: &std::path::PathBuf| {
        let metadata = fs::symlink_metadata(path).unwrap();
        let (ino, mtime, ctime) = (metadata.ino(), metadata.mtime_nsec(), metadata.ctime_nsec());
        let content = fs::read(path).unwrap_or_default();
        format!("{path:?} {ino} {mtime} {ctime} {content:?}")
    };
    files(dir).iter().map(one).collect()
}
