//! Makes a directory whole before it gets its name.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::syncfs;

use super::temporary::{create_dir, remove_if_stale, remove_stale, remove_tree};
use super::{Dir, Root};
use crate::error::Error;

/// A new directory with a temporary name, beside the one that it will be. No other agent
/// works in it. Dropping it removes it.
#[derive(Debug)]
pub struct Staging<'r> {
    root: &'r Root,
    /// The directory that it is in.
    above: Dir,
    /// Its path, until it gets its name.
    path: PathBuf,
    /// Its temporary name; none once it has its own.
    name: Option<OsString>,
    /// Holds its lock.
    dir: Dir,
    /// The mode that it will have. Until then only its owner can enter it, and lock it.
    mode: Mode,
}

impl Root {
    /// Creates a directory in which the one at `path` is made. It is locked, so that a
    /// rival leaves it alone. It will have the mode of `like`.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn stage(&self, path: &Path, like: &Dir) -> Result<Staging<'_>, Error> {
        let above_path = path.parent().unwrap_or(Path::new("/"));
        let above = self.create_durable_dir_all(above_path)?;
        let created = create_dir(&above).and_then(|created| Ok((created, like.mode()?)));
        let ((name, dir), mode) = created.map_err(|error| {
            Error::io("create a directory in", self.host_path(above_path), error)
        })?;
        Ok(Staging {
            root: self,
            above,
            path: above_path.join(&name),
            name: Some(name),
            dir,
            mode,
        })
    }

    /// Removes what killed runs have left of directories that were to be at `path`, or
    /// beside it. Those of live rivals stay, and what cannot be removed.
    pub fn remove_stale_staging(&self, path: &Path) {
        let Ok(above) = self.dir(path.parent().unwrap_or(Path::new("/"))) else {
            return;
        };
        remove_stale(&above);
        // What earlier agents called it.
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let _ = remove_if_stale(&above, &name);
    }
}

impl Staging<'_> {
    /// The path of the directory inside the root, until it gets its name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the directory its name, durably with all that is in it. If another agent was
    /// faster, its directory keeps the name.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn publish(mut self, path: &Path) -> Result<(), Error> {
        self.sync_and_rename(path)
            .map_err(|error| Error::io("complete the directory", self.root.host_path(path), error))
    }

    fn sync_and_rename(&mut self, path: &Path) -> nix::Result<()> {
        let Some(from) = &self.name else {
            return Ok(());
        };
        fchmod(&self.dir.0, self.mode)?;
        syncfs(self.dir.readable()?)?;
        let to = path.file_name().unwrap_or_default();
        match self.above.rename_at(from, &self.above, to) {
            Ok(()) => self.name = None,
            // A rival's, which is whole and durable or becomes so below. Ours goes.
            Err(Errno::EEXIST | Errno::ENOTEMPTY) => {}
            Err(error) => return Err(error),
        }
        self.above.sync_names()
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // What stays is removed by a later run.
            let _ = remove_tree(&self.above, name, &self.dir);
        }
    }
}

#[cfg(test)]
mod tests;
