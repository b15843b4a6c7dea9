//! What the agent itself says on stderr.

use std::io;
use std::path::PathBuf;
use std::process::Output;

use nix::errno::Errno;

use crate::support::{Package, names, stderr};

/// The agent's own lines, without what stands in front of them: they come right
/// behind what the step has said, which may be a part of a line.
pub(crate) fn notices(output: &Output) -> Vec<String> {
    let notice = |line: &str| {
        let (before, notice) = line.split_once("skyhook-agent: ")?;
        // The loader calls the agent by its path.
        (!before.ends_with('/')).then(|| notice.to_owned())
    };
    stderr(output).lines().filter_map(notice).collect()
}

/// That a sink has failed.
pub(crate) fn dropped(sink: &str, why: Errno) -> String {
    let why = io::Error::from(why);
    format!("cannot write to {sink}: {why}; nothing more goes there, everything else goes on")
}

/// How much a sink has missed in the end.
pub(crate) fn lost(sink: &str, bytes: usize) -> String {
    format!("{bytes} bytes lost on {sink}")
}

/// What the agent calls the one log of a step.
pub(crate) fn log_name(package: &Package, step: &str) -> String {
    let folder: PathBuf = package.logs().join("pkg/1.2.3");
    let names = names(&folder);
    let is_log = |name: &&String| name.starts_with(step) && name.ends_with(".log");
    let name = names.iter().find(is_log).unwrap();
    format!("{}//{name}", folder.display())
}
