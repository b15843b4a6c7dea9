//! Watches directories inside a root for changes (inotify).

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use super::Root;
use super::file::proc_path;
use crate::error::Error;

/// What comes and goes in a directory.
const NAMES: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVE);

/// What happens to the files in it, and to itself.
const CONTENTS: AddWatchFlags = AddWatchFlags::IN_MODIFY
    .union(AddWatchFlags::IN_CLOSE_WRITE)
    .union(ITSELF);
const ITSELF: AddWatchFlags = AddWatchFlags::IN_DELETE_SELF.union(AddWatchFlags::IN_MOVE_SELF);

/// Adds to what is watched already. nix has no name for it.
const MASK_ADD: AddWatchFlags = AddWatchFlags::from_bits_retain(libc::IN_MASK_ADD);

/// Watches directories.
#[derive(Debug)]
pub struct Watcher {
    inotify: Inotify,
    /// The paths of the directories, inside the root. A directory can have several.
    dirs: HashMap<WatchDescriptor, Vec<PathBuf>>,
}

/// Something that happened in a directory that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The file may have other bytes than before.
    Written(PathBuf),
    /// A process that could write to the file has closed it.
    Closed(PathBuf),
    /// A file or directory has come to this name, or it has gone; a directory that is
    /// watched for its contents, too.
    Named {
        /// The name, in its directory.
        path: PathBuf,
        /// Tells if it is a directory.
        is_dir: bool,
    },
    /// The kernel has left out what else happened.
    Overflow,
}

impl Watcher {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// If the user has as many watchers as the system allows.
    pub fn new() -> Result<Watcher, Error> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .map_err(|error| Error::io("watch", "directories", error))?;
        Ok(Watcher {
            inotify,
            dirs: HashMap::new(),
        })
    }

    /// Watches a directory, for names that come and go and, if `contents`, for bytes that
    /// are written to files in it and for its own end. Returns `false` if there is no such directory. A
    /// directory that is watched already is watched for both.
    ///
    /// # Errors
    /// If the user has as many watches as the system allows, or /proc is missing.
    pub fn watch(&mut self, root: &Root, path: &Path, contents: bool) -> Result<bool, Error> {
        let refused = |error| Error::io("watch", root.host_path(path), error);
        let dir = match root.dir(path) {
            Ok(dir) => dir,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(false),
            Err(error) => return Err(refused(error)),
        };
        let mut wanted = NAMES | AddWatchFlags::IN_ONLYDIR | MASK_ADD;
        if contents {
            wanted |= CONTENTS;
        }
        // The directory that was found inside the root, whatever has its name by now.
        let watch = self
            .inotify
            .add_watch(&*proc_path(&dir.0), wanted)
            .map_err(refused)?;
        let paths = self.dirs.entry(watch).or_default();
        if !paths.iter().any(|known| known == path) {
            paths.push(path.to_owned());
        }
        Ok(true)
    }

    /// Returns what has happened since the last call. Never waits.
    ///
    /// # Errors
    /// The system's.
    pub fn changes(&mut self) -> io::Result<Vec<Event>> {
        let mut changes = Vec::new();
        loop {
            let events = match self.inotify.read_events() {
                Err(Errno::EAGAIN) => return Ok(changes),
                Err(Errno::EINTR) => continue,
                events => events?,
            };
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    changes.push(Event::Overflow);
                }
                if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    self.dirs.remove(&event.wd);
                }
                for dir in self.dirs.get(&event.wd).into_iter().flatten() {
                    let path = match &event.name {
                        Some(name) => dir.join(name),
                        None => dir.clone(),
                    };
                    let change = if event.mask.intersects(ITSELF) {
                        Event::Named { path, is_dir: true }
                    } else if event.mask.intersects(NAMES) {
                        Event::Named {
                            path,
                            is_dir: event.mask.contains(AddWatchFlags::IN_ISDIR),
                        }
                    } else if event.mask.contains(AddWatchFlags::IN_CLOSE_WRITE) {
                        Event::Closed(path)
                    } else if event.mask.contains(AddWatchFlags::IN_MODIFY) {
                        Event::Written(path)
                    } else {
                        continue;
                    };
                    // A step that writes much makes many of one kind.
                    if changes.last() != Some(&change) {
                        changes.push(change);
                    }
                }
            }
        }
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
