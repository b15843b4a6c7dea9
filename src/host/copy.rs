//! Copies files and directories from one root to another, or inside one.
//!
//! Each file is made whole before it has its name: no process sees half a file, and a
//! program that runs can be replaced. What is the same already is left alone.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, fchmod, fstat};
use nix::unistd::geteuid;

use super::temporary::{remove_stale, replace_by_link};
use super::{Dir, MAX_SYMLINKS, Root};
use crate::error::Error;

mod compare;
mod metadata;
mod plan;
mod source;

pub use compare::{Change, compare_tree};
use metadata::{Preserve, copy_xattrs, keeps_owner};
use plan::{DirPlan, plan};
use source::{Source, replaceable};

/// The options of a copy of a tree.
#[derive(Clone, Copy)]
pub struct Copying<'a> {
    /// Tells if the run has been cancelled. It is asked before each file that is written,
    /// and at least after every 64 MiB, when what was written is on disk.
    pub cancelled: &'a dyn Fn() -> bool,
    /// Tells if each file is on disk before it has its name, and the names of all are at
    /// the end. If not, the caller syncs.
    pub durable: bool,
}

impl Copying<'_> {
    fn is_cancelled(&self) -> bool {
        (self.cancelled)()
    }
}

/// The end of a copy that the system did not refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copied {
    /// All was copied.
    Whole {
        /// The extended attributes that this user may not set, such as file
        /// capabilities: a line that names the first and counts them.
        notice: Option<String>,
    },
    /// The run was cancelled. The files copied so far stay, each of them whole.
    Cancelled,
}

/// Lays the directory `source` over the directory `target`, which is created if it
/// is missing (contract §7, 3 and 5).
///
/// - Files bring their permissions, times and extended attributes, and replace a file
///   or a link. In a directory that none but root may write to, a file that replaces
///   one keeps that one's owner. Any other belongs to the agent's user.
/// - Links are copied as links.
/// - A file or a link that is the same already is left alone.
/// - Directories are merged, also through a link to a directory (`lib` to
///   `usr/lib`). New ones get the permissions of their source. Existing ones keep
///   theirs, `/` and `/tmp` among them.
/// - Labels of security modules, such as SELinux, are not copied.
/// - What killed copies have left in the directories of `target` is removed, and is not
///   copied from those of `source`.
///
/// # Errors
/// If something in the source is no file, directory or link, or if a path is longer
/// than 4095 bytes: then nothing is written. If a file is in the way of a directory or
/// a directory in the way of a file, and if the system refuses: then the copies made
/// so far stay.
pub fn copy_tree(
    from: &Root,
    source: &Path,
    to: &Root,
    target: &Path,
    copying: &Copying<'_>,
) -> Result<Copied, Error> {
    let target = Path::new("/").join(target);
    // Before anything is written, since one may lie inside the other.
    let directories = plan(from, source, &target)?;
    let mut refused = Refused::default();
    let into = match (target.parent(), target.file_name()) {
        (Some(above), Some(name)) => {
            let at = from.open_dir(source)?;
            let above = to.create_durable_dir_all(above)?;
            at.mode()
                .map_err(io::Error::from)
                .and_then(|mode| create_dir(&above, name, mode, &at))
                .and_then(|()| {
                    if copying.durable {
                        above.sync()
                    } else {
                        Ok(())
                    }
                })
                .map_err(|error| Error::io("create the directory", to.host_path(&target), error))?;
            to.open_dir(&target)
        }
        _ => to.open_dir(&target),
    };
    // It exists now, so the error is about what is there.
    drop(into?);
    for directory in directories {
        match copy_dir(from, to, directory, copying, &mut refused) {
            Err(Error::Io { source, .. }) if is_cancelled(&source, copying) => {
                return Ok(Copied::Cancelled);
            }
            copied => copied?,
        }
    }
    Ok(Copied::Whole {
        notice: refused.notice(),
    })
}

/// Copies what is in one directory, except what is in its directories. They are created,
/// so that one sync of their names is enough.
fn copy_dir(
    from: &Root,
    to: &Root,
    plan: DirPlan,
    copying: &Copying<'_>,
    refused: &mut Refused,
) -> Result<(), Error> {
    let at = from.open_dir(&plan.source)?;
    let into = to
        .dir(&plan.target)
        .map_err(|error| Error::io("create the directory", to.host_path(&plan.target), error))?;
    if copying.durable {
        remove_stale(&into);
    }
    for (name, mode) in &plan.dirs {
        let target = plan.target.join(name);
        inner_dir(&at, name)
            .and_then(|source| create_dir(&into, name, *mode, &source))
            // It may be a link to a directory, too.
            .and_then(|()| to.dir(&target).map(drop).map_err(io::Error::from))
            .map_err(|error| Error::io("create the directory", to.host_path(&target), error))?;
    }
    for name in &plan.files {
        let source = Entry::open(&at, name)
            .map_err(|error| Error::io("copy", from.host_path(&plan.source.join(name)), error))?;
        let target = || to.host_path(&plan.target.join(name));
        let attribute = source
            .install(&into, name, copying)
            .map_err(|error| Error::io("replace", target(), error))?;
        if let Some(attribute) = attribute {
            refused.add(&attribute, &target());
        }
    }
    if copying.durable {
        sync_names(&into)
            .map_err(|error| Error::io("sync the directory", to.host_path(&plan.target), error))?;
    }
    Ok(())
}

