//! Work in one directory, by plain names: no link is followed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat, fsync, symlinkat, unlinkat};

use super::file::{Found, kind, read_file};

/// A directory inside a root.
#[derive(Debug)]
pub struct Dir(pub(super) OwnedFd);

/// What is in a directory, in no order.
#[derive(Debug, Default)]
pub struct Listed {
    /// The names of directories.
    pub dirs: Vec<OsString>,
    /// The names of files.
    pub files: Vec<OsString>,
}

/// The calls that the others are made of. Not generic, and so not in the binary once for
/// each type of a name.
impl Dir {
    #[inline(never)]
    pub(super) fn open_at(&self, name: &OsStr, flags: OFlag, mode: Mode) -> nix::Result<OwnedFd> {
        openat(&self.0, name, flags | OFlag::O_CLOEXEC, mode)
    }

    #[inline(never)]
    pub(super) fn stat_at(&self, name: &OsStr) -> nix::Result<FileStat> {
        fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW)
    }

    #[inline(never)]
    pub(super) fn rename_at(&self, from: &OsStr, above: &Dir, to: &OsStr) -> nix::Result<()> {
        renameat(&self.0, from, &above.0, to)
    }

    #[inline(never)]
    pub(super) fn unlink_at(&self, name: &OsStr, flag: UnlinkatFlags) -> nix::Result<()> {
        unlinkat(&self.0, name, flag)
    }

    #[inline(never)]
    pub(super) fn mkdir_at(&self, name: &OsStr, mode: Mode) -> nix::Result<()> {
        mkdirat(&self.0, name, mode)
    }

    #[inline(never)]
    pub(super) fn read_link_at(&self, name: &OsStr) -> nix::Result<OsString> {
        readlinkat(&self.0, name)
    }
}

impl Dir {
    /// Creates a file that is not there yet, to be written.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if the name is taken, also by a link;
    /// otherwise the system's.
    pub fn create_new(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let fd = self.open_at(name, flags, Mode::from_bits_truncate(0o666))?;
        Ok(File::from(fd))
    }

    /// Opens a file for reading; never a link's target.
    ///
    /// # Errors
    /// If it is no file, and the system's.
    pub fn open_file(&self, name: &OsStr) -> io::Result<File> {
        Found::in_dir(self, name)?.open_in(self, name, OFlag::O_RDONLY)
    }

    /// Removes a file, or a link itself. A missing one counts as removed.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        match self.unlink_at(name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a link that is not there yet.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if the name is taken; otherwise the system's.
    pub fn create_link(&self, target: &Path, name: &OsStr) -> io::Result<()> {
        Ok(symlinkat(target, &self.0, name)?)
    }

    /// Reads where a link leads; `None` if the name is none of a link.
    #[must_use]
    pub fn link_target(&self, name: &OsStr) -> Option<OsString> {
        self.read_link_at(name).ok()
    }

    /// Fails if this process may not create names in the directory.
    ///
    /// # Errors
    /// The system's.
    pub fn expect_writable(&self) -> io::Result<()> {
        let access = AccessFlags::W_OK | AccessFlags::X_OK;
        Ok(faccessat(&self.0, ".", access, AtFlags::AT_EACCESS)?)
    }

    /// Makes the names in the directory durable.
    ///
    /// # Errors
    /// The system's.
    pub fn sync(&self) -> io::Result<()> {
        Ok(self.sync_names()?)
    }

    pub(super) fn sync_names(&self) -> nix::Result<()> {
        fsync(self.readable()?)
    }

    /// Reads all of a file in this directory; never a link's target.
    ///
    /// # Errors
    /// If it is no file, and the system's.
    pub fn read(&self, name: &OsStr) -> io::Result<Vec<u8>> {
        read_file(self.open_file(name)?, u64::MAX)
    }

    pub(super) fn mode(&self) -> nix::Result<Mode> {
        Ok(Mode::from_bits_truncate(fstat(&self.0)?.st_mode))
    }

    pub(super) fn readable(&self) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        self.open_at(OsStr::new("."), flags, Mode::empty())
    }

    /// Lists the names in the directory that are `wanted`; a log directory has
    /// thousands.
    ///
    /// # Errors
    /// The system's.
    pub fn names(&self, wanted: impl Fn(&OsStr) -> bool) -> io::Result<Vec<OsString>> {
        self.wanted_names(&wanted)
    }

    fn wanted_names(&self, wanted: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<OsString>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut names = Vec::new();
        for entry in nix::dir::Dir::openat(&self.0, ".", flags, Mode::empty())?.iter() {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if wanted(name) {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Lists the directories in the directory, and the files that are `wanted`. A link is
    /// neither.
    ///
    /// # Errors
    /// The system's.
    pub fn list(&self, wanted: impl Fn(&OsStr) -> bool) -> io::Result<Listed> {
        let mut listed = Listed::default();
        for name in self.names(|name| name != "." && name != "..")? {
            let Some(stat) = self.stat(&name)? else {
                continue;
            };
            match kind(&stat) {
                SFlag::S_IFDIR => listed.dirs.push(name),
                SFlag::S_IFREG if wanted(&name) => listed.files.push(name),
                _ => {}
            }
        }
        Ok(listed)
    }

    /// Tells when a file, or a link itself, was last modified: seconds since the
    /// epoch, and nanoseconds.
    ///
    /// # Errors
    /// The system's.
    pub fn modified(&self, name: &OsStr) -> io::Result<(i64, i64)> {
        let stat = self.stat_at(name)?;
        Ok((stat.st_mtime, stat.st_mtime_nsec))
    }
}
