//! Reads the agent's own lines on stderr.

use std::io;
use std::process::Output;

use nix::errno::Errno;

use crate::support::{Node, names, stderr};

/// The agent's own lines, without their prefix. Such a line follows what the step
/// wrote, which may be a part of a line.
pub(crate) fn notices(output: &Output) -> Vec<String> {
    let notice = |line: &str| {
        let (before, notice) = line.split_once("skyhook-agent: ")?;
        // The dynamic loader names the agent by its path.
        (!before.ends_with('/')).then(|| notice.to_owned())
    };
    stderr(output).lines().filter_map(notice).collect()
}

/// The notice of a sink that failed.
pub(crate) fn sink_failed(sink: &str, why: Errno) -> String {
    let why = io::Error::from(why);
    format!("cannot write to {sink}: {why}; nothing more goes there, everything else goes on")
}

/// The notice of how much a sink has missed, at the run's end.
pub(crate) fn bytes_lost(sink: &str, bytes: usize) -> String {
    format!("{bytes} bytes lost on {sink}")
}

/// The name that notices give to the only log of a step.
pub(crate) fn log_name(node: &Node, step: &str) -> String {
    let dir = node.package_logs();
    let names = names(&dir);
    let is_log = |name: &&String| name.starts_with(step) && name.ends_with(".log");
    let name = names.iter().find(is_log).unwrap();
    format!("{}//{name}", dir.display())
}
