//! Directories of other users, in a view that an ordinary user makes.
//!
//! Such a user is root in the view, and has no power over what belongs to others: not even
//! a file could be made in /etc. The kernel copies nothing whose user or group has no name
//! in the user namespace, so neither into an own directory of another group. So directories
//! become the user's own: empty ones lie over them, which the kernel merges with the real
//! ones. Files stay what they are: they can be replaced and removed, but not written to.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::layers::{make_dir, mirror};

/// The most directories that are looked at below one, those near it first. A view is to be
/// there at once: a thousand of them take a quarter of a second on `/`. A small root has
/// fewer in all.
const MOST: usize = 200;

/// The id of all users and groups that have no name in a user namespace.
const UNNAMED: u32 = 65534;

/// Makes directories at `over` for those of others at `real`. What cannot be made stays as it
/// is. Tells if anything there was found to belong to others.
pub(super) fn adopt(real: &Path, over: &Path) -> bool {
    let mut found = false;
    let mut left = MOST;
    let mut queue = VecDeque::from([PathBuf::new()]);
    while let Some(directory) = queue.pop_front() {
        let entries = fs::read_dir(real.join(&directory)).into_iter().flatten();
        for entry in entries.flatten() {
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            // One file of others is enough to know of.
            if !is_directory && found {
                continue;
            }
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            let is_of_others = [metadata.uid(), metadata.gid()].contains(&UNNAMED);
            found |= is_of_others;
            if !is_directory || left == 0 {
                continue;
            }
            left -= 1;
            let path = directory.join(entry.file_name());
            let can_enter = || access(&entry.path(), AccessFlags::R_OK | AccessFlags::X_OK).is_ok();
            if !is_of_others || (can_enter() && place(real, over, &path)) {
                queue.push_back(path);
            }
        }
    }
    found
}

/// Makes a directory at `over`, with those above it. Tells if it is there.
fn place(real: &Path, over: &Path, path: &Path) -> bool {
    let make = |path: &Path| -> bool {
        let (real, over) = (real.join(path), over.join(path));
        make_dir(&over, 0o755).is_ok() && mirror(&real, &over).is_ok()
    };
    // Those of others are below one another, mostly.
    if make(path) {
        return true;
    }
    // Of a mount below the root there may be nothing yet.
    let _ = fs::create_dir_all(over);
    let mut above: Vec<&Path> = path.ancestors().collect();
    above.reverse();
    above
        .into_iter()
        .skip(1)
        .all(|path| over.join(path).is_dir() || make(path))
}
