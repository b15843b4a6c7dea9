//! Copies files and directories from one root to another, or inside one.
//!
//! Each file is made whole under a temporary name and then renamed: no process sees
//! half a file, and a program that runs can be replaced.

use std::ffi::{OsStr, OsString};
use std::fs::{File, FileTimes, Metadata, Permissions};
use std::io::{self, Seek};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::symlinkat;

use super::dir::READ;
use super::{Dir, MAX_SYMLINKS, Root};
use crate::error::Error;

/// Lays the directory `source` over the directory `target`, which is created if it
/// is missing (contract §7, 3 and 5).
///
/// - Files bring their permissions and times, and replace a file or a link. A file
///   that replaces one keeps that one's owner; a new one belongs to the agent's user.
/// - Links are copied as links.
/// - Directories are merged, also through a link to a directory (`lib` to
///   `usr/lib`). New ones get the permissions of their source. Existing ones keep
///   theirs, `/` and `/tmp` among them.
///
/// # Errors
/// If something in the source is no file, directory or link: then nothing is
/// written. If a file is in the way of a directory or a directory in the way of a
/// file, and if the system refuses: then the copies made so far stay.
pub fn copy_tree(from: &Root, source: &Path, to: &Root, target: &Path) -> Result<(), Error> {
    let target = Path::new("/").join(target);
    // Before anything is written, since one may lie inside the other.
    let directories = plan(from, source, &target)?;
    if let Some(above) = target.parent() {
        to.create_durable_dir_all(above)?;
    }
    for directory in directories {
        let at = from.open_dir(&directory.source)?;
        let into = create_dir(to, &directory.target, directory.mode).map_err(|error| {
            Error::io(
                "create the directory",
                to.host_path(&directory.target),
                error,
            )
        })?;
        for name in directory.names {
            let entry = Entry::open(&at, &name).map_err(|error| {
                Error::io("copy", from.host_path(&directory.source.join(&name)), error)
            })?;
            entry.install(&into, &name).map_err(|error| {
                Error::io(
                    "replace",
                    to.host_path(&directory.target.join(&name)),
                    error,
                )
            })?;
        }
    }
    Ok(())
}

/// Gives the file `target` the contents of the file `source` (contract §7, 1).
///
/// Links are followed inside the roots. If those of `target` lead to a missing
/// file, it is created, and the directories above it. An existing file keeps its
/// permissions and owner. A file copied over itself is left alone.
///
/// # Errors
/// If one of them is something else than a file, and if the system refuses.
pub fn copy_file(from: &Root, source: &Path, to: &Root, target: &Path) -> Result<(), Error> {
    let mut file = from
        .resolve(source, READ)
        .map_err(io::Error::from)
        .and_then(|fd| Source::new(fd.into()))
        .map_err(|error| Error::io("copy", from.host_path(source), error))?;
    let (dir, name) = follow(to, target)?;
    file.install(Preserve::Nothing, &dir, &name)
        .map_err(|error| Error::io("replace", to.host_path(target), error))
}

/// A directory to be copied, with the names in it that are no directories.
struct DirPlan {
    source: PathBuf,
    target: PathBuf,
    mode: Mode,
    names: Vec<OsString>,
}

/// Lists the directory `source` and all below it, each after the one it is in.
fn plan(from: &Root, source: &Path, target: &Path) -> Result<Vec<DirPlan>, Error> {
    let mut plans = Vec::new();
    // No recursion, and one descriptor at a time: a tree may be deep.
    let mut left = vec![(source.to_owned(), target.to_owned())];
    while let Some((source, target)) = left.pop() {
        let dir = from.open_dir(&source)?;
        let (mode, names) = mode_and_names(&dir)
            .map_err(|error| Error::io("list", from.host_path(&source), error))?;
        let mut others = Vec::new();
        for name in names {
            let path = source.join(&name);
            match kind(&dir, &name)
                .map_err(|error| Error::io("copy", from.host_path(&path), error))?
            {
                SFlag::S_IFDIR => left.push((path, target.join(&name))),
                _ => others.push(name),
            }
        }
        plans.push(DirPlan {
            source,
            target,
            mode,
            names: others,
        });
    }
    Ok(plans)
}

fn mode_and_names(dir: &Dir) -> io::Result<(Mode, Vec<OsString>)> {
    let mode = Mode::from_bits_truncate(fstat(&dir.0)?.st_mode);
    Ok((mode, dir.names(|name| name != "." && name != "..")?))
}

/// Tells if a name is that of a directory, a file or a link; nothing else is copied.
fn kind(dir: &Dir, name: &OsStr) -> io::Result<SFlag> {
    let stat = fstatat(&dir.0, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        kind @ (SFlag::S_IFDIR | SFlag::S_IFREG | SFlag::S_IFLNK) => Ok(kind),
        _ => Err(io::Error::other("expected a file, a directory or a link")),
    }
}

/// Opens the directory at `path`; creates it with `mode` if it is missing.
fn create_dir(root: &Root, path: &Path, mode: Mode) -> nix::Result<Dir> {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return root.dir(path);
    };
    let above = root.dir(above)?;
    match mkdirat(&above.0, name, Mode::S_IRWXU) {
        Ok(()) => {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let dir = openat(&above.0, name, flags, Mode::empty())?;
            // At once, since the next run leaves the mode of an existing directory
            // alone. Not by mkdir, whose mode the umask reduces.
            fchmod(&dir, mode)?;
            Ok(Dir(dir))
        }
        Err(Errno::EEXIST) => root.dir(path),
        Err(error) => Err(error),
    }
}

