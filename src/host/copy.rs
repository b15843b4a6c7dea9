//! Copies files and folders from one root to another, or inside one.
//!
//! What is put in a folder is made whole under a name of its own and then renamed:
//! nobody sees half a file, and a program that runs can be replaced.

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
use super::{Dir, MOST_LINKS, Root};
use crate::error::Error;

/// Lays the folder `source` over the folder `target`, which is created where it is
/// missing (contract §7, 3 and 5).
///
/// - Files bring their permissions and times, and take the place of a file or of a
///   link. Their owner is that of the file replaced, else whoever copies.
/// - Links are copied as links.
/// - Folders are merged, also through a link to a folder (`lib` to `usr/lib`). Those
///   that are created have their source's permissions; those that were there keep
///   theirs, `/` and `/tmp` among them.
///
/// # Errors
/// Where something in the source is no file, folder or link: then nothing is
/// written. Where a file is in the way of a folder or a folder in the way of a
/// file, and where the system refuses: what was copied by then stays.
pub fn copy_tree(from: &Root, source: &Path, to: &Root, target: &Path) -> Result<(), Error> {
    let target = Path::new("/").join(target);
    // Before anything is written: one may lie inside the other.
    let folders = list(from, source, &target)?;
    if let Some(above) = target.parent() {
        to.create_dir_all(above)?;
    }
    for folder in folders {
        let at = from.open_dir(&folder.source)?;
        let into = create_dir(to, &folder.target, folder.mode)
            .map_err(io::Error::from)
            .map_err(Error::io("create the folder", to.outside(&folder.target)))?;
        for name in folder.names {
            let source = from.outside(&folder.source.join(&name));
            let target = to.outside(&folder.target.join(&name));
            let item = Item::open(&at, &name).map_err(Error::io("copy", source))?;
            item.put(&into, &name)
                .map_err(Error::io("replace", target))?;
        }
    }
    Ok(())
}

/// Gives the file `target` the contents of the file `source` (contract §7, 1).
///
/// Links are followed inside the roots. Where those of `target` lead to a file that
/// is missing, it is created, and the folders above it. A file that was there keeps
/// its permissions and owner. A file copied over itself is left alone.
///
/// # Errors
/// Where one of them is something else than a file, and where the system refuses.
pub fn copy_file(from: &Root, source: &Path, to: &Root, target: &Path) -> Result<(), Error> {
    let mut source = from
        .resolve(source, READ)
        .map_err(io::Error::from)
        .and_then(|fd| Source::new(fd.into()))
        .map_err(Error::io("copy", from.outside(source)))?;
    let (dir, name) = follow(to, target)?;
    source
        .put(What::Contents, &dir, &name)
        .map_err(Error::io("replace", to.outside(target)))
}

/// A folder to be copied, with the names in it that are no folders.
struct Folder {
    source: PathBuf,
    target: PathBuf,
    mode: Mode,
    names: Vec<OsString>,
}

/// The folder `source` and all below it, each behind the one it is in.
fn list(from: &Root, source: &Path, target: &Path) -> Result<Vec<Folder>, Error> {
    let mut folders = Vec::new();
    // No recursion, and one descriptor at a time: a tree can be of any depth.
    let mut left = vec![(source.to_owned(), target.to_owned())];
    while let Some((source, target)) = left.pop() {
        let dir = from.open_dir(&source)?;
        let listed = || Ok((fstat(&dir.0)?.st_mode, dir.names(|_| true)?));
        let (mode, mut names) = listed().map_err(Error::io("list", from.outside(&source)))?;
        names.retain(|name| name != "." && name != "..");
        let mut others = Vec::new();
        for name in names {
            let path = source.join(&name);
            match kind(&dir, &name).map_err(Error::io("copy", from.outside(&path)))? {
                SFlag::S_IFDIR => left.push((path, target.join(&name))),
                _ => others.push(name),
            }
        }
        folders.push(Folder {
            source,
            target,
            mode: Mode::from_bits_truncate(mode),
            names: others,
        });
    }
    Ok(folders)
}

/// Whether a name is that of a folder, a file or a link; nothing else is copied.
fn kind(dir: &Dir, name: &OsStr) -> io::Result<SFlag> {
    let stat = fstatat(&dir.0, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        kind @ (SFlag::S_IFDIR | SFlag::S_IFREG | SFlag::S_IFLNK) => Ok(kind),
        _ => Err(io::Error::other("expected a file, a folder or a link")),
    }
}

/// The folder at `path`, created with `mode` where it is missing.
fn create_dir(root: &Root, path: &Path, mode: Mode) -> nix::Result<Dir> {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return root.dir(path);
    };
    let above = root.dir(above)?;
    match mkdirat(&above.0, name, Mode::S_IRWXU) {
        Ok(()) => {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let dir = openat(&above.0, name, flags, Mode::empty())?;
            // At once: the next run takes a folder as it finds it. And not by
            // mkdir, from which the umask takes away.
            fchmod(&dir, mode)?;
            Ok(Dir(dir))
        }
        Err(Errno::EEXIST) => root.dir(path),
        Err(error) => Err(error),
    }
}

