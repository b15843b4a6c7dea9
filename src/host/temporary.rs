//! Files that have no name yet, or only a temporary one.
//!
//! A file is written without a name if the file system allows (O_TMPFILE), else under
//! a temporary one. It is synced under a temporary one in any case: btrfs brings nothing of
//! a file without a name to disk, so that the name that it gets later would be on disk
//! before its contents. A file or a directory with a temporary name is locked as long as
//! its maker lives. So what a killed run has left is known: nothing holds its lock.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, geteuid, linkat};

use super::Dir;
use super::file::{Found, id, kind, proc_path};
use crate::system::sys;

const PREFIX: &[u8] = b".skyhook-agent-";
const SUFFIX: &[u8] = b".tmp";

/// The number of names that are tried: others are taken, or a rival that tidies up was faster.
const TRIES: u32 = 1000;

const OPEN_DIR: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// Tells if a name is a temporary one: `.skyhook-agent-{number}-{number}.tmp`.
pub fn is_temporary(name: &OsStr) -> bool {
    let numbers = name
        .as_bytes()
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_suffix(SUFFIX));
    numbers.is_some_and(|numbers| {
        let mut parts = numbers.split(|byte| *byte == b'-');
        let mut is_number = || {
            let part = parts.next();
            part.is_some_and(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit))
        };
        is_number() && is_number() && parts.next().is_none()
    })
}

/// Makes something under a name that no other agent has.
pub(super) fn make<T>(make: impl Fn(&OsStr) -> io::Result<T>) -> io::Result<(OsString, T)> {
    let pid = std::process::id();
    let mut n = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |time| time.subsec_nanos());
    let mut tries = 0;
    loop {
        let name = OsString::from(format!(".skyhook-agent-{pid}-{n}.tmp"));
        match make(&name) {
            // Every agent in a container of its own has the same process id.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < TRIES => {
                n = n.wrapping_add(1);
                tries += 1;
            }
            made => return Ok((name, made?)),
        }
    }
}

/// Says whether a file has a name while it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It has none: nothing is left of it if the process is killed.
    Unnamed,
    /// It has a temporary one.
    Named,
}

/// A file that is written before it gets its name. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Temporary<'d> {
    dir: &'d Dir,
    file: File,
    /// Its temporary name, if it has one.
    name: Option<OsString>,
}