/// Follows the links at the end of a path, inside the root. Creates missing
/// directories on the way.
fn follow(root: &Root, path: &Path) -> Result<(Dir, OsString), Error> {
    let refused = |error: Errno| Error::io("follow", root.host_path(path), error);
    let mut end = Path::new("/").join(path);
    for _ in 0..=MAX_SYMLINKS {
        let (Some(above), Some(name)) = (end.parent(), end.file_name()) else {
            return Err(refused(Errno::EISDIR));
        };
        let dir = root.create_durable_dir_all(above)?;
        match readlinkat(&dir.0, name) {
            Ok(link) => end = above.join(link),
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok((dir, name.to_owned())),
            Err(error) => return Err(refused(error)),
        }
    }
    Err(refused(Errno::ELOOP))
}

/// A file or link that is to be copied.
enum Entry {
    File(Source),
    Link(OsString),
}

impl Entry {
    fn open(dir: &Dir, name: &OsStr) -> io::Result<Entry> {
        match readlinkat(&dir.0, name) {
            Ok(link) => Ok(Entry::Link(link)),
            // It is no link.
            Err(Errno::EINVAL) => {
                let fd = openat(&dir.0, name, READ | OFlag::O_NOFOLLOW, Mode::empty())?;
                Source::new(fd.into()).map(Entry::File)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn install(self, dir: &Dir, name: &OsStr) -> io::Result<()> {
        match self {
            Entry::File(mut source) => source.install(Preserve::ModeAndTimes, dir, name),
            Entry::Link(link) => {
                replaceable(dir, name)?;
                let (temporary, ()) = dir.temporary(|name| Ok(symlinkat(&*link, &dir.0, name)?))?;
                rename_or_remove(dir, &temporary, name, Ok(()))
            }
        }
    }
}

/// Says which metadata a copy takes over from its source, besides the contents.
#[derive(Clone, Copy)]
enum Preserve {
    Nothing,
    ModeAndTimes,
}

/// A file that is to be copied.
struct Source {
    file: File,
    metadata: Metadata,
}

impl Source {
    fn new(file: File) -> io::Result<Source> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("expected a file"));
        }
        Ok(Source { file, metadata })
    }

    fn install(&mut self, preserve: Preserve, dir: &Dir, name: &OsStr) -> io::Result<()> {
        let old = replaceable(dir, name)?;
        let id = (self.metadata.dev(), self.metadata.ino());
        if old.is_some_and(|old| (old.st_dev, old.st_ino) == id) {
            return Ok(());
        }
        // Private until it has its permissions.
        let private = Mode::S_IRUSR | Mode::S_IWUSR;
        let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let create = OFlag::O_CREAT | OFlag::O_EXCL;
        let (temporary, fd) =
            dir.temporary(|name| Ok(openat(&dir.0, name, flags | create, private)?))?;
        let written = self.write(preserve, old, fd.into());
        match rename_or_remove(dir, &temporary, name, written) {
            // A mount point, as resolv.conf is in a container, can only be rewritten.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                let fd = openat(&dir.0, name, flags | OFlag::O_TRUNC, Mode::empty())?;
                self.file.rewind()?;
                self.write(preserve, old, fd.into())
            }
            installed => installed,
        }
    }

    /// Makes `file` a copy that takes the place of `old`.
    fn write(
        &mut self,
        preserve: Preserve,
        old: Option<FileStat>,
        mut file: File,
    ) -> io::Result<()> {
        io::copy(&mut self.file, &mut file)?;
        if let Some(old) = old {
            hand_over(&file, &old)?;
        }
        // After the owner: changing the owner clears setuid.
        file.set_permissions(match (preserve, old) {
            (Preserve::ModeAndTimes, _) => self.metadata.permissions(),
            (Preserve::Nothing, Some(old)) => Permissions::from_mode(old.st_mode),
            (Preserve::Nothing, None) => Permissions::from_mode(0o644),
        })?;
        match preserve {
            Preserve::ModeAndTimes => file.set_times(
                FileTimes::new()
                    .set_accessed(self.metadata.accessed()?)
                    .set_modified(self.metadata.modified()?),
            ),
            Preserve::Nothing => Ok(()),
        }
    }
}

/// Gives a file the owner of the `old` one, if that is permitted: only to root, and
/// not in every user namespace.
fn hand_over(file: &File, old: &FileStat) -> io::Result<()> {
    let Err(error) = fchown(file, Some(old.st_uid), Some(old.st_gid)) else {
        return Ok(());
    };
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM | Errno::EINVAL) => Ok(()),
        _ => Err(error),
    }
}

/// Finds the file that a copy will replace, if there is one. A link may be replaced
/// too, anything else not.
fn replaceable(dir: &Dir, name: &OsStr) -> io::Result<Option<FileStat>> {
    match fstatat(&dir.0, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFREG => Ok(Some(stat)),
            SFlag::S_IFLNK => Ok(None),
            _ => Err(io::Error::other("expected a file or a link")),
        },
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Gives what was `made` under a temporary name its final name, or removes it.
fn rename_or_remove(
    dir: &Dir,
    temporary: &OsStr,
    name: &OsStr,
    made: io::Result<()>,
) -> io::Result<()> {
    let renamed = made.and_then(|()| Ok(renameat(&dir.0, temporary, &dir.0, name)?));
    if renamed.is_err() {
        // The first error is the one to report.
        let _ = dir.remove(temporary);
    }
    renamed
}

#[cfg(test)]
mod tests;