/// Where the links at the end of a path lead, inside the root. The folders on the
/// way are created where they are missing.
fn follow(root: &Root, path: &Path) -> Result<(Dir, OsString), Error> {
    let refused = |error: Errno| Error::io("follow", root.outside(path))(error.into());
    let mut end = Path::new("/").join(path);
    for _ in 0..=MOST_LINKS {
        let (Some(above), Some(name)) = (end.parent(), end.file_name()) else {
            return Err(refused(Errno::EISDIR));
        };
        let dir = root.create_dir_all(above)?;
        match readlinkat(&dir.0, name) {
            Ok(link) => end = above.join(link),
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok((dir, name.to_owned())),
            Err(error) => return Err(refused(error)),
        }
    }
    Err(refused(Errno::ELOOP))
}

/// Something in a folder that is to be copied.
enum Item {
    File(Source),
    Link(OsString),
}

impl Item {
    fn open(dir: &Dir, name: &OsStr) -> io::Result<Item> {
        match readlinkat(&dir.0, name) {
            Ok(link) => Ok(Item::Link(link)),
            // It is no link.
            Err(Errno::EINVAL) => {
                let fd = openat(&dir.0, name, READ | OFlag::O_NOFOLLOW, Mode::empty())?;
                Source::new(fd.into()).map(Item::File)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn put(self, dir: &Dir, name: &OsStr) -> io::Result<()> {
        match self {
            Item::File(mut source) => source.put(What::All, dir, name),
            Item::Link(link) => {
                replaceable(dir, name)?;
                let make = |name: &OsStr| Ok(symlinkat(&*link, &dir.0, name)?);
                let (temporary, ()) = dir.temporary(make)?;
                put_in_place(dir, &temporary, name, Ok(()))
            }
        }
    }
}

/// What a file gets from the file it is a copy of.
#[derive(Clone, Copy)]
enum What {
    Contents,
    /// Permissions and times too.
    All,
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

    fn put(&mut self, what: What, dir: &Dir, name: &OsStr) -> io::Result<()> {
        let old = replaceable(dir, name)?;
        let id = (self.metadata.dev(), self.metadata.ino());
        if old.is_some_and(|old| (old.st_dev, old.st_ino) == id) {
            return Ok(());
        }
        // Nobody else's to read until it has its permissions.
        let private = Mode::S_IRUSR | Mode::S_IWUSR;
        let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let create = OFlag::O_CREAT | OFlag::O_EXCL;
        let (temporary, fd) =
            dir.temporary(|name| Ok(openat(&dir.0, name, flags | create, private)?))?;
        let written = self.write(what, old, fd.into());
        match put_in_place(dir, &temporary, name, written) {
            // A mount, as resolv.conf is in a container: it can only be rewritten.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                let fd = openat(&dir.0, name, flags | OFlag::O_TRUNC, Mode::empty())?;
                self.file.rewind()?;
                self.write(what, old, fd.into())
            }
            put => put,
        }
    }

    /// Makes `file` a copy that takes the place of `old`.
    fn write(&mut self, what: What, old: Option<FileStat>, mut file: File) -> io::Result<()> {
        io::copy(&mut self.file, &mut file)?;
        if let Some(old) = old {
            hand_over(&file, &old)?;
        }
        // After the owner, a change of which takes setuid away.
        file.set_permissions(match (what, old) {
            (What::All, _) => self.metadata.permissions(),
            (What::Contents, Some(old)) => Permissions::from_mode(old.st_mode),
            (What::Contents, None) => Permissions::from_mode(0o644),
        })?;
        match what {
            What::All => file.set_times(
                FileTimes::new()
                    .set_accessed(self.metadata.accessed()?)
                    .set_modified(self.metadata.modified()?),
            ),
            What::Contents => Ok(()),
        }
    }
}

/// Gives a file the owner of the `old` one, where that is permitted: to root, and
/// even then not in every user namespace.
fn hand_over(file: &File, old: &FileStat) -> io::Result<()> {
    let Err(error) = fchown(file, Some(old.st_uid), Some(old.st_gid)) else {
        return Ok(());
    };
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM | Errno::EINVAL) => Ok(()),
        _ => Err(error),
    }
}

/// The file that a copy will replace, if there is one. A link goes too; anything
/// else stays.
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

/// Gives what was `made` under a temporary name its own, or removes it.
fn put_in_place(
    dir: &Dir,
    temporary: &OsStr,
    name: &OsStr,
    made: io::Result<()>,
) -> io::Result<()> {
    let put = made.and_then(|()| Ok(renameat(&dir.0, temporary, &dir.0, name)?));
    if put.is_err() {
        // The error above is the one to tell.
        let _ = dir.remove(temporary);
    }
    put
}

#[cfg(test)]
mod tests;
