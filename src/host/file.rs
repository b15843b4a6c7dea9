//! Opens files. Looks at a file before it opens it: to open a device or a fifo can be
//! an action of its own. A watchdog starts, a tape rewinds, a writer wakes up.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use super::Dir;

/// Looks at a file without opening it; never follows a link at the end of a path.
pub(super) const LOOK: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);

/// Opens a file so that nothing is waited for, and no terminal becomes the agent's,
/// even if the file has become something else since it was looked at.
const CAUTIOUS: OFlag = OFlag::O_NONBLOCK
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC);

/// A file that was looked at: it is a regular file, and is not open yet.
#[derive(Debug)]
pub(super) struct Found {
    fd: OwnedFd,
    pub(super) stat: FileStat,
}

impl Found {
    /// Takes a descriptor of [`LOOK`].
    ///
    /// # Errors
    /// If it is something else than a regular file.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Found> {
        let stat = fstat(&fd)?;
        if kind(&stat) == SFlag::S_IFREG {
            Ok(Found { fd, stat })
        } else {
            Err(io::Error::other("expected a file"))
        }
    }

    /// Finds a file in a directory.
    pub(super) fn in_dir(dir: &Dir, name: &OsStr) -> io::Result<Found> {
        Found::new(dir.open_at(name, LOOK | OFlag::O_NOFOLLOW, Mode::empty())?)
    }

    /// Opens the file that was found, and no other. `by_name` opens it again by its
    /// name, with the flags given to it: the only way if there is no /proc.
    pub(super) fn open(
        &self,
        access: OFlag,
        by_name: &dyn Fn(OFlag) -> nix::Result<OwnedFd>,
    ) -> io::Result<File> {
        let flags = access | CAUTIOUS;
        let fd = match open(&*proc_path(&self.fd), flags, Mode::empty()) {
            Err(Errno::ENOENT) => {
                let fd = by_name(flags | OFlag::O_NOFOLLOW)?;
                let again = fstat(&fd)?;
                if id(&again) != id(&self.stat) {
                    return Err(io::Error::other("another file has its name now"));
                }
                fd
            }
            opened => opened?,
        };
        Ok(File::from(fd))
    }

    /// Opens the file that was found in a directory.
    pub(super) fn open_in(&self, dir: &Dir, name: &OsStr, access: OFlag) -> io::Result<File> {
        self.open(access, &|flags| dir.open_at(name, flags, Mode::empty()))
    }
}

/// Names a file by its descriptor, for calls that take only a name.
pub(super) fn proc_path(fd: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

/// Tells which file it is: two names with one id are one file.
pub(super) fn id(stat: &FileStat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// Tells what kind of file it is.
pub(super) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// Reads all of a file, if it has at most `most` bytes.
pub(super) fn read_file(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more, to see the end in the first read.
    let len = file.metadata()?.len().min(most).saturating_add(1);
    bytes.try_reserve(usize::try_from(len).unwrap_or(usize::MAX))?;
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let problem = format!("expected at most {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(bytes)
}
