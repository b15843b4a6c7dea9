//! The metadata that a copy takes over: from its source the mode, the times and
//! the extended attributes, from the file that it replaces the owner.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::fchown;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::geteuid;

use super::super::Dir;
use crate::system::sys;

/// File capabilities. A file that has them by mistake is a way to root, so a copy has
/// exactly those of its source.
const CAPABILITY: &CStr = c"security.capability";

/// Says which metadata a copy takes over from its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preserve {
    Nothing,
    All,
}

/// Tells if none but root may write to a directory: no other user can have made, or can
/// replace, a file in it.
pub(super) fn is_roots_own(dir: &Dir) -> nix::Result<bool> {
    let stat = fstat(&dir.0)?;
    // An ACL that lets others write shows as the group's write bit.
    Ok(stat.st_uid == 0 && stat.st_mode & 0o022 == 0)
}

/// Gives a new file the owner of the `old` one, if that is permitted: only to root, and
/// not in every user namespace.
pub(super) fn hand_over(file: &File, old: &FileStat) -> io::Result<()> {
    let Err(error) = fchown(file, Some(old.st_uid), Some(old.st_gid)) else {
        return Ok(());
    };
    match errno(&error) {
        Errno::EPERM | Errno::EINVAL => Ok(()),
        _ => Err(error),
    }
}

/// Tells if a copy would have the owner that the `old` file has. In a directory of others
/// it would be the agent's user.
pub(super) fn keeps_owner(dir: &Dir, old: &FileStat) -> nix::Result<bool> {
    Ok(old.st_uid == geteuid().as_raw() || is_roots_own(dir)?)
}

/// Gives a new file, or one that is rewritten, the mode and the times of its source.
/// After the owner and the contents: changes of both clear setuid.
pub(super) fn apply_mode_and_times(
    file: &File,
    preserve: Preserve,
    source: &FileStat,
    old: Option<&FileStat>,
) -> io::Result<()> {
    let mode = match (preserve, old) {
        (Preserve::All, _) => source.st_mode & 0o7777,
        (Preserve::Nothing, Some(old)) => old.st_mode & 0o777,
        (Preserve::Nothing, None) => 0o644,
    };
    fchmod(file, Mode::from_bits_truncate(mode))?;
    if preserve == Preserve::Nothing {
        return Ok(());
    }
    let accessed = TimeSpec::new(source.st_atime, source.st_atime_nsec);
    let modified = TimeSpec::new(source.st_mtime, source.st_mtime_nsec);
    Ok(futimens(file, &accessed, &modified)?)
}

/// Copies the extended attributes. Returns the name of one that this user may not set, if
/// there is one. A file system that has none is no error.
pub(super) fn copy_xattrs(from: &impl AsFd, to: &impl AsFd) -> io::Result<Option<CString>> {
    let mut refused = None;
    for (name, value) in xattrs(from)? {
        match sys::set_xattr(to.as_fd(), &name, &value) {
            Ok(()) => {}
            Err(error) if is_unsupported(&error) => {}
            Err(error) if errno(&error) == Errno::EPERM => refused = Some(name),
            Err(error) => return Err(error),
        }
    }
    Ok(refused)
}

/// Tells if a file has all extended attributes that a copy of `source` would have. It may
/// have others, which the host has given it, but no capabilities.
pub(super) fn has_xattrs(source: &impl AsFd, file: &impl AsFd) -> io::Result<bool> {
    let mut has_capability = false;
    for (name, value) in xattrs(source)? {
        has_capability |= *name == *CAPABILITY;
        match sys::get_xattr(file.as_fd(), &name) {
            Ok(there) if there == value => {}
            Err(error) if is_unsupported(&error) => {}
            _ => return Ok(false),
        }
    }
    Ok(has_capability || sys::get_xattr(file.as_fd(), CAPABILITY).is_err())
}

/// Reads the extended attributes that a copy takes over.
fn xattrs(file: &impl AsFd) -> io::Result<Vec<(CString, Vec<u8>)>> {
    let names = match sys::list_xattrs(file.as_fd()) {
        Err(error) if is_unsupported(&error) => return Ok(Vec::new()),
        names => names?,
    };
    let mut xattrs = Vec::new();
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        if is_copied(name.to_bytes()) {
            match sys::get_xattr(file.as_fd(), name) {
                // It has been removed, or is not for this user.
                Err(error) if matches!(errno(&error), Errno::ENODATA | Errno::EPERM) => {}
                value => xattrs.push((name.to_owned(), value?)),
            }
        }
    }
    Ok(xattrs)
}

/// Tells if an attribute belongs to the file, and not to the host that it is on: the
/// labels of security modules come from that host's policy, and overlayfs and other file
/// systems keep notes of their own.
fn is_copied(name: &[u8]) -> bool {
    let is_host_s = [
        &b"security.selinux"[..],
        b"security.SMACK64",
        b"security.apparmor",
        b"security.evm",
        b"trusted.overlay.",
        b"user.overlay.",
    ];
    let is_known = [
        &b"user."[..],
        b"trusted.",
        b"security.",
        b"system.posix_acl_",
    ];
    let begins = |starts: &[&[u8]]| starts.iter().any(|start| name.starts_with(start));
    begins(&is_known) && !begins(&is_host_s)
}

fn is_unsupported(error: &io::Error) -> bool {
    errno(error) == Errno::EOPNOTSUPP
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}
