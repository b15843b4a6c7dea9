//! Paths on the host, resolved inside its root mount (contract §10): a symbolic
//! link there, absolute or with `..`, cannot lead a read or a write out of it.
//!
//! A path is resolved once, to a folder's descriptor; what is done in the folder
//! is done by plain names from there and follows no link.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlinkat, renameat};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};
use nix::unistd::syncfs;

use crate::error::Error;

mod copy;
mod dir;

pub use copy::{copy_file, copy_tree};
pub use dir::Dir;
use dir::{READ, read_file};

/// How many symbolic links one path may lead over, as in the kernel.
const MOST_LINKS: u32 = 40;

/// How much of a file is read at once: what the agent wants whole is small, and what
/// a package calls that must not take the node's memory.
const MOST_BYTES: u64 = 1024 * 1024;

/// A root mount. Paths given to it are absolute inside it, with or without their
/// leading `/`.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
    resolve: Resolve,
}

/// Who resolves paths.
#[derive(Clone, Copy, Debug)]
enum Resolve {
    /// The kernel: openat2, Linux 5.6.
    InKernel,
    /// This module, name by name.
    Here,
}

impl Root {
    /// The root mount at `path`; `/` for the whole of this file system.
    ///
    /// # Errors
    /// Where it is no folder that can be entered.
    pub fn open(path: &Path) -> Result<Root, Error> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = open(path, flags, Mode::empty())
            .map_err(io::Error::from)
            .map_err(Error::io("enter the root", path))?;
        let mut root = Root {
            fd,
            path: path.to_owned(),
            resolve: Resolve::InKernel,
        };
        // Older kernels do not have the call, and some sandboxes refuse it.
        if matches!(
            root.resolve(Path::new("/"), flags),
            Err(Errno::ENOSYS | Errno::EPERM)
        ) {
            root.resolve = Resolve::Here;
        }
        Ok(root)
    }

    /// What `path` is called outside the root, for messages.
    #[must_use]
    pub fn outside(&self, path: &Path) -> PathBuf {
        self.path.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// All of a file, which has a MiB at most.
    ///
    /// # Errors
    /// Where it is not there or cannot be read, or is larger.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, Error> {
        let read = || read_file(self.resolve(path, READ)?, MOST_BYTES);
        read().map_err(Error::io("read", self.outside(path)))
    }

    /// A folder, created where it is missing, and those above it.
    ///
    /// # Errors
    /// Where one cannot be created, or a name on the way is no folder.
    pub fn create_dir_all(&self, path: &Path) -> Result<Dir, Error> {
        let create = || {
            let mut dir = self.dir(Path::new("/"))?;
            let mut done = PathBuf::from("/");
            for name in path.components() {
                done.push(name);
                dir = match self.dir(&done) {
                    Err(Errno::ENOENT) => {
                        match mkdirat(&dir.0, name.as_os_str(), Mode::from_bits_truncate(0o777)) {
                            Ok(()) => {
                                // A durable file needs a durable way to it.
                                dir.sync_names()?;
                                self.dir(&done)?
                            }
                            Err(Errno::EEXIST) => self.dir(&done)?,
                            Err(error) => return Err(error),
                        }
                    }
                    found => found?,
                };
            }
            Ok(dir)
        };
        create()
            .map_err(io::Error::from)
            .map_err(Error::io("create the folder", self.outside(path)))
    }

    /// A folder that is there.
    ///
    /// # Errors
    /// Where it is not.
    pub fn open_dir(&self, path: &Path) -> Result<Dir, Error> {
        self.dir(path)
            .map_err(io::Error::from)
            .map_err(Error::io("open the folder", self.outside(path)))
    }

    /// Gives a folder that is complete its name, durably with all that is in it.
    /// Both are in one folder. One that has the name already stays: a rival was
    /// faster.
    ///
    /// # Errors
    /// The system's.
    pub fn complete(&self, partial: &Path, path: &Path) -> Result<(), Error> {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_owned();
        let complete = || {
            syncfs(self.dir(partial)?.readable()?)?;
            let above = self.dir(path.parent().unwrap_or(Path::new("/")))?;
            match renameat(&above.0, &*name(partial), &above.0, &*name(path)) {
                Ok(()) | Err(Errno::EEXIST | Errno::ENOTEMPTY) => above.sync_names(),
                Err(error) => Err(error),
            }
        };
        complete()
            .map_err(io::Error::from)
            .map_err(Error::io("complete the folder", self.outside(path)))
    }

    /// Whether a path leads to something.
    ///
    /// # Errors
    /// The system's, where it cannot tell.
    pub fn exists(&self, path: &Path) -> Result<bool, Error> {
        match self.resolve(path, OFlag::O_PATH | OFlag::O_CLOEXEC) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
            Err(error) => Err(Error::io("look for", self.outside(path))(error.into())),
        }
    }

    fn dir(&self, path: &Path) -> nix::Result<Dir> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        self.resolve(path, flags).map(Dir)
    }

    fn resolve(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        match self.resolve {
            Resolve::InKernel => {
                let inside = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
                let how = OpenHow::new().flags(flags).resolve(inside);
                loop {
                    match openat2(&self.fd, path, how) {
                        // A rename beside it made the kernel unsure of a `..`.
                        Err(Errno::EAGAIN | Errno::EINTR) => {}
                        done => return done,
                    }
                }
            }
            Resolve::Here => self.walk(path, flags),
        }
    }

    /// What openat2 does: from descriptor to descriptor, so that nothing that is
    /// renamed or replaced meanwhile can lead out.
    fn walk(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        let mut folders: Vec<OwnedFd> = Vec::new();
        let mut names = names(path);
        let mut links = 0;
        while let Some(name) = names.pop() {
            if name == ".." {
                // In the root, `..` is the root.
                folders.pop();
                continue;
            }
            let at = folders.last().unwrap_or(&self.fd);
            let look = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let found = openat(at, name.as_os_str(), look, Mode::empty())?;
            if is_link(&found)? {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::ELOOP);
                }
                // Of the link that was found, even if another has its name by now.
                let target = PathBuf::from(readlinkat(&found, "")?);
                if target.is_absolute() {
                    folders.clear();
                }
                names.extend(self::names(&target));
            } else if names.is_empty() && !flags.contains(OFlag::O_PATH) {
                let flags = flags | OFlag::O_NOFOLLOW;
                return openat(at, name.as_os_str(), flags, Mode::empty());
            } else {
                folders.push(found);
            }
        }
        match folders.pop() {
            // It need not be a folder, which alone could be opened once more.
            Some(found) if flags.contains(OFlag::O_PATH) && !flags.contains(OFlag::O_DIRECTORY) => {
                Ok(found)
            }
            Some(found) => openat(&found, ".", flags, Mode::empty()),
            None => openat(&self.fd, ".", flags, Mode::empty()),
        }
    }
}

/// The names along a path, last first; the root itself is none.
fn names(path: &Path) -> Vec<OsString> {
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

fn is_link(fd: &OwnedFd) -> nix::Result<bool> {
    let kind = SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT;
    Ok(kind == SFlag::S_IFLNK)
}

#[cfg(test)]
mod tests;
