//! The commands, one file each, and what they share.
//!
//! Promises that a command takes all that it needs of its process from a
//! [`Process`], so that it can run twice in one process, and that only commands
//! print.

use std::ffi::OsStr;
use std::path::Path;

use crate::error::Error;
use crate::exec::tee::Runner;
use crate::host::Root;
use crate::output::Console;
use crate::output::log_file::LogDir;
use crate::output::log_name;
use crate::package::{self, Config, Severity};
use crate::reactor;
use crate::settings::Settings;
use crate::stamp::Clock;
use crate::system::signals::Signals;

pub mod agent;
pub mod banner;
pub mod interrupt;
mod lock;
pub mod logs;
pub mod new;
mod observer;
mod options;
pub mod reboot;
pub mod rehearse;
pub mod run_step;
mod staging;
pub mod status;
pub mod validate;

pub use observer::Observer;

/// The end of a command that could be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All was done and went well.
    Succeeded,
    /// A step, a check or an interrupt failed.
    Failed,
    /// The run was cancelled, and something is left to do. A run that was cancelled when
    /// all had been done has succeeded.
    Cancelled,
}

impl Outcome {
    /// The exit code of the process: 0 for success, else 1.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Outcome::Succeeded => 0,
            Outcome::Failed | Outcome::Cancelled => 1,
        }
    }
}

/// The parts of a process that commands use.
pub struct Process<'a> {
    /// The environment's settings.
    pub settings: &'a Settings,
    /// The signals that cancel a run.
    pub signals: &'a Signals,
    /// The clock of stamps, log names and state.
    pub clock: &'a dyn Clock,
    /// The program that becomes each step, run as `PROGRAM chroot-exec …`; usually
    /// [`SELF`](crate::exec::tee::SELF).
    pub chroot_exec: &'a Path,
    /// The root of this process: the container's own files.
    pub own_root: &'a Root,
    /// The process's stdout and stderr.
    pub console: &'a mut Console,
    /// The one that follows the steps of the agent; there is none on a node.
    pub observer: Option<&'a mut dyn Observer>,
}

impl Process<'_> {
    /// Makes the runner of this process's commands.
    fn runner(&mut self) -> Runner<'_> {
        let settings = self.settings;
        let options = reactor::Options {
            buffer_limit: settings.buffer_limit,
            drain_timeout: settings.drain_timeout,
            cancellation: Some(self.signals.cancellation.clone()),
            orphans: self.signals.orphans.clone(),
            // A step that talks to the terminal, as ssh and sudo do, must be in the
            // terminal's group: in one of its own the kernel would stop it for ever,
            // and Ctrl-C would not reach it.
            own_group: !settings.has_terminal,
            ..reactor::Options::default()
        };
        Runner::new(
            self.console,
            self.clock,
            self.chroot_exec.to_owned(),
            settings.temp_dirs.clone(),
            options,
        )
    }

    /// Reads the config.json of the package at `copy_dir` inside `root`, and says
    /// its warnings.
    ///
    /// # Errors
    /// [`Error::Package`] with every problem, if the config cannot be used.
    fn load_config(&mut self, root: &Root, copy_dir: &Path) -> Result<Config, Error> {
        let file = copy_dir.join("config.json");
        let inspection = package::inspect(root, &file)?;
        let (errors, warnings): (Vec<_>, Vec<_>) = inspection
            .findings
            .iter()
            .partition(|finding| finding.severity == Severity::Error);
        for warning in warnings {
            self.console.notice(&warning.to_string());
        }
        inspection.config.ok_or_else(|| Error::Package {
            file: root.host_path(&file),
            problems: errors.iter().map(ToString::to_string).collect(),
        })
    }

    /// Takes the log directory of a package's version, below `log_root` inside
    /// `root`; `None` if no logs are written.
    fn log_dir<'r>(
        &self,
        root: &'r Root,
        log_root: &OsStr,
        package: &str,
        version: &str,
    ) -> Option<LogDir<'r>> {
        let path = log_name::dir(log_root, package, version);
        self.settings.write_logs.then(|| LogDir::new(root, path))
    }
}
