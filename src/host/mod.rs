//! Paths, files and copies inside a root mount (contract §10).
//!
//! Promises that no symbolic link in a root mount, absolute or with `..`, leads a
//! read or a write out of it. A path is resolved once, to the descriptor of a
//! directory. All work in that directory uses plain names and follows no link.

mod copy;
mod dir;
mod durable;
mod file;
mod file_locks;
mod lock_file;
mod look;
mod mounts;
mod resolve;
mod root;
mod staging;
mod sync;
mod temporary;
mod watcher;

pub use copy::{Change, Copied, Copying, compare_tree, copy_file, copy_tree};
pub use dir::{Dir, Listed};
pub use file_locks::{FileLocks, Holder, own_namespace};
pub use lock_file::LockFile;
pub use look::{Entry, Kind, Listing};
pub(crate) use mounts::{is_at_or_below, unescape};
pub use root::{Root, inside};
pub use staging::Staging;
pub use temporary::is_temporary;
pub use watcher::{Event, Watcher};

/// The most symbolic links that one path may lead over, as in the kernel.
const MAX_SYMLINKS: u32 = 40;

#[cfg(test)]
mod tests;
