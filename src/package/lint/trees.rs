//! The files below a directory of a package.

use std::path::Path;

use super::super::{Code, Finding, Place, Severity};
use super::Files;
use super::report::Report;
use crate::error::Error;
use crate::host::{Entry, Kind, Root};

/// The most names that are looked at below one directory. A package with more is looked at
/// in part.
const MOST: usize = 100_000;

/// Lists what is below a directory of the package's own, without the directories. Links are
/// not followed. There is nothing if the directory is not there. Notes what is not listed.
pub(super) fn below(
    root: &Root,
    files: &Files,
    dir: &Path,
    report: &mut Report,
) -> Result<Vec<Entry>, Error> {
    let Some(dir) = files.own(dir) else {
        return Ok(Vec::new());
    };
    if !matches!(root.follow(&dir.path)?, Some((Kind::Directory, _))) {
        return Ok(Vec::new());
    }
    let listing = root.list_all(&dir.path, MOST)?;
    for (below, reason) in listing.unreadable {
        let message = format!("cannot list this directory: {reason}");
        let finding = Finding::new(Severity::Error, Code::Unreadable, &Place::DOCUMENT, message);
        report.add_about_file(dir.name.join(below), finding);
    }
    if listing.more > 0 {
        let message = format!(
            "there are more than {MOST} files in it, and {} are not looked at",
            listing.more
        );
        let finding = Finding::new(Severity::Warning, Code::TooMany, &Place::DOCUMENT, message);
        report.add_about_file(dir.name, finding);
    }
    Ok(listing.entries)
}

/// Finds what cannot be laid over the root of a node.
pub(super) fn lint(root: &Root, files: &Files, report: &mut Report) -> Result<(), Error> {
    for entry in below(root, files, Path::new("root_dir"), report)? {
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
