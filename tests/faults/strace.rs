//! Runs the agent under strace: to see its system calls, and to have some refused.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use crate::support::skip::{Skip, try_out};
use crate::support::wrapped;

/// A run, and the lines that strace wrote about it.
pub(crate) struct Traced {
    pub(crate) output: Output,
    pub(crate) trace: Vec<String>,
}

impl Traced {
    /// How many calls strace has answered instead of the kernel.
    pub(crate) fn injected(&self) -> usize {
        let injected = |line: &&String| line.ends_with("(INJECTED)");
        self.trace.iter().filter(injected).count()
    }
}

/// Whether strace is there and may trace.
pub(crate) fn can_trace() -> Result<(), Skip> {
    static TRIED: OnceLock<Result<(), Skip>> = OnceLock::new();
    let tried = || {
        let mut strace = Command::new("strace");
        strace.args(["-o", "/dev/null", "true"]);
        try_out(&mut strace, "this user may not trace")
    };
    TRIED.get_or_init(tried).clone()
}

/// Runs `command` under strace with these options.
pub(crate) fn traced(options: &[&str], command: &Command) -> Result<Traced, Skip> {
    can_trace()?;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("trace");
    let words = ["strace", "-y", "-s", "200", "-o", file.to_str().unwrap()];
    let mut strace = wrapped(&[&words[..], options].concat(), command);
    let output = strace.stdin(Stdio::null()).output().unwrap();
    let trace = fs::read_to_string(file).unwrap();
    Ok(Traced {
        output,
        trace: trace.lines().map(str::to_owned).collect(),
    })
}
