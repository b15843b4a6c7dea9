//! Directories of other users, in a view that an ordinary user makes.
//!
//! Such a user is root in the view, and has no power over what belongs to others: not even
//! a file could be made in /etc. So the directories near the root become the user's own:
//! empty ones lie over them, which the kernel merges with the real ones. Files stay what
//! they are: they can be replaced and removed, but not written to.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use nix::unistd::{AccessFlags, access};

/// How far from the root: /etc/systemd/system is 3.
pub(super) const DEPTH: usize = 3;

/// The most directories that are looked at below one. Nothing may take long.
const MOST: usize = 1000;

/// Makes directories at `over` for those at `real`. What cannot be made stays as it is.
pub(super) fn adopt(real: &Path, over: &Path, depth: usize) {
    if depth == 0 {
        return;
    }
    let entries = fs::read_dir(real).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    for entry in directories.take(MOST) {
        let real = entry.path();
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        // The kernel copies no directory whose user or group has no name here.
        let is_own = metadata.uid() == 0 && metadata.gid() == 0;
        if is_own || access(&real, AccessFlags::R_OK | AccessFlags::X_OK).is_err() {
            continue;
        }
        let over = over.join(entry.file_name());
        let made = DirBuilder::new().recursive(true).mode(0o755).create(&over);
        let mode = Permissions::from_mode(metadata.mode() & 0o7777);
        if made.and_then(|()| fs::set_permissions(&over, mode)).is_ok() {
            adopt(&real, &over, depth - 1);
        }
    }
}
