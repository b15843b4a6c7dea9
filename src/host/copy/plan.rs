//! The plan of a copy, made before anything is written.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag};

use super::super::file::kind;
use super::super::temporary::is_temporary;
use super::super::{Dir, Root};
use crate::error::Error;

/// The most bytes of a path, as in the kernel: its PATH_MAX without the NUL.
const PATH_MAX: usize = 4095;

/// A directory to be copied.
pub(super) struct DirPlan {
    pub(super) source: PathBuf,
    pub(super) target: PathBuf,
    /// The directories in it, each with its mode.
    pub(super) dirs: Vec<(OsString, Mode)>,
    /// The names in it that are no directories.
    pub(super) files: Vec<OsString>,
}

/// Lists the directory `source` and all below it, each after the one it is in.
///
/// Each is opened by its whole path, so a path may be as long as the kernel takes
/// paths: 4095 bytes inside the root. If one is longer, in the source or in the target,
/// nothing is copied.
pub(super) fn plan(from: &Root, source: &Path, target: &Path) -> Result<Vec<DirPlan>, Error> {
    let mut plans = Vec::new();
    // No recursion, and one descriptor at a time: a tree may be deep.
    let mut left = vec![(source.to_owned(), target.to_owned())];
    while let Some((source, target)) = left.pop() {
        let dir = from.open_dir(&source)?;
        let names = dir
            // The second pattern: what a killed copy has left in the source is no part of
            // it.
            .names(|name| name != "." && name != ".." && !is_temporary(name))
            .map_err(|error| Error::io("list", from.host_path(&source), error))?;
        let mut dirs = Vec::new();
        let mut files = Vec::new();
        for name in names {
            let path = source.join(&name);
            let refused = |error| Error::io("copy", from.host_path(&path), error);
            let target = target.join(&name);
            let longest = path.as_os_str().len().max(target.as_os_str().len());
            if longest > PATH_MAX {
                return Err(refused(io::Error::from(Errno::ENAMETOOLONG)));
            }
            match directory_mode(&dir, &name).map_err(refused)? {
                Some(mode) => {
                    left.push((path, target));
                    dirs.push((name, mode));
                }
                None => files.push(name),
            }
        }
        plans.push(DirPlan {
            source,
            target,
            dirs,
            files,
        });
    }
    Ok(plans)
}

/// Returns the mode of a directory; `None` for a file or a link. Nothing else is copied.
fn directory_mode(dir: &Dir, name: &OsStr) -> io::Result<Option<Mode>> {
    let stat = dir.stat_at(name)?;
    match kind(&stat) {
        SFlag::S_IFDIR => Ok(Some(Mode::from_bits_truncate(stat.st_mode))),
        SFlag::S_IFREG | SFlag::S_IFLNK => Ok(None),
        _ => Err(io::Error::other("expected a file, a directory or a link")),
    }
}
