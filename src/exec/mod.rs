//! Running one thing: a command (`tee`), a command with its logs (`logged`), a step
//! (`step`), and the child's side of each (`chroot_exec`).
//!
//! Promises that every byte that a command writes reaches its sinks, and that its
//! end is reported as it was.

use std::ffi::OsStr;

use crate::output::log_file::LogDir;

pub mod chroot_exec;
pub mod logged;
mod relay;
pub mod step;
pub mod tee;

/// Says where commands run, and where their logs go.
#[derive(Clone, Copy, Debug)]
pub struct ExecContext<'a> {
    /// The root, or [`chroot_exec::LOCAL`] for this one.
    pub chroot_dir: &'a OsStr,
    /// The package's directory, absolute, inside that root.
    pub copy_dir: &'a str,
    /// The log directory of this version of the package; `None` for no log files.
    pub log_dir: Option<&'a LogDir<'a>>,
}
