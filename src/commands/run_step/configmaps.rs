//! The config files of a package, which the operator mounts on a node.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::host::{Dir, Root};

/// The directory, in that of the package, in which steps find the files.
const CONFIGMAPS: &str = "configmaps";

/// A directory that stands for the package's `configmaps`: a link. It is removed with
/// this, unless it was there before.
#[derive(Debug)]
pub(super) struct Configmaps {
    package: Dir,
    was_there: bool,
}

impl Configmaps {
    /// Makes `dir`, a path inside `root`, the `configmaps` of the package at `copy_dir`.
    /// A link to it that is there already is used.
    pub(super) fn link(root: &Root, copy_dir: &Path, dir: &Path) -> Result<Configmaps, Error> {
        if let Err(error) = root.open_dir(dir) {
            return Err(Error::Usage(format!("--configmaps: {error}")));
        }
        let package = root.open_dir(copy_dir)?;
        let name = OsStr::new(CONFIGMAPS);
        let was_there = package
            .link_target(name)
            .is_some_and(|target| target == dir);
        if !was_there && let Err(error) = package.create_link(dir, name) {
            let link: PathBuf = root.host_path(&copy_dir.join(CONFIGMAPS));
            return Err(Error::io("put the files of --configmaps at", link, error));
        }
        Ok(Configmaps { package, was_there })
    }
}

impl Drop for Configmaps {
    fn drop(&mut self) {
        if !self.was_there {
            // Nothing is lost if it stays.
            let _ = self.package.remove(OsStr::new(CONFIGMAPS));
        }
    }
}
