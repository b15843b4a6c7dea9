//! Resolving a path inside a root: by the kernel, or name by name in this process.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat};

use super::MAX_SYMLINKS;

/// Resolves paths inside a root. Both ways give the same results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolver {
    /// The kernel resolves: openat2, Linux 5.6.
    Openat2,
    /// This process resolves, from descriptor to descriptor.
    Userspace,
}

impl Resolver {
    /// Finds out what the kernel offers. Older kernels lack openat2, and some
    /// sandboxes refuse it.
    pub(super) fn detect(root: &OwnedFd) -> Resolver {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match Resolver::Openat2.open(root, Path::new("/"), flags) {
            Err(Errno::ENOSYS | Errno::EPERM) => Resolver::Userspace,
            _ => Resolver::Openat2,
        }
    }

    /// Opens `path` inside `root` with `flags`.
    pub(super) fn open(self, root: &OwnedFd, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        match self {
            Resolver::Openat2 => open_in_kernel(root, path, flags),
            Resolver::Userspace => walk(root, path, flags),
        }
    }
}

fn open_in_kernel(root: &OwnedFd, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let inside = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let how = OpenHow::new().flags(flags).resolve(inside);
    loop {
        match openat2(root, path, how) {
            // A rename at the same moment made the kernel unsure of a `..`.
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            opened => return opened,
        }
    }
}

/// Does what openat2 does. Goes from descriptor to descriptor, so that nothing
/// that is renamed or replaced in the meantime can lead out.
fn walk(root: &OwnedFd, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let mut directories: Vec<OwnedFd> = Vec::new();
    let mut names = reversed_names(path);
    let mut links = 0;
    while let Some(name) = names.pop() {
        if name == ".." {
            // In the root, `..` is the root.
            directories.pop();
            continue;
        }
        let at = directories.last().unwrap_or(root);
        let look = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let found = openat(at, name.as_os_str(), look, Mode::empty())?;
        let kind = kind(&found)?;
        if kind == SFlag::S_IFLNK {
            links += 1;
            if links > MAX_SYMLINKS {
                return Err(Errno::ELOOP);
            }
            // Reads the link that was found, even if another one has its name now.
            let target = PathBuf::from(readlinkat(&found, "")?);
            if target.is_absolute() {
                directories.clear();
            }
            names.extend(reversed_names(&target));
        } else if kind != SFlag::S_IFDIR && !names.is_empty() {
            // Not even `..` may follow a file.
            return Err(Errno::ENOTDIR);
        } else if names.is_empty() && !flags.contains(OFlag::O_PATH) {
            let flags = flags | OFlag::O_NOFOLLOW;
            return openat(at, name.as_os_str(), flags, Mode::empty());
        } else {
            directories.push(found);
        }
    }
    match directories.pop() {
        // It may be a file, and only a directory can be opened again as `.`.
        Some(found) if flags.contains(OFlag::O_PATH) && !flags.contains(OFlag::O_DIRECTORY) => {
            Ok(found)
        }
        Some(found) => openat(&found, ".", flags, Mode::empty()),
        None => openat(root, ".", flags, Mode::empty()),
    }
}

/// Lists the names along a path, last first. The root itself is none of them.
fn reversed_names(path: &Path) -> Vec<OsString> {
    let names = path
        .components()
        .rev()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        });
    names.collect()
}

fn kind(fd: &OwnedFd) -> nix::Result<SFlag> {
    Ok(SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT)
}

#[cfg(test)]
mod tests;