impl<'d> Temporary<'d> {
    /// Creates a file in `dir` that only its owner can read. It has a temporary name
    /// if that is asked for, or if the file system knows no files without a name.
    pub(super) fn create(dir: &'d Dir, wanted: Kind) -> io::Result<Temporary<'d>> {
        let private = Mode::S_IRUSR | Mode::S_IWUSR;
        if wanted == Kind::Unnamed {
            let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
            match dir.open_at(OsStr::new("."), flags, private) {
                Ok(fd) => {
                    // It will have a temporary name if it replaces a file.
                    let _ = sys::try_lock(fd.as_fd());
                    let file = File::from(fd);
                    let name = None;
                    return Ok(Temporary { dir, file, name });
                }
                // EISDIR, and ENOENT, come from kernels that do not know the flag.
                Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL | Errno::ENOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let (name, file) = make(|name| {
            let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let create = OFlag::O_CREAT | OFlag::O_EXCL;
            let fd = dir.open_at(name, flags | create, private)?;
            // Between these two calls a rival may take it for one of a killed run.
            let locked = !matches!(sys::try_lock(fd.as_fd()), Ok(false));
            if locked && fstat(&fd)?.st_nlink > 0 {
                Ok(File::from(fd))
            } else {
                Err(io::ErrorKind::AlreadyExists.into())
            }
        })?;
        let name = Some(name);
        Ok(Temporary { dir, file, name })
    }

    /// The file, to be written and read.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Tells if the file has a temporary name.
    pub(super) fn kind(&self) -> Kind {
        match self.name {
            Some(_) => Kind::Named,
            None => Kind::Unnamed,
        }
    }

    /// Gives the file its name, and replaces the file or link that has it. If it is to be
    /// durable, it is on disk before it has the name.
    ///
    /// # Errors
    /// [`Unlinkable`](Refused::Unlinkable) if a file without a name cannot get one
    /// here: a file with a temporary name can.
    pub(super) fn publish(mut self, name: &OsStr, durable: bool) -> Result<(), Refused> {
        let temporary = match self.name.take() {
            Some(temporary) => temporary,
            // Only rename replaces, and it needs a name.
            None => {
                let linked = make(|name| Ok(self.link(name)?));
                linked.map_err(|_| Refused::Unlinkable)?.0
            }
        };
        let temporary = &*self.name.insert(temporary);
        if durable {
            self.file.sync_all().map_err(Refused::Unsynced)?;
        }
        self.dir
            .rename_at(temporary, self.dir, name)
            .map_err(Refused::By)?;
        self.name = None;
        Ok(())
    }

    fn link(&self, name: &OsStr) -> nix::Result<()> {
        let follow = AtFlags::AT_SYMLINK_FOLLOW;
        match linkat(AT_FDCWD, &*proc_path(&self.file), &self.dir.0, name, follow) {
            // There is no /proc. This way takes a privilege.
            Err(Errno::ENOENT) => linkat(&self.file, "", &self.dir.0, name, AtFlags::AT_EMPTY_PATH),
            linked => linked,
        }
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // The error that led here is the one to report.
            let _ = self.dir.remove(name);
        }
    }
}

/// The reason why a file does not have its name.
#[derive(Debug)]
pub(super) enum Refused {
    /// A file without a name cannot get one in this directory.
    Unlinkable,
    /// The system refused the name.
    By(Errno),
    /// The system could not bring the file to disk.
    Unsynced(io::Error),
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> io::Error {
        match refused {
            Refused::Unlinkable => io::Error::other("a new file cannot get a name here"),
            Refused::By(error) => error.into(),
            Refused::Unsynced(error) => error,
        }
    }
}

/// Makes `name` a link, and replaces the file or link that has it.
pub(super) fn replace_by_link(dir: &Dir, name: &OsStr, target: &OsStr) -> io::Result<()> {
    let mut tries = 0;
    loop {
        let link = |name: &OsStr| Ok(nix::unistd::symlinkat(target, &dir.0, name)?);
        let (temporary, ()) = make(link)?;
        match dir.rename_at(&temporary, dir, name) {
            Ok(()) => return Ok(()),
            // A rival took it for one of a killed run: a link cannot be locked.
            Err(Errno::ENOENT) if tries < TRIES => tries += 1,
            Err(error) => {
                let _ = dir.remove(&temporary);
                return Err(error.into());
            }
        }
    }
}

/// Creates a directory with a temporary name, which only its owner can enter, and
/// locks it.
pub(super) fn create_dir(above: &Dir) -> io::Result<(OsString, Dir)> {
    make(|name| {
        above.mkdir_at(name, Mode::S_IRWXU)?;
        // As for files: a rival may be faster.
        let taken = || io::Error::from(io::ErrorKind::AlreadyExists);
        let fd = match above.open_at(name, OPEN_DIR, Mode::empty()) {
            Err(Errno::ENOENT) => return Err(taken()),
            opened => opened?,
        };
        if fstat(&fd)?.st_uid != geteuid().as_raw() {
            return Err(io::Error::other("another user has replaced it"));
        }
        let locked = !matches!(sys::try_lock(fd.as_fd()), Ok(false));
        if locked && fstat(&fd)?.st_nlink > 0 {
            Ok(Dir(fd))
        } else {
            Err(taken())
        }
    })
}

/// Removes the files, links and directories with temporary names that killed runs have
/// left in a directory. Leaves those of live rivals, and of other users. What cannot be
/// removed stays.
pub(super) fn remove_stale(dir: &Dir) {
    for name in dir.names(is_temporary).unwrap_or_default() {
        let _ = remove_if_stale(dir, &name);
    }
}

/// Removes one of them, or a directory of the same kind.
pub(super) fn remove_if_stale(dir: &Dir, name: &OsStr) -> io::Result<()> {
    let stat = dir.stat_at(name)?;
    if stat.st_uid != geteuid().as_raw() {
        return Ok(());
    }
    match kind(&stat) {
        SFlag::S_IFLNK => dir.remove(name),
        SFlag::S_IFREG => {
            let file = Found::in_dir(dir, name)?.open_in(dir, name, OFlag::O_RDONLY)?;
            if sys::try_lock(file.as_fd())? && is_still(dir, name, &file)? {
                dir.remove(name)?;
            }
            Ok(())
        }
        SFlag::S_IFDIR => {
            let fd = dir.open_at(name, OPEN_DIR, Mode::empty())?;
            if sys::try_lock(fd.as_fd())? && is_still(dir, name, &fd)? {
                remove_tree(dir, name, &Dir(fd))?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn is_still(dir: &Dir, name: &OsStr, fd: &impl AsFd) -> nix::Result<bool> {
    let now = dir.stat_at(name)?;
    Ok(id(&now) == id(&fstat(fd)?))
}

/// Removes a directory and all that is in it. It may be of any depth: what is deeper
/// than its first level is moved up first. Follows no link.
pub(super) fn remove_tree(above: &Dir, name: &OsStr, dir: &Dir) -> io::Result<()> {
    let mut moved: u64 = 0;
    loop {
        let mut is_empty = true;
        for name in directories_left(dir)? {
            is_empty = false;
            let inner = Dir(dir.open_at(&name, OPEN_DIR, Mode::empty())?);
            for deeper in directories_left(&inner)? {
                // To a name that is free. Nothing else is made in a directory that is
                // locked.
                loop {
                    moved += 1;
                    let free = OsString::from(format!(".{moved}"));
                    match inner.rename_at(&deeper, dir, &free) {
                        Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR) => {}
                        renamed => break renamed?,
                    }
                }
            }
            dir.unlink_at(&name, UnlinkatFlags::RemoveDir)?;
        }
        if is_empty {
            return Ok(above.unlink_at(name, UnlinkatFlags::RemoveDir)?);
        }
    }
}

/// Removes what is no directory, and returns the names of the directories.
fn directories_left(dir: &Dir) -> io::Result<Vec<OsString>> {
    let mut left = Vec::new();
    for name in dir.names(|name| name != "." && name != "..")? {
        match dir.unlink_at(&name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR | Errno::EPERM) => left.push(name),
            removed => removed?,
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests;
