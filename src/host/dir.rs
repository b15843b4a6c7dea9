//! Work in one directory, by plain names: no link is followed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};

use crate::system::sys;

/// Opens a file for reading. O_NONBLOCK, so that a fifo without a writer is not
/// waited for.
pub(super) const READ: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_CLOEXEC);

/// A directory inside a root.
#[derive(Debug)]
pub struct Dir(pub(super) OwnedFd);

impl Dir {
    /// Creates a file that is not there yet, to be written.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if the name is taken, also by a link;
    /// otherwise the system's.
    pub fn create_new(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let fd = openat(&self.0, name, flags, Mode::from_bits_truncate(0o666))?;
        Ok(File::from(fd))
    }

    /// Opens a file to look at it; never a link's target.
    ///
    /// # Errors
    /// The system's.
    pub fn open_file(&self, name: &OsStr) -> io::Result<File> {
        let fd = openat(&self.0, name, READ | OFlag::O_NOFOLLOW, Mode::empty())?;
        Ok(File::from(fd))
    }

    /// Removes a file, or a link itself. A missing one counts as removed.
    ///
    /// # Errors
    /// The system's.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        match unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a whole file, durably: after a crash at any moment it has its old
    /// content or the new, and once this returns, the new.
    ///
    /// # Errors
    /// The system's. The file is old or new then, and may not be durable.
    pub fn write_atomic(&self, name: &OsStr, content: &[u8]) -> io::Result<()> {
        let (temporary, mut file) = self.temporary(|name| self.create_new(name))?;
        let written = file
            .write_all(content)
            .and_then(|()| file.sync_all())
            .and_then(|()| Ok(renameat(&self.0, &*temporary, &self.0, name)?));
        if let Err(error) = written {
            // The first error is the one to report.
            let _ = self.remove(&temporary);
            return Err(error);
        }
        self.sync()
    }

    /// Makes something under a name that no other agent has.
    pub(super) fn temporary<T>(
        &self,
        make: impl Fn(&OsStr) -> io::Result<T>,
    ) -> io::Result<(OsString, T)> {
        let pid = std::process::id();
        let mut n = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |time| time.subsec_nanos());
        loop {
            let name = OsString::from(format!(".skyhook-agent-{pid}-{n}.tmp"));
            match make(&name) {
                // Every agent in a container of its own has the same process id.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    n = n.wrapping_add(1);
                }
                made => return Ok((name, made?)),
            }
        }
    }

    /// Gives a file another name, durably, and replaces the file that had it.
    ///
    /// # Errors
    /// The system's.
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        renameat(&self.0, from, &self.0, to)?;
        self.sync()
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

    /// Waits until no other agent has this directory locked. Dropping the lock
    /// releases it, and so does the end of the process.
    ///
    /// # Errors
    /// The system's.
    pub fn lock(&self) -> io::Result<OwnedFd> {
        let fd = self.readable()?;
        sys::lock(fd.as_fd())?;
        Ok(fd)
    }

    /// Reads all of a file in this directory; never a link's target.
    ///
    /// # Errors
    /// If it is no file, and the system's.
    pub fn read(&self, name: &OsStr) -> io::Result<Vec<u8>> {
        let fd = openat(&self.0, name, READ | OFlag::O_NOFOLLOW, Mode::empty())?;
        read_file(fd, u64::MAX)
    }

    pub(super) fn readable(&self) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        openat(&self.0, ".", flags, Mode::empty())
    }

    /// Lists the names in the directory that are `wanted`; a log directory has
    /// thousands.
    ///
    /// # Errors
    /// The system's.
    pub fn names(&self, wanted: impl Fn(&OsStr) -> bool) -> io::Result<Vec<OsString>> {
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

    /// Tells when a file, or a link itself, was last modified: seconds since the
    /// epoch, and nanoseconds.
    ///
    /// # Errors
    /// The system's.
    pub fn modified(&self, name: &OsStr) -> io::Result<(i64, i64)> {
        let stat = fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        Ok((stat.st_mtime, stat.st_mtime_nsec))
    }
}

/// Reads all of a file that was opened with [`READ`], if it has at most `most` bytes.
pub(super) fn read_file(fd: OwnedFd, most: u64) -> io::Result<Vec<u8>> {
    let file = File::from(fd);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("expected a file"));
    }
    let mut bytes = Vec::new();
    // One byte more, to see the end in the first read.
    let len = metadata.len().min(most).saturating_add(1);
    bytes.try_reserve(usize::try_from(len).unwrap_or(usize::MAX))?;
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("expected at most {most} bytes")));
    }
    Ok(bytes)
}
