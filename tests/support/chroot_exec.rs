//! `chroot-exec` of the real binary, with a control file that a test makes up.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::files::write_script;
use super::process::agent;
use super::text::{stderr, stdout, stdout_of_success};

/// A control file, and the directory in which its command runs.
pub struct ChrootExec {
    pub dir: TempDir,
    pub control: Value,
}

impl ChrootExec {
    /// A program that is there already, and that chroot-exec leaves as it is.
    pub fn new(cmd: &[&str]) -> ChrootExec {
        let dir = tempfile::tempdir().unwrap();
        let control = json!({ "cmd": cmd, "no_chmod": true, "env": {}, "copy_dir": dir.path() });
        ChrootExec { dir, control }
    }

    /// A script named `step` in the directory.
    pub fn script(script: &str) -> ChrootExec {
        let child = ChrootExec::new(&[]);
        let step = child.path("step");
        write_script(&step, script);
        child.with("cmd", json!([step])).with("no_chmod", false)
    }

    /// Gives a field of the control file another value.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> ChrootExec {
        self.control[key] = value.into();
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `chroot-exec` with this text as control file, not started yet.
    pub fn command_of(&self, control: &str, chroot_dir: impl AsRef<OsStr>) -> Command {
        let file = self.path("control.json");
        fs::write(&file, control).unwrap();
        let mut command = agent();
        command.arg("chroot-exec").arg(file).arg(chroot_dir);
        command
    }

    /// `chroot-exec CONTROL_FILE CHROOT_DIR`, not started yet.
    pub fn command_in(&self, chroot_dir: impl AsRef<OsStr>) -> Command {
        self.command_of(&self.control.to_string(), chroot_dir)
    }

    /// `chroot-exec CONTROL_FILE local`, not started yet.
    pub fn command(&self) -> Command {
        self.command_in("local")
    }

    pub fn run(&self) -> Output {
        self.command().output().unwrap()
    }

    /// Runs the step, which succeeds. Returns its stdout.
    #[track_caller]
    pub fn succeed(&self) -> String {
        stdout_of_success(&self.run())
    }

    /// Whether the script, which [leaves a mark](super::LEAVES_A_MARK), has run.
    pub fn has_run(&self) -> bool {
        self.path("step.ran").exists()
    }

    /// Runs `command`, which cannot become its step. Returns the line that says why.
    #[track_caller]
    pub fn refusal(&self, mut command: Command) -> String {
        let output = command.output().unwrap();
        let line = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert_eq!(stdout(&output), "", "{line}");
        assert!(!self.has_run(), "it ran all the same: {line}");
        line
    }
}
