//! Looking at what is in a root: kinds, sizes and times. Opens no file, follows no link
//! below the directory that is looked at, and reads a bounded number of names.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag, fstat};

use super::file::kind;
use super::{Dir, Root};
use crate::error::Error;

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A fifo, a socket or a device.
    Special,
}

impl Kind {
    fn of(stat: &FileStat) -> Kind {
        match kind(stat) {
            SFlag::S_IFREG => Kind::File,
            SFlag::S_IFDIR => Kind::Directory,
            SFlag::S_IFLNK => Kind::Link,
            _ => Kind::Special,
        }
    }

    /// Names the kind for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::File => "a file",
            Kind::Directory => "a directory",
            Kind::Link => "a link",
            Kind::Special => "a fifo, a socket or a device",
        }
    }
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path below the directory that was looked at.
    pub path: PathBuf,
    /// Its kind. A link is not followed.
    pub kind: Kind,
    /// Its length in bytes.
    pub len: u64,
    /// The time of its last change: seconds since the epoch, and nanoseconds.
    pub modified: (i64, i64),
}

/// What is in a directory, sorted by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// What was looked at.
    pub entries: Vec<Entry>,
    /// The number of names that were not looked at, because there are too many.
    pub more: u64,
    /// The directories that could not be read, each with the reason.
    pub unreadable: Vec<(PathBuf, String)>,
}

impl Root {
    /// Looks at the file, link or directory at `path` itself; `None` if there is none.
    ///
    /// # Errors
    /// If the system cannot tell.
    pub fn look(&self, path: &Path) -> Result<Option<Entry>, Error> {
        let refused = |error: Errno| Error::io("look at", self.host_path(path), error);
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(refused(Errno::EISDIR));
        };
        match self.dir(above).and_then(|dir| dir.stat_at(name)) {
            Ok(stat) => Ok(Some(entry(name.into(), &stat))),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(error) => Err(refused(error)),
        }
    }

    /// Tells what a path leads to, over links: its kind and its permission bits. `None` if
    /// it leads to nothing.
    ///
    /// # Errors
    /// If the system cannot tell.
    pub fn follow(&self, path: &Path) -> Result<Option<(Kind, u32)>, Error> {
        let found = self.resolve(path, OFlag::O_PATH | OFlag::O_CLOEXEC);
        match found.and_then(fstat) {
            Ok(stat) => Ok(Some((Kind::of(&stat), stat.st_mode & 0o7777))),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(error) => Err(Error::io("look at", self.host_path(path), error)),
        }
    }

    /// Lists a directory, at most `most` names of it. A missing one has nothing in it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn list(&self, path: &Path, most: usize) -> Result<Listing, Error> {
        let mut listing = Listing::default();
        match self.list_into(&mut listing, path, Path::new(""), most) {
            Ok(_) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(Error::io("list", self.host_path(path), error)),
        }
        listing.entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(listing)
    }

    /// Lists all that is below a directory, except the directories: at most `most` names,
    /// directories included. A missing directory has nothing in it, and one below it that
    /// cannot be read is noted.
    ///
    /// # Errors
    /// If the directory itself cannot be read.
    pub fn list_all(&self, path: &Path, most: usize) -> Result<Listing, Error> {
        let mut listing = Listing::default();
        // No recursion, and one descriptor at a time: a tree may be deep.
        let mut left = vec![PathBuf::new()];
        let mut room = most;
        while let Some(below) = left.pop() {
            let known = listing.entries.len();
            match self.list_into(&mut listing, &path.join(&below), &below, room) {
                Ok(count) => room = room.saturating_sub(count),
                Err(Errno::ENOENT) => {}
                Err(error) if below.as_os_str().is_empty() => {
                    return Err(Error::io("list", self.host_path(path), error));
                }
                Err(error) => {
                    let reason = io::Error::from(error).to_string();
                    listing.unreadable.push((below, reason));
                }
            }
            for entry in listing.entries.split_off(known) {
                if entry.kind == Kind::Directory {
                    left.push(entry.path);
                } else {
                    listing.entries.push(entry);
                }
            }
        }
        listing.entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(listing)
    }

    /// Adds what is in one directory; returns the number of names that were looked at.
    fn list_into(
        &self,
        listing: &mut Listing,
        path: &Path,
        below: &Path,
        most: usize,
    ) -> nix::Result<usize> {
        let dir = self.dir(path)?;
        let (names, more) = dir.first_names(most)?;
        listing.more += more;
        let count = names.len();
        for name in names {
            match dir.stat_at(&name) {
                Ok(stat) => listing.entries.push(entry(below.join(&name), &stat)),
                // It has just been removed.
                Err(Errno::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }
}

impl Dir {
    /// Lists at most `most` names, and counts the others.
    fn first_names(&self, most: usize) -> nix::Result<(Vec<OsString>, u64)> {
        let (taken, more) = (Cell::new(0), Cell::new(0));
        let names = self.names(|name: &OsStr| {
            if name == "." || name == ".." {
                return false;
            }
            let counter = if taken.get() < most { &taken } else { &more };
            counter.set(counter.get() + 1);
            std::ptr::eq(counter, &taken)
        });
        let errno = |error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or_default());
        Ok((names.map_err(errno)?, more.get() as u64))
    }
}

fn entry(path: PathBuf, stat: &FileStat) -> Entry {
    Entry {
        path,
        kind: Kind::of(stat),
        len: stat.st_size.try_into().unwrap_or_default(),
        modified: (stat.st_mtime, stat.st_mtime_nsec),
    }
}
