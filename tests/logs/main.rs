//! `skyhook-agent logs`, through the real binary: on logs that a test writes, and on those of
//! real runs.

#[path = "../support/mod.rs"]
mod support;

mod follow;
mod hostile;
mod list;
mod show;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::agent;
use tempfile::TempDir;

/// A log directory that the test fills.
struct LogDir(TempDir);

impl LogDir {
    fn new() -> LogDir {
        LogDir(TempDir::new().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file: `pkg/1.2.3/a.sh-2026-05-02-215123.log`.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// `logs --log-dir DIR` with these words.
    fn logs(&self, words: &[&str]) -> Command {
        let mut command = agent();
        command.arg("logs").arg("--log-dir").arg(self.path());
        command.args(words);
        command
    }

    /// What is shown.
    #[track_caller]
    fn shown(&self, words: &[&str]) -> String {
        support::stdout_of_success(&self.logs(words).output().unwrap())
    }
}

/// A node on which two custom resources have run the same step. Only the first has the
/// step's flag.
fn two_resources() -> LogDir {
    let root = LogDir::new();
    for (resource, second) in [("one", "01"), ("two", "02")] {
        let name = format!("var/log/skyhook/{resource}/pkg/1.2.3/a.sh-2026-05-02-2151{second}.log");
        root.write(&name, log("out", &[("01.000000", resource)]));
        let flags = format!("var/lib/skyhook/{resource}/flags/pkg/1.2.3");
        fs::create_dir_all(root.path().join(flags)).unwrap();
    }
    root.write("var/lib/skyhook/one/flags/pkg/1.2.3/a.sh_W11fWzBd", "");
    root
}

fn logs_in(root: &LogDir, words: &[&str]) -> Command {
    let mut command = agent();
    command
        .args(["logs", "--root"])
        .arg(root.path())
        .args(words);
    command
}

/// The log of a stream whose lines came at these times: seconds after 21:51 on
/// 2026-05-02.
fn log(label: &str, lines: &[(&str, &str)]) -> String {
    let stamp = |at: &str| format!("[{label}]2026-05-02T21:51:{at} ");
    let mut log = stamp(lines[0].0);
    for (at, text) in lines {
        log += &format!("{text}\n{}", stamp(at));
    }
    log
}

/// A run of `a.sh` with these logs.
fn one_run(out: &[(&str, &str)], err: &[(&str, &str)]) -> LogDir {
    let logs = LogDir::new();
    let name = "pkg/1.2.3/a.sh-2026-05-02-215100.log";
    logs.write(name, log("out", out));
    logs.write(&format!("{name}.err"), log("err", err));
    logs
}
