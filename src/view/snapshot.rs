//! What the upper layers of a view hold at a moment.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

use super::digest::{Digest, digest};
use super::layers::Layer;
use super::private::is_in_user_namespace;
use crate::error::Error;
use crate::system::sys;

/// The most directories in one another that are looked at. Each takes a descriptor.
const MAX_DEPTH: usize = 256;

/// How often a path is looked at that is replaced while that is done. What is replaced all
/// the time is left out.
const TRIES: usize = 10;

/// A change within this time before a look may be followed by another one that gives the
/// file the same times: the clock of the file system goes on every 10 ms at the least.
const TICK: Duration = Duration::from_millis(20);

/// What is at a path in a view, as far as it is not what the real root has there.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) what: What,
    /// The permission bits, with those for set-user-ID and the like.
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) size: i64,
    /// Tells that nothing has been written since, if it is the same. `None` if it cannot
    /// tell.
    stamp: Option<Stamp>,
}

/// The kind of an entry, and its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Nothing: what the real root has there is removed.
    Removed,
    /// A directory. What it does not hold is what the real one has, if it is merged.
    Directory { is_merged: bool },
    /// A file. Those of the real root are not read as long as it does not matter.
    File(Option<Digest>),
    /// A symbolic link: its target.
    Link(Vec<u8>),
    /// Another kind: its type, and the number of a device.
    Special(u32, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    size: i64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// All entries, by their absolute path in the view.
pub(super) type Entries = BTreeMap<PathBuf, Entry>;

/// Looks at the layers. What is in `before` with the same stamp is not read again.
pub(super) fn take(
    skeleton: Option<&OwnedFd>,
    overlays: &[Layer],
    before: &Entries,
) -> Result<Entries, Error> {
    let now = SystemTime::now();
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut taking = Taking {
        before,
        now,
        entries: Entries::new(),
        layer: None,
        in_user_namespace: is_in_user_namespace(),
    };
    if let Some(skeleton) = skeleton {
        taking.start(skeleton.as_fd(), Path::new("/"))?;
    }
    for layer in overlays {
        taking.layer = Some(layer);
        // In the place of the skeleton's directory.
        taking.start(layer.upper.as_fd(), &Path::new("/").join(&layer.path))?;
    }
    Ok(taking.entries)
}

struct Taking<'a> {
    before: &'a Entries,
    now: Duration,
    entries: Entries,
    /// The overlay that is looked at; `None` for the skeleton.
    layer: Option<&'a Layer>,
    in_user_namespace: bool,
}

