//! The files below a directory of a package.

use std::path::Path;

use super::super::{Code, Finding, Place, Severity};
use super::Files;
use super::report::Report;
use crate::error::Error;
use crate::host::{Entry, Kind, Root};

/// The most files that are looked at below one directory. A package with more is looked at
/// in part.
const MOST: usize = 10_000;

/// Lists what is below a directory of the package's own, without the directories. Links are
/// not followed. There is nothing if the directory is not there.
pub(super) fn below(root: &Root, files: &Files, dir: &Path) -> Result<Vec<Entry>, Error> {
    let Some(dir) = files.own(dir) else {
        return Ok(Vec::new());
    };
    match root.follow(&dir.path)? {
        Some((Kind::Directory, _)) => Ok(root.list_all(&dir.path, MOST)?.entries),
        _ => Ok(Vec::new()),
    }
}

/// Finds what cannot be laid over the root of a node.
pub(super) fn lint(root: &Root, files: &Files, report: &mut Report) -> Result<(), Error> {
    for entry in below(root, files, Path::new("root_dir"))? {
        if entry.kind != Kind::Special {
            continue;
        }
        let message = "expected a file, a directory or a link, got a device, a fifo or a socket";
        let code = Code::NotCopied;
        let finding = Finding::new(Severity::Error, code, &Place::DOCUMENT, message);
        let file = files.own(&Path::new("root_dir").join(entry.path));
        let file = file.map(|file| file.name).unwrap_or_default();
        report.add_about_file(file, finding);
    }
    Ok(())
}
