//! What the upper layers of a view hold at a moment.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use sha2::{Digest, Sha256};

use super::layers::Layer;
use crate::error::Error;
use crate::system::sys;

/// The most directories in one another that are looked at. Each takes a descriptor.
const MAX_DEPTH: usize = 256;

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
    /// A file: the SHA-256 of its bytes and of its attributes.
    File([u8; 32]),
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
            match self.entry(directory.as_fd(), &name, &path, is_merged, depth) {
                // Gone by now: a process of the view goes on.
                Err(Error::Io { source, .. })
                    if source.raw_os_error() == Some(Errno::ENOENT as i32) => {}
                taken => taken?,
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
                    && !is_marked(inner.as_fd(), "opaque")
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
                    if stat.st_size == 0 && is_marked(file.as_fd(), "whiteout") {
                        What::Removed
                    } else {
                        What::File(digest(file).map_err(refused)?)
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
                stamp: None,
            });
        }
    }
}

impl Entry {
    pub(super) fn new(what: What, stat: &FileStat) -> Entry {
        Entry {
            what,
            mode: stat.st_mode & 0o7777,
            owner: (stat.st_uid, stat.st_gid),
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

impl Layer {
    /// Looks at what is below the upper layer, at an absolute path in the view; `None` if
    /// there is nothing.
    pub(super) fn below(&self, path: &Path) -> Option<Entry> {
        self.look_below(path, Reading::Content)
    }

    fn has_directory(&self, path: &Path) -> bool {
        let below = self.look_below(path, Reading::Kind);
        matches!(below, Some(entry) if matches!(entry.what, What::Directory { .. }))
    }

    fn look_below(&self, path: &Path, reading: Reading) -> Option<Entry> {
        let relative = self.relative(path)?;
        self.below_layers()
            .find_map(|layer| look(layer.as_fd(), relative, reading).ok())
    }

    /// Lists what the directory at `path` has below the upper layer.
    fn names_below(&self, path: &Path) -> Vec<PathBuf> {
        let Some(relative) = self.relative(path) else {
            return Vec::new();
        };
        let names = self.below_layers().flat_map(|layer| {
            let opened = beneath(
                layer.as_fd(),
                relative,
                OFlag::O_RDONLY | OFlag::O_DIRECTORY,
            );
            let names = opened.and_then(|fd| names(&mut Dir::from_fd(fd)?));
            names.unwrap_or_default()
        });
        names
            .map(|name| path.join(OsStr::from_bytes(&name)))
            .collect()
    }

    fn relative<'p>(&self, path: &'p Path) -> Option<&'p Path> {
        path.strip_prefix("/").ok()?.strip_prefix(&self.path).ok()
    }

    fn below_layers(&self) -> impl Iterator<Item = &OwnedFd> {
        self.stand_ins.iter().chain([&self.real])
    }
}

/// What is wanted of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Kind,
    Content,
}

/// Looks at a path in a layer. A file that cannot be read counts as an empty digest.
fn look(layer: BorrowedFd<'_>, relative: &Path, reading: Reading) -> nix::Result<Entry> {
    let (Some(above), Some(name)) = (relative.parent(), relative.file_name()) else {
        let what = What::Directory { is_merged: true };
        return Ok(Entry::new(what, &fstat(layer)?));
    };
    let above = beneath(layer, above, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    let stat = fstatat(&above, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
    let what = match kind {
        SFlag::S_IFDIR => What::Directory { is_merged: true },
        SFlag::S_IFLNK => What::Link(readlinkat(&above, name)?.into_vec()),
        SFlag::S_IFREG if reading == Reading::Content => {
            let above = above.as_fd();
            // Only its owner may read a file without a change of its times.
            let file =
                open(above, name, OFlag::O_NOATIME).or_else(|_| open(above, name, OFlag::empty()));
            What::File(file.and_then(digest).unwrap_or_default())
        }
        SFlag::S_IFREG => What::File(Default::default()),
        _ => What::Special(kind.bits(), stat.st_rdev),
    };
    Ok(Entry::new(what, &stat))
}

/// Opens a path below a directory. No link is followed.
fn beneath(directory: BorrowedFd<'_>, relative: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    if relative.as_os_str().is_empty() {
        return openat2(directory, ".", how);
    }
    openat2(directory, relative, how)
}

fn open(directory: BorrowedFd<'_>, name: &OsStr, flags: OFlag) -> io::Result<OwnedFd> {
    // A fifo in the place of the file, by now, must not be waited for.
    let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    Ok(openat(
        directory,
        name,
        flags | OFlag::O_RDONLY,
        Mode::empty(),
    )?)
}

/// Tells if an attribute of overlayfs says yes.
fn is_marked(file: BorrowedFd<'_>, mark: &str) -> bool {
    ["trusted", "user"].iter().any(|class| {
        let name = format!("{class}.overlay.{mark}\0");
        let name = std::ffi::CStr::from_bytes_until_nul(name.as_bytes()).unwrap_or_default();
        let value = sys::get_xattr(file, name);
        value.is_ok_and(|value| mark == "whiteout" || value == b"y")
    })
}

fn digest(file: OwnedFd) -> io::Result<[u8; 32]> {
    let mut file = File::from(file);
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => hash.update(buffer.get(..len).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // What gives rights to a file is a part of it.
    for attribute in [c"security.capability", c"system.posix_acl_access"] {
        if let Ok(value) = sys::get_xattr(file.as_fd(), attribute) {
            hash.update(attribute.to_bytes_with_nul());
            hash.update(value);
        }
    }
    Ok(hash.finalize().into())
}

/// Tells if a file that is changed after a look at `now` has other times than it has now.
fn is_settled(changed: Duration, now: Duration) -> bool {
    changed + TICK < now
}

fn names(directory: &mut Dir) -> nix::Result<Vec<Vec<u8>>> {
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
