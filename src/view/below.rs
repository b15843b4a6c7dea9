//! What is below the upper layer of a view: the real root.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{SFlag, fstat, fstatat};

use super::digest::{Digest, digest};
use super::layers::Layer;
use super::snapshot::{Entry, What, names, open};

impl Layer {
    /// Looks at what is below the upper layer, at an absolute path in the view; `None` if
    /// there is nothing.
    pub(super) fn below(&self, path: &Path) -> Option<Entry> {
        let relative = self.relative(path)?;
        let look = |layer: &OwnedFd| look(layer.as_fd(), relative).ok();
        let over = self.stand_ins.as_ref().and_then(look);
        // A file that is laid over the real root is a stand-in, and is none of its files.
        over.filter(|entry| matches!(entry.what, What::Directory { .. }))
            .or_else(|| look(&self.real))
    }

    /// Describes the file at `path` in the upper layer, which has this content.
    pub(super) fn known(&self, path: &Path, what: What) -> Option<Entry> {
        let (above, name) = parts(self.relative(path)?)?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let above = beneath(self.upper.as_fd(), above, flags).ok()?;
        let stat = fstatat(&above, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        Some(Entry::new(what, &stat))
    }

    /// Reads the file that is below the upper layer; `None` if it cannot be read.
    pub(super) fn digest_below(&self, path: &Path) -> Option<Digest> {
        let file = open_file(self.real.as_fd(), self.relative(path)?);
        digest(file.ok()?).ok()
    }

    pub(super) fn has_directory(&self, path: &Path) -> bool {
        let below = self.below(path);
        matches!(below, Some(entry) if matches!(entry.what, What::Directory { .. }))
    }

    /// Lists what the directory at `path` has below the upper layer.
    pub(super) fn names_below(&self, path: &Path) -> Vec<PathBuf> {
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

/// Looks at a path in a layer.
fn look(layer: BorrowedFd<'_>, relative: &Path) -> nix::Result<Entry> {
    let Some((above, name)) = parts(relative) else {
        let what = What::Directory { is_merged: true };
        return Ok(Entry::new(what, &fstat(layer)?));
    };
    let above = beneath(layer, above, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    let stat = fstatat(&above, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
    let what = match kind {
        SFlag::S_IFDIR => What::Directory { is_merged: true },
        SFlag::S_IFLNK => What::Link(readlinkat(&above, name)?.into_vec()),
        SFlag::S_IFREG => What::File(None),
        // A whiteout, as the layers of containers have them: the view has nothing there.
        SFlag::S_IFCHR if stat.st_rdev == 0 => return Err(Errno::ENOENT),
        _ => What::Special(kind.bits(), stat.st_rdev),
    };
    Ok(Entry::new(what, &stat))
}

fn open_file(layer: BorrowedFd<'_>, relative: &Path) -> std::io::Result<OwnedFd> {
    let (above, name) = parts(relative).ok_or(Errno::EISDIR)?;
    let above = beneath(layer, above, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    // Only its owner may read a file without a change of its times.
    open(above.as_fd(), name, OFlag::O_NOATIME)
        .or_else(|_| open(above.as_fd(), name, OFlag::empty()))
}

/// The directory and the name of a path; `None` of an empty one.
fn parts(relative: &Path) -> Option<(&Path, &OsStr)> {
    Some((relative.parent()?, relative.file_name()?))
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