/// Makes the names in a directory durable, if its file system keeps them at all.
fn sync_names(dir: &Dir) -> io::Result<()> {
    match dir.sync_names() {
        // sysfs and the like.
        Err(Errno::EINVAL) => Ok(()),
        synced => Ok(synced?),
    }
}

fn is_cancelled(error: &io::Error, copying: &Copying<'_>) -> bool {
    error.raw_os_error() == Some(Errno::ECANCELED as i32) && copying.is_cancelled()
}

/// Gives the file `target` the contents of the file `source`, durably (contract §7, 1).
///
/// Links are followed inside the roots. If those of `target` lead to a missing
/// file, it is created, and the directories above it. An existing file keeps its
/// permissions, and its owner as in [`copy_tree`]. A file that has the contents already
/// is left alone.
///
/// # Errors
/// If one of them is something else than a file, and if the system refuses.
pub fn copy_file(from: &Root, source: &Path, to: &Root, target: &Path) -> Result<(), Error> {
    let (found, file) = from
        .open_file(source)
        .map_err(|error| Error::io("copy", from.host_path(source), error))?;
    let (dir, name) = follow(to, target)?;
    remove_stale(&dir);
    // It is small: the resolver's configuration.
    let copying = Copying {
        cancelled: &|| false,
        durable: true,
    };
    Source::new(&found, file)
        .install(Preserve::Nothing, &dir, &name, &copying)
        .and_then(|_| sync_names(&dir))
        .map_err(|error| Error::io("replace", to.host_path(target), error))
}

/// The extended attributes that the system refused to set.
#[derive(Default)]
struct Refused {
    count: usize,
    first: Option<String>,
}

impl Refused {
    fn add(&mut self, attribute: &CString, file: &Path) {
        self.count += 1;
        self.first.get_or_insert_with(|| {
            let attribute = attribute.to_string_lossy();
            format!("{attribute} of {}", file.display())
        });
    }

    fn notice(self) -> Option<String> {
        let first = self.first?;
        let files = match self.count {
            1 => String::new(),
            count => format!("; {count} files have lost some"),
        };
        Some(format!(
            "cannot set the extended attribute {first}: not permitted to this user{files}"
        ))
    }
}

/// Opens a directory of the source, for its extended attributes.
fn inner_dir(dir: &Dir, name: &OsStr) -> io::Result<Dir> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(Dir(dir.open_at(name, flags, Mode::empty())?))
}

/// Creates a directory with `mode` and the extended attributes of `source` if it is
/// missing.
fn create_dir(above: &Dir, name: &OsStr, mode: Mode, source: &Dir) -> io::Result<()> {
    // With its mode from the start: the next run leaves the mode of an existing directory
    // alone, also after a kill at this moment.
    match above.mkdir_at(name, mode) {
        Ok(()) => {
            let dir = inner_dir(above, name)?;
            if fstat(&dir.0)?.st_uid != geteuid().as_raw() {
                return Err(io::Error::other("another user has replaced it"));
            }
            copy_xattrs(&source.readable()?, &dir.0)?;
            // Again, since the umask has reduced the mode.
            fchmod(&dir.0, mode)?;
            Ok(())
        }
        Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(error.into()),
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
        match dir.read_link_at(name) {
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
        match dir.read_link_at(name) {
            Ok(link) => Ok(Entry::Link(link)),
            // It is no link.
            Err(Errno::EINVAL) => Source::in_dir(dir, name).map(Entry::File),
            Err(error) => Err(error.into()),
        }
    }

    fn install(
        self,
        dir: &Dir,
        name: &OsStr,
        copying: &Copying<'_>,
    ) -> io::Result<Option<CString>> {
        match self {
            Entry::File(mut source) => source.install(Preserve::All, dir, name, copying),
            Entry::Link(link) => {
                if is_link_there(dir, name, replaceable(dir, name)?.as_ref(), &link)? {
                    return Ok(None);
                }
                if copying.is_cancelled() {
                    return Err(Errno::ECANCELED.into());
                }
                replace_by_link(dir, name, &link)?;
                Ok(None)
            }
        }
    }
}

/// Tells if `name` in `dir` is this link already, so that nothing is copied. `old` is what
/// is [there](replaceable).
fn is_link_there(
    dir: &Dir,
    name: &OsStr,
    old: Option<&FileStat>,
    link: &OsStr,
) -> io::Result<bool> {
    let is_same = || dir.read_link_at(name).is_ok_and(|there| there == link);
    match old.filter(|_| is_same()) {
        Some(old) => Ok(keeps_owner(dir, old)?),
        None => Ok(false),
    }
}

#[cfg(test)]
mod tests;
