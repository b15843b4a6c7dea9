//! Writing and removing files of a directory durably: after a crash at any moment the
//! old is there or the new, never half of it.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use libc::{S_IFMT, S_IFREG};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use super::dir::Dir;
use super::root::Root;

/// Opens a directory itself, and no link to one.
const SUBDIRECTORY: OFlag = OFlag::O_PATH
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// The mode of a new file, before the umask.
const NEW: Mode = Mode::from_bits_truncate(0o666);

impl Dir {
    /// Writes a whole file durably. A regular file that is replaced leaves its mode and
    /// owner to the new one; a link is replaced itself.
    ///
    /// Until the file is whole and on disk it has the name `temporary`. The caller makes
    /// sure that no other process uses that name. A file that an agent which was killed has
    /// left there is removed.
    ///
    /// # Errors
    /// The system's. The file is old or new then, and may not be durable.
    pub fn write_whole(&self, name: &OsStr, content: &[u8], temporary: &OsStr) -> io::Result<()> {
        let old = self.stat(name)?;
        let file = self.create(temporary)?;
        let written = fill(&file, content, old.as_ref())
            .and_then(|()| Ok(renameat(&self.0, temporary, &self.0, name)?));
        self.or_remove(temporary, written)?;
        self.sync()
    }

    /// Creates a whole file durably, if nothing has the name yet. Returns `false` if
    /// something has it, also if it is a link without a target. Of all who try at once,
    /// one creates it. `temporary` is as in [`write_whole`](Self::write_whole), and is used
    /// only if the file system or /proc knows no files without a name.
    ///
    /// # Errors
    /// The system's. The file is whole or missing then, and may not be durable.
    pub fn create_whole(
        &self,
        name: &OsStr,
        content: &[u8],
        temporary: &OsStr,
    ) -> io::Result<bool> {
        let is_created = if let Some(file) = self.create_unnamed() {
            fill(&file, content, None)?;
            // Only a file with a name is sure to be on disk (see `create`).
            give_name(&file, self, name)? && file.sync_all().map(|()| true)?
        } else {
            let file = self.create(temporary)?;
            let created = fill(&file, content, None).and_then(|()| {
                let linked = linkat(&self.0, temporary, &self.0, name, AtFlags::empty());
                self.remove(temporary)?;
                is_new(linked)
            });
            self.or_remove(temporary, created)?
        };
        if is_created {
            self.sync()?;
        }
        Ok(is_created)
    }

    /// Creates an empty file to be written.
    ///
    /// It has a name from the start: btrfs brings nothing of a file without a name
    /// (O_TMPFILE) to disk when it is synced. It could get its name on disk before its
    /// contents, since another agent may sync the directory at any moment.
    fn create(&self, temporary: &OsStr) -> io::Result<File> {
        self.remove(temporary)?;
        let exclusive = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        Ok(File::from(openat(&self.0, temporary, exclusive, NEW)?))
    }

    /// Creates an empty file without a name, if the file system and /proc allow it.
    fn create_unnamed(&self) -> Option<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_TMPFILE | OFlag::O_CLOEXEC;
        let fd = openat(&self.0, ".", flags, NEW).ok()?;
        proc_path(&fd).exists().then(|| File::from(fd))
    }

    /// Removes `temporary` if the writing has failed.
    fn or_remove<T>(&self, temporary: &OsStr, written: io::Result<T>) -> io::Result<T> {
        if written.is_err() {
            // The first error is the one to report.
            let _ = self.remove(temporary);
        }
        written
    }

    /// Describes a file or a link itself; `None` if there is none.
    pub(super) fn stat(&self, name: &OsStr) -> io::Result<Option<FileStat>> {
        match fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
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

    /// Removes a name and, if it is a directory, everything below it, durably. No link
    /// is followed. A missing name counts as removed.
    ///
    /// # Errors
    /// The system's. A part may have been removed then.
    pub fn remove_tree(&self, name: &OsStr) -> io::Result<()> {
        while !self.remove_a_leaf(name)? {}
        // All else was below this name: without it, nothing leads there.
        self.sync()
    }

    /// Removes the first directory at or below `name` that has no others in it, with
    /// all its files. Returns true if that was `name` itself.
    ///
    /// Each time from the top, so that no depth uses up the descriptors.
    fn remove_a_leaf(&self, name: &OsStr) -> io::Result<bool> {
        let mut above: Option<Dir> = None;
        let mut name = name.to_owned();
        loop {
            let is_top = above.is_none();
            let at = above.as_ref().unwrap_or(self);
            let dir = match openat(&at.0, &*name, SUBDIRECTORY, Mode::empty()) {
                Ok(fd) => Dir(fd),
                Err(Errno::ENOENT) => return Ok(is_top),
                // A file or a link.
                Err(Errno::ENOTDIR | Errno::ELOOP) => {
                    at.remove(&name)?;
                    return Ok(is_top);
                }
                Err(error) => return Err(error.into()),
            };
            match dir.remove_files()? {
                Some(directory) => {
                    name = directory;
                    above = Some(dir);
                }
                None => {
                    unlinkat(&at.0, &*name, UnlinkatFlags::RemoveDir)?;
                    return Ok(is_top);
                }
            }
        }
    }

    /// Removes all files, and all links themselves. Returns the name of a directory, if
    /// there is one.
    fn remove_files(&self) -> io::Result<Option<OsString>> {
        let mut directory = None;
        for name in self.names(|name| name != "." && name != "..")? {
            match unlinkat(&self.0, &*name, UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(Errno::EISDIR) => directory = Some(name),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(directory)
    }
}

impl Root {
    /// Removes a directory if it is there and empty. Not durable, and a failure is
    /// nothing to report: an empty directory means nothing.
    pub fn remove_empty_dir(&self, path: &Path) {
        if let (Some(above), Some(name)) = (path.parent(), path.file_name())
            && let Ok(above) = self.dir(above)
        {
            let _ = unlinkat(&above.0, name, UnlinkatFlags::RemoveDir);
        }
    }
}

/// Writes a new file's content, gives it the mode and the owner of a regular file that
/// it replaces, and makes it durable.
fn fill(mut file: &File, content: &[u8], old: Option<&FileStat>) -> io::Result<()> {
    if let Some(old) = old.filter(|old| old.st_mode & S_IFMT == S_IFREG) {
        let new = fstat(file)?;
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid) {
            match fchown(file, Some(old.st_uid), Some(old.st_gid)) {
                // An ordinary user can give no file away. It is that user's own then.
                Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
                _ => {}
            }
        }
        // After the owner, whose change takes bits away.
        file.set_permissions(Permissions::from_mode(old.st_mode & 0o7777))?;
    }
    file.write_all(content)?;
    file.sync_all()
}

/// Gives an unnamed file its name. Returns `false` if the name is taken.
fn give_name(file: &File, dir: &Dir, name: &OsStr) -> io::Result<bool> {
    let path = proc_path(file);
    is_new(linkat(
        AT_FDCWD,
        &path,
        &dir.0,
        name,
        AtFlags::AT_SYMLINK_FOLLOW,
    ))
}

/// Tells from the result of linkat if the name is new.
fn is_new(linked: nix::Result<()>) -> io::Result<bool> {
    match linked {
        Ok(()) => Ok(true),
        Err(Errno::EEXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The path by which a file without a name can be linked: linkat by descriptor alone
/// needs a capability.
fn proc_path(file: &impl AsRawFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}
