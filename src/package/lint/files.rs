//! The files of a package, in the order in which the directories of its image cover each
//! other.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::host::Root;

/// A directory, and its name for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dir {
    /// Its absolute path inside the root.
    pub path: PathBuf,
    /// What its user calls it.
    pub name: PathBuf,
}

/// The directories of a package: its own, then those of the packages whose images its own
/// is built on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The name of its config.json.
    pub config: PathBuf,
    /// The directories. A file of one covers that of the same name in those after it.
    pub dirs: Vec<Dir>,
}

impl Files {
    /// Finds a file by its path inside the package.
    pub(super) fn find(&self, root: &Root, path: &Path) -> Result<Option<Dir>, Error> {
        for dir in &self.dirs {
            if root.exists(&dir.path.join(path))? {
                return Ok(Some(dir.join(path)));
            }
        }
        Ok(None)
    }

    /// The name of the package's directory, if it can be told by it what the package is
    /// called: one directly below the root is where a container has it.
    pub(super) fn folder(&self) -> Option<String> {
        let path: PathBuf = self.dirs.first()?.path.components().collect();
        let is_mount = path.parent() == Some(Path::new("/"));
        let name = path.file_name().filter(|_| !is_mount)?;
        Some(name.to_string_lossy().into_owned())
    }

    /// The path that a file of the package has in its own directory.
    pub(super) fn own(&self, path: &Path) -> Option<Dir> {
        self.dirs.first().map(|dir| dir.join(path))
    }
}

impl Dir {
    pub(super) fn join(&self, path: &Path) -> Dir {
        // `./config.json` says no more than `config.json`.
        let name = match &*self.name {
            name if name == Path::new(".") => path.to_owned(),
            name => name.join(path),
        };
        Dir {
            path: self.path.join(path),
            name,
        }
    }
}
