//! A copy-on-write view of a root, to rehearse a package in.
//!
//! Promises that nothing that runs in the view changes the root below it, and that no
//! mount, process or directory is left when the process that made the view ends, by
//! whatever. The view ends with it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use crate::error::Error;

/// What a view is made of.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// The root that is looked at: `/`, or a directory that holds a root.
    pub root: &'a Path,
    /// A directory that keeps the upper layer after the view's end.
    pub keep: Option<&'a Path>,
    /// If the view shares the network of this process.
    pub network: bool,
    /// The programs that are replaced.
    pub stand_ins: &'a [StandIn],
    /// This program: the agent of the view, and its stand-ins.
    pub binary: &'a Path,
}

/// A program that is replaced in the view. Its calls are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// The base name of the program.
    pub name: String,
    /// The exit code of each call.
    pub exit: u8,
}

/// A copy-on-write view of a root. Its processes end when it is dropped.
#[derive(Debug)]
pub struct View {
    root: PathBuf,
}

/// What differs in the view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path in the view, absolute.
    pub path: PathBuf,
    /// The kind of change.
    pub kind: Kind,
    /// What changed of it.
    pub detail: Detail,
}

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The path is new.
    Added,
    /// The path was there, and differs now.
    Changed,
    /// The path is gone.
    Removed,
}

/// What changed of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// If the bytes of a file, the target of a link, or the type of the entry changed.
    pub content: bool,
    /// The type and permission bits (`st_mode`) before and after, if they changed.
    pub mode: Option<(u32, u32)>,
    /// Owner and group before and after, if they changed.
    pub owner: Option<((u32, u32), (u32, u32))>,
}

/// A call of a stand-in.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Call {
    /// The name that it was called by.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// Has this process leave the mounts of the machine for a private copy of them. To be
/// called once, before any view, by a process with one thread.
///
/// # Errors
/// One line: what the kernel does not allow, and what would help.
pub fn enter() -> Result<(), Error> {
    Err(unfinished())
}

impl View {
    /// Makes a view and starts its init.
    ///
    /// # Errors
    /// If the kernel refuses a part of it.
    pub fn make(_options: &Options<'_>) -> Result<View, Error> {
        Err(unfinished())
    }

    /// The root of the view, as this process sees it.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The agent in the view, ready for arguments, environment and descriptors. Its
    /// environment is empty and its stdin /dev/null.
    #[must_use]
    pub fn command(&self) -> ViewCommand {
        let mut command = Command::new("/skyhook-agent");
        command.env_clear();
        ViewCommand { command }
    }

    /// Opens a shell in the view, on the terminal of this process, and waits for its end.
    ///
    /// # Errors
    /// If no shell can be started.
    pub fn shell(&self) -> Result<ExitStatus, Error> {
        Err(unfinished())
    }

    /// Gives what changed since the last scan, sorted by path. Looks at the upper layers
    /// alone.
    ///
    /// # Errors
    /// If a layer cannot be read.
    pub fn scan(&mut self) -> Result<Vec<Change>, Error> {
        Err(unfinished())
    }

    /// Gives what differs from the root now, sorted by path.
    ///
    /// # Errors
    /// If a layer cannot be read.
    pub fn differences(&self) -> Result<Vec<Change>, Error> {
        Err(unfinished())
    }

    /// Gives the calls of stand-ins since the last time, in order.
    ///
    /// # Errors
    /// If the record cannot be read.
    pub fn calls(&mut self) -> Result<Vec<Call>, Error> {
        Err(unfinished())
    }

    /// Gives the view a new boot id, as a reboot does.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn play_reboot(&self) -> Result<(), Error> {
        Err(unfinished())
    }

    /// What of the root could not be laid into the view, and why: one line for each.
    #[must_use]
    pub fn gaps(&self) -> &[String] {
        &[]
    }
}

/// A command that runs in a view, as its root user.
#[derive(Debug)]
pub struct ViewCommand {
    command: Command,
}

impl ViewCommand {
    /// Adds an argument.
    pub fn arg(&mut self, argument: impl Into<OsString>) -> &mut ViewCommand {
        self.command.arg(argument.into());
        self
    }

    /// The command itself, for arguments, environment and descriptors. Its program, its
    /// directory and what runs before its start are the view's.
    pub fn as_std(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Starts it: a child of this process, in the namespaces of the view.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(&mut self) -> Result<std::process::Child, Error> {
        Err(unfinished())
    }
}

fn unfinished() -> Error {
    Error::NotThere("the view is not finished".to_owned())
}
