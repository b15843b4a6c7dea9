//! Lock files: who has locked the file works alone.
//!
//! A user who can open a file can lock it, and so stop all that wait for it. So a lock
//! file can be opened by its owner alone, and no directory is ever locked.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;

use libc::{S_IFMT, S_IFREG};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat};
use nix::unistd::geteuid;

use super::dir::Dir;
use crate::system::sys;

/// The most bytes that are read of a lock file.
const MAX_NOTE_LEN: u64 = 512;

/// The mode of a lock file.
const PRIVATE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// A lock file that this process has open.
#[derive(Debug)]
pub struct LockFile {
    file: File,
    dir: Dir,
    name: OsString,
}

impl Dir {
    /// Opens the lock file `name`, and creates it if it is missing. A link, or a file
    /// that others than its owner may open, is replaced.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if the directory has been removed; otherwise the
    /// system's.
    pub fn open_lock_file(self, name: &OsStr) -> io::Result<LockFile> {
        // O_NONBLOCK, so that nothing that is no file is waited for.
        let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        // Another agent may remove or create the file between two calls.
        for _ in 0..100 {
            let opened = openat(&self.0, name, flags, Mode::empty());
            let fd = match opened {
                Ok(fd) => {
                    if is_private(&fstat(&fd)?) {
                        fd
                    } else {
                        self.remove(name)?;
                        continue;
                    }
                }
                Err(Errno::ENOENT) => {
                    let exclusive = flags | OFlag::O_CREAT | OFlag::O_EXCL;
                    match openat(&self.0, name, exclusive, PRIVATE) {
                        Ok(fd) => fd,
                        Err(Errno::EEXIST) => continue,
                        Err(error) => return Err(error.into()),
                    }
                }
                // A link; a fifo or a device without a driver; another user's file.
                Err(Errno::ELOOP | Errno::ENXIO | Errno::ENODEV | Errno::EACCES) => {
                    self.remove(name)?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            return Ok(LockFile {
                file: File::from(fd),
                dir: self,
                name: name.to_owned(),
            });
        }
        Err(io::Error::other(
            "expected a file that only its owner can open",
        ))
    }
}

/// Tells if this user alone can open a file.
fn is_private(stat: &FileStat) -> bool {
    let is_file = stat.st_mode & S_IFMT == S_IFREG;
    is_file && stat.st_uid == geteuid().as_raw() && stat.st_mode & 0o077 == 0
}

impl LockFile {
    /// Locks the file if no other process has it locked. Never waits. The lock ends when
    /// the file is closed, also by the end of the process.
    ///
    /// # Errors
    /// The system's.
    pub fn try_lock(&self) -> io::Result<bool> {
        sys::try_lock(self.file.as_fd())
    }

    /// Tells if the file still has its name. If it has not, its lock is worth nothing:
    /// others lock the file that has the name now.
    ///
    /// # Errors
    /// The system's.
    pub fn has_its_name(&self) -> io::Result<bool> {
        let own = fstat(&self.file)?;
        let named = self.dir.stat(&self.name)?;
        Ok(named.is_some_and(|named| (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)))
    }

    /// Replaces what the file says.
    ///
    /// # Errors
    /// The system's.
    pub fn write_note(&mut self, note: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(note.as_bytes())
    }

    /// Reads what the file says.
    ///
    /// # Errors
    /// The system's.
    pub fn read_note(&mut self) -> io::Result<String> {
        let mut note = Vec::new();
        self.file.rewind()?;
        (&self.file).take(MAX_NOTE_LEN).read_to_end(&mut note)?;
        Ok(String::from_utf8_lossy(&note).into_owned())
    }

    /// Removes the file. Only for the process that has it locked.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self) -> io::Result<()> {
        self.dir.remove(&self.name)
    }
}
