//! What a copy would change, found out by the comparison that the copy makes.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::super::{Dir, Root};
use super::metadata::Preserve;
use super::plan::plan;
use super::source::replaceable;
use super::{Copying, Entry, is_link_there};
use crate::error::Error;

/// Something that a copy would change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Its path inside the root of the target.
    pub path: PathBuf,
    /// Tells if it is a directory; otherwise it is a file or a link.
    pub is_dir: bool,
    /// Tells if a file or a link is replaced; otherwise there is nothing at the path.
    pub replaces: bool,
}

/// Finds what [`copy_tree`](super::copy_tree) would change, sorted by path. Writes
/// nothing.
///
/// # Errors
/// As `copy_tree`, if something is in the way of the copy or cannot be read.
pub fn compare_tree(
    from: &Root,
    source: &Path,
    to: &Root,
    target: &Path,
) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    for plan in plan(from, source, &Path::new("/").join(target))? {
        let at = from.open_dir(&plan.source)?;
        let into = match to.dir(&plan.target) {
            Ok(dir) => Some(dir),
            Err(Errno::ENOENT) => None,
            Err(error) => {
                let path = to.host_path(&plan.target);
                return Err(Error::io("create the directory", path, error));
            }
        };
        for (name, _) in &plan.dirs {
            let path = plan.target.join(name);
            let is_new = is_new_dir(to, &path, into.as_ref())
                .map_err(|error| Error::io("create the directory", to.host_path(&path), error))?;
            if is_new {
                changes.push(Change {
                    path,
                    is_dir: true,
                    replaces: false,
                });
            }
        }
        for name in &plan.files {
            let path = plan.target.join(name);
            let entry = Entry::open(&at, name).map_err(|error| {
                Error::io("copy", from.host_path(&plan.source.join(name)), error)
            })?;
            let replaces = match &into {
                None => Some(false),
                Some(dir) => entry
                    .change(dir, &path)
                    .map_err(|error| Error::io("replace", to.host_path(&path), error))?,
            };
            if let Some(replaces) = replaces {
                changes.push(Change {
                    path,
                    is_dir: false,
                    replaces,
                });
            }
        }
    }
    changes.sort();
    Ok(changes)
}

/// Tells if a directory would be created in `above`. It may be a link to one, too.
fn is_new_dir(to: &Root, path: &Path, above: Option<&Dir>) -> nix::Result<bool> {
    let name = path.file_name().unwrap_or_default();
    match above.map(|above| above.stat_at(name)) {
        None | Some(Err(Errno::ENOENT)) => Ok(true),
        Some(Err(error)) => Err(error),
        Some(Ok(_)) => to.dir(path).map(|_| false),
    }
}

impl Entry {
    /// Tells if a copy would replace what is at `path`, in `dir`, or add it; `None` if it
    /// would do neither.
    fn change(self, dir: &Dir, path: &Path) -> io::Result<Option<bool>> {
        let name = path.file_name().unwrap_or_default();
        // Not durable: to bring a file to disk is more than to look at it.
        let copying = Copying {
            cancelled: &|| false,
            durable: false,
        };
        let old = replaceable(dir, name)?;
        let is_there = match self {
            Entry::File(mut source) => {
                source.is_there(Preserve::All, dir, name, old.as_ref(), &copying)?
            }
            Entry::Link(link) => is_link_there(dir, name, old.as_ref(), &link)?,
        };
        Ok((!is_there).then_some(old.is_some()))
    }
}