impl Taking<'_> {
    fn start(&mut self, directory: BorrowedFd<'_>, path: &Path) -> Result<(), Error> {
        let refused = |error: Errno| Error::io("look at the changes in", path, error);
        let stat = fstat(directory).map_err(refused)?;
        let is_merged = self.layer.is_some();
        let entry = Entry::new(What::Directory { is_merged }, &stat);
        self.entries.insert(path.to_owned(), entry);
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = Dir::openat(directory, ".", flags, Mode::empty()).map_err(refused)?;
        self.directory(directory, path, is_merged, 0)
    }

    fn directory(
        &mut self,
        mut directory: Dir,
        path: &Path,
        is_merged: bool,
        depth: usize,
    ) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            let problem = io::Error::other(format!("more than {MAX_DEPTH} directories deep"));
            return Err(Error::io("look at the changes in", path, problem));
        }
        let names = names(&mut directory)
            .map_err(|error| Error::io("look at the changes in", path, error))?;
        for name in names {
            let path = path.join(OsStr::from_bytes(&name));
            for _ in 0..TRIES {
                let taken = self.entry(directory.as_fd(), &name, &path, is_merged, depth);
                // A process of the view goes on.
                match taken.as_ref().err().map(moved) {
                    Some(Some(Moved::Gone)) => break,
                    Some(Some(Moved::Replaced)) => {}
                    _ => {
                        taken?;
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        path: &Path,
        is_merged: bool,
        depth: usize,
    ) -> Result<(), Error> {
        let refused = |error: io::Error| Error::io("look at the change of", path, error);
        let name = OsStr::from_bytes(name);
        let stat = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(|error| refused(error.into()))?;
        let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
        let what = match kind {
            SFlag::S_IFCHR if stat.st_rdev == 0 && self.layer.is_some() => What::Removed,
            SFlag::S_IFDIR => {
                let inner = open(directory, name, OFlag::O_DIRECTORY).map_err(refused)?;
                let is_merged = is_merged
                    && self.mark(inner.as_fd(), OPAQUE).as_deref() != Some(b"y")
                    && self.layer.is_some_and(|layer| layer.has_directory(path));
                let entry = Entry::new(What::Directory { is_merged }, &stat);
                self.entries.insert(path.to_owned(), entry);
                let inner = Dir::from_fd(inner).map_err(|error| refused(error.into()))?;
                self.directory(inner, path, is_merged, depth + 1)?;
                if !is_merged {
                    self.hidden_by(path);
                }
                return Ok(());
            }
            SFlag::S_IFREG => {
                let stamp = Stamp::of(&stat);
                let same = self
                    .before
                    .get(path)
                    .filter(|entry| entry.stamp == Some(stamp));
                if let Some(Entry { what, .. }) = same {
                    what.clone()
                } else {
                    let file = open(directory, name, OFlag::empty()).map_err(refused)?;
                    if stat.st_size == 0 && self.mark(file.as_fd(), WHITEOUT).is_some() {
                        What::Removed
                    } else {
                        What::File(Some(digest(file).map_err(refused)?))
                    }
                }
            }
            SFlag::S_IFLNK => {
                let target = readlinkat(directory, name).map_err(|error| refused(error.into()))?;
                What::Link(target.into_vec())
            }
            _ => What::Special(kind.bits(), stat.st_rdev),
        };
        let mut entry = Entry::new(what, &stat);
        let changed = Duration::new(
            stat.st_ctime.try_into().unwrap_or_default(),
            stat.st_ctime_nsec.try_into().unwrap_or_default(),
        );
        if !is_settled(changed, self.now) {
            entry.stamp = None;
        }
        self.entries.insert(path.to_owned(), entry);
        Ok(())
    }

    /// Reads an attribute of overlayfs.
    fn mark(&self, file: BorrowedFd<'_>, mark: Mark) -> Option<Vec<u8>> {
        let [of_root, of_user] = mark;
        let name = if self.in_user_namespace {
            of_user
        } else {
            of_root
        };
        sys::get_xattr(file, name).ok()
    }

    /// Counts as removed what the real directory at `path` has and this one has not.
    fn hidden_by(&mut self, path: &Path) {
        for path in self
            .layer
            .map(|layer| layer.names_below(path))
            .unwrap_or_default()
        {
            self.entries.entry(path).or_insert(Entry {
                what: What::Removed,
                mode: 0,
                owner: (0, 0),
                size: 0,
                stamp: None,
            });
        }
    }
}

/// What has become of a path while it was looked at.
enum Moved {
    Gone,
    Replaced,
}

fn moved(error: &Error) -> Option<Moved> {
    let Error::Io { source, .. } = error else {
        return None;
    };
    match Errno::from_raw(source.raw_os_error()?) {
        Errno::ENOENT => Some(Moved::Gone),
        // Opened as a directory or a file, or read as a link, and is none by now.
        Errno::ENOTDIR | Errno::ELOOP | Errno::ENXIO | Errno::EINVAL => Some(Moved::Replaced),
        _ => None,
    }
}

impl Entry {
    pub(super) fn new(what: What, stat: &FileStat) -> Entry {
        Entry {
            what,
            mode: stat.st_mode & 0o7777,
            owner: (stat.st_uid, stat.st_gid),
            size: stat.st_size,
            stamp: Some(Stamp::of(stat)),
        }
    }
}

impl Stamp {
    fn of(stat: &FileStat) -> Stamp {
        Stamp {
            inode: (stat.st_dev, stat.st_ino),
            size: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

pub(super) fn open(directory: BorrowedFd<'_>, name: &OsStr, flags: OFlag) -> io::Result<OwnedFd> {
    // A fifo in the place of the file, by now, must not be waited for.
    let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    Ok(openat(
        directory,
        name,
        flags | OFlag::O_RDONLY,
        Mode::empty(),
    )?)
}

/// The names of an attribute of overlayfs: one for root, and one for user namespaces. A step
/// may set the other one.
type Mark = [&'static CStr; 2];

const OPAQUE: Mark = [c"trusted.overlay.opaque", c"user.overlay.opaque"];
const WHITEOUT: Mark = [c"trusted.overlay.whiteout", c"user.overlay.whiteout"];

/// Tells if a file that is changed after a look at `now` has other times than it has now.
fn is_settled(changed: Duration, now: Duration) -> bool {
    changed + TICK < now
}

pub(super) fn names(directory: &mut Dir) -> nix::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in directory.iter() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_a_file_that_has_just_changed_tell_nothing() {
        let now = Duration::from_secs(1_000_000);
        assert!(is_settled(now - 2 * TICK, now));
        assert!(!is_settled(now - TICK / 2, now));
        // The clock has been set back.
        assert!(!is_settled(now + TICK, now));
    }
}
