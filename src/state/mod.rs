//! The files that a run leaves on the host for later runs and for the operator
//! (contract §6): flags, check results, history.
//!
//! Promises that reading changes nothing, and that every file is written whole and
//! durable. Writing needs the locks of the package ([`lock`]). Never prints: what was
//! found is returned.

mod decision;
mod flags;
mod history;
mod history_json;
mod interrupts;
mod layout;
pub mod lock;
pub mod marker;
pub mod outcomes;
pub mod survey;

use std::ffi::OsStr;
use std::path::Path;

use crate::error::Error;
use crate::host::{Dir, Root};
use crate::stamp::Clock;

pub use decision::{Decision, Why};
pub use history::{Entry, History, HistoryFile, Prior, UNINSTALLED};
pub use interrupts::{BOOT_ID, is_boot_id, is_reboot_pending};
pub use layout::{Layout, Lock};

/// The state of one package on one host.
#[derive(Clone, Copy)]
pub struct State<'a> {
    /// The host.
    pub root: &'a Root,
    /// The root mount as the command line has it, for what is printed.
    pub root_mount: &'a str,
    /// The paths.
    pub layout: Layout<'a>,
    /// The clock for what is written.
    pub clock: &'a dyn Clock,
}

impl State<'_> {
    /// Names a path of the state as the reference prints it: with the root mount in
    /// front, both as they were given.
    #[must_use]
    pub fn reference_path(&self, path: &str) -> String {
        format!("{}{path}", self.root_mount)
    }

    /// Writes a file of the state.
    fn write(&self, path: &str, content: &str) -> Result<(), Error> {
        let (dir, name) = self.dir_and_name(path)?;
        let temporary = self.layout.temporary_name();
        dir.write_whole(name, content.as_bytes(), OsStr::new(&temporary))
            .map_err(|error| Error::io("write", self.root.host_path(Path::new(path)), error))
    }

    /// Creates a file of the state. Returns `false` if there is one already.
    fn create(&self, path: &str, content: &str) -> Result<bool, Error> {
        let (dir, name) = self.dir_and_name(path)?;
        let temporary = self.layout.temporary_name();
        dir.create_whole(name, content.as_bytes(), OsStr::new(&temporary))
            .map_err(|error| Error::io("write", self.root.host_path(Path::new(path)), error))
    }

    /// Removes a file of the state. A missing one counts as removed.
    fn remove(&self, path: &str) -> Result<(), Error> {
        if !self.root.exists(Path::new(path))? {
            return Ok(());
        }
        let (dir, name) = self.dir_and_name(path)?;
        dir.remove(name)
            .and_then(|()| dir.sync())
            .map_err(|error| Error::io("remove", self.root.host_path(Path::new(path)), error))
    }

    /// Opens the directory of a file, created if it is missing, and names the file.
    fn dir_and_name<'p>(&self, path: &'p str) -> Result<(Dir, &'p OsStr), Error> {
        let path = Path::new(path);
        let dir = path.parent().unwrap_or(Path::new("/"));
        let name = path.file_name().unwrap_or_default();
        Ok((self.root.create_durable_dir_all(dir)?, name))
    }
}
