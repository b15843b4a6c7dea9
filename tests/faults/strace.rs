//! Runs under strace: what they ask of the kernel, and calls that it refuses.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use crate::support::node::wrapped;

/// A run, and strace's lines about it.
pub(crate) struct Traced {
    pub(crate) output: Output,
    pub(crate) trace: Vec<String>,
}

impl Traced {
    /// How many calls strace has answered in the kernel's place.
    pub(crate) fn injected(&self) -> usize {
        let injected = |line: &&String| line.ends_with("(INJECTED)");
        self.trace.iter().filter(injected).count()
    }
}

/// Runs `command` under strace with these options; `None` where nobody may trace.
pub(crate) fn traced(options: &[&str], command: &Command) -> Option<Traced> {
    static MAY: OnceLock<bool> = OnceLock::new();
    let may = || {
        let tried = Command::new("strace")
            .args(["-o", "/dev/null", "true"])
            .output();
        tried.is_ok_and(|output| output.status.success())
    };
    if !MAY.get_or_init(may) {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("trace");
    let words = ["strace", "-y", "-s", "200", "-o", file.to_str().unwrap()];
    let mut strace = wrapped(&[&words[..], options].concat(), command);
    let output = strace.stdin(Stdio::null()).output().unwrap();
    let trace = fs::read_to_string(file).unwrap();
    Some(Traced {
        output,
        trace: trace.lines().map(str::to_owned).collect(),
    })
}
