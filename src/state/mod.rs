//! What a run leaves on the host for later runs and for the operator (contract
//! §6): flags, check results, history. Every file is written whole and durably.

mod flags;
mod history;

use std::ffi::OsStr;
use std::path::Path;

use crate::error::Error;
use crate::host::{Dir, Root};
use crate::stamp::Clock;

pub use history::UNINSTALLED;

/// The state of one package on one host.
#[derive(Clone, Copy)]
pub struct State<'a> {
    /// The host.
    pub root: &'a Root,
    /// The root mount as the command line has it, for what is printed.
    pub root_mount: &'a str,
    /// `SKYHOOK_ROOT_DIR`: the folder of all state, inside the root.
    pub dir: &'a str,
    /// The package's name.
    pub package: &'a str,
    /// The package's version.
    pub version: &'a str,
    /// When things happen.
    pub clock: &'a dyn Clock,
}

impl State<'_> {
    /// Writes a file of the state, given by its path inside the root.
    fn write(&self, path: &str, content: &str) -> Result<(), Error> {
        let (folder, name) = self.folder(path)?;
        folder
            .replace(name, content.as_bytes())
            .map_err(Error::io("write", self.root.outside(Path::new(path))))
    }

    /// Removes a file of the state; one that is not there is removed.
    fn remove(&self, path: &str) -> Result<(), Error> {
        if !self.root.exists(Path::new(path))? {
            return Ok(());
        }
        let (folder, name) = self.folder(path)?;
        folder
            .remove(name)
            .and_then(|()| folder.sync())
            .map_err(Error::io("remove", self.root.outside(Path::new(path))))
    }

    /// The folder of a file, made where it is missing, and the file's name.
    fn folder<'p>(&self, path: &'p str) -> Result<(Dir, &'p OsStr), Error> {
        let path = Path::new(path);
        let folder = path.parent().unwrap_or(Path::new("/"));
        let name = path.file_name().unwrap_or_default();
        Ok((self.root.create_dir_all(folder)?, name))
    }
}
