//! A root mount: the host's files as the agent reaches them.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, mkdirat};

use super::Dir;
use super::file::{Found, LOOK, read_file};
use super::resolve::Resolver;
use crate::error::Error;

/// The most bytes of a file that [`Root::read`] takes, 1 MiB. The files that the
/// agent reads whole are small, and a large file in a package must not take the
/// node's memory.
const MAX_FILE_LEN: u64 = 1024 * 1024;

const DIRECTORY: OFlag = OFlag::O_PATH
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_CLOEXEC);

/// A root mount. Paths given to it are absolute inside it, with or without their
/// leading `/`.
#[derive(Debug)]
pub struct Root {
    pub(super) fd: OwnedFd,
    path: PathBuf,
    pub(super) resolver: Resolver,
}

/// Makes a path that a person has named an absolute one inside a root: from the working
/// directory if the root is this process's own, from `/` in another one.
///
/// # Errors
/// If the working directory cannot be found out.
pub fn inside(path: &Path, is_own: bool) -> Result<PathBuf, Error> {
    let absolute = if is_own {
        std::path::absolute(path).map_err(|error| Error::io("make absolute", path, error))?
    } else {
        Path::new("/").join(path)
    };
    // Without the slash that a shell's completion leaves at the end.
    Ok(absolute.components().collect())
}

impl Root {
    /// Opens the root mount at `path`; `/` is the whole of this file system.
    ///
    /// # Errors
    /// If it is no directory that can be entered.
    pub fn open(path: &Path) -> Result<Root, Error> {
        let fd = open(path, DIRECTORY, Mode::empty())
            .map_err(|error| Error::io("enter the root", path, error))?;
        Ok(Root {
            resolver: Resolver::detect(&fd),
            fd,
            path: path.to_owned(),
        })
    }

    /// Names `path` as it is called outside the root, for messages.
    #[must_use]
    pub fn host_path(&self, path: &Path) -> PathBuf {
        self.path.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Reads all of a file of at most 1 MiB.
    ///
    /// # Errors
    /// If it is missing, unreadable or larger.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, Error> {
        self.read_up_to(path, MAX_FILE_LEN)
    }

    /// Reads all of a file of at most `most` bytes.
    ///
    /// # Errors
    /// If it is missing, unreadable or larger.
    pub fn read_up_to(&self, path: &Path, most: u64) -> Result<Vec<u8>, Error> {
        self.open_file(path)
            .and_then(|(_, file)| read_file(file, most))
            .map_err(|error| Error::io("read", self.host_path(path), error))
    }

    /// Reads the first bytes of a file, at most `most`.
    ///
    /// # Errors
    /// If it is missing, unreadable or no file.
    pub fn read_start(&self, path: &Path, most: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.open_file(path)
            .and_then(|(_, file)| file.take(most).read_to_end(&mut bytes))
            .map_err(|error| Error::io("read", self.host_path(path), error))?;
        Ok(bytes)
    }

    /// Opens a directory and creates it, and those above it, if they are missing.
    ///
    /// # Errors
    /// If one cannot be created, or a name on the way is no directory.
    pub fn create_dir_all(&self, path: &Path) -> Result<Dir, Error> {
        self.open_or_create(path, |_| Ok(()))
    }

    /// Does the same durably: a durable file needs a durable way to it.
    ///
    /// # Errors
    /// As [`create_dir_all`](Self::create_dir_all), and if the system cannot sync.
    pub fn create_durable_dir_all(&self, path: &Path) -> Result<Dir, Error> {
        self.open_or_create(path, Dir::sync_names)
    }

    /// Calls `on_created` with the directory above each one that it has created.
    fn open_or_create(
        &self,
        path: &Path,
        on_created: impl Fn(&Dir) -> nix::Result<()>,
    ) -> Result<Dir, Error> {
        self.deepest(path)
            .and_then(|(mut dir, missing)| {
                for path in missing.iter().rev() {
                    // A path that ends in `..` needs no directory of its own.
                    if let Some(name) = path.file_name() {
                        match mkdirat(&dir.0, name, Mode::from_bits_truncate(0o777)) {
                            Ok(()) => on_created(&dir)?,
                            Err(Errno::EEXIST) => {}
                            Err(error) => return Err(error),
                        }
                    }
                    // Resolved from the root again: the name may be another agent's
                    // directory by now, or a link.
                    dir = self.dir(path)?;
                }
                Ok(dir)
            })
            .map_err(|error| Error::io("create the directory", self.host_path(path), error))
    }

    /// Finds the deepest directory on the way to `path` that exists, and the paths
    /// below it that are missing, the deepest first.
    fn deepest<'p>(&self, path: &'p Path) -> nix::Result<(Dir, Vec<&'p Path>)> {
        let mut missing = Vec::new();
        for path in path.ancestors() {
            match self.dir(path) {
                // The last ancestor of a relative path is empty: it is the root.
                _ if path.as_os_str().is_empty() => break,
                Err(Errno::ENOENT) => missing.push(path),
                found => return Ok((found?, missing)),
            }
        }
        Ok((self.dir(Path::new("/"))?, missing))
    }

    /// Opens a directory that exists.
    ///
    /// # Errors
    /// If it does not.
    pub fn open_dir(&self, path: &Path) -> Result<Dir, Error> {
        self.dir(path)
            .map_err(|error| Error::io("open the directory", self.host_path(path), error))
    }

    /// Opens a file for reading, after a look at it.
    pub(super) fn open_file(&self, path: &Path) -> io::Result<(Found, File)> {
        let found = Found::new(self.resolve(path, LOOK)?)?;
        let file = found.open(OFlag::O_RDONLY, &|flags| {
            // Links were followed to the file that was found.
            self.resolve(path, flags.difference(OFlag::O_NOFOLLOW))
        })?;
        Ok((found, file))
    }

    /// Tells if a path leads to something.
    ///
    /// # Errors
    /// If the system cannot tell.
    pub fn exists(&self, path: &Path) -> Result<bool, Error> {
        match self.resolve(path, OFlag::O_PATH | OFlag::O_CLOEXEC) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
            Err(error) => Err(Error::io("look for", self.host_path(path), error)),
        }
    }

    pub(super) fn dir(&self, path: &Path) -> nix::Result<Dir> {
        self.resolve(path, DIRECTORY).map(Dir)
    }

    pub(super) fn resolve(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        self.resolver.open(&self.fd, path, flags)
    }
}
