//! Leaving the mounts of the machine for a private copy of them.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::error::Error;

/// Where the views are, in the mounts of this process alone.
///
/// It has to be a directory that every machine has, so that nothing is made in the machine
/// and nothing is left there if this process is killed. And one whose files it can do
/// without: the kernel's devices are nothing that it looks at.
pub(super) const HOME: &str = "/sys";

/// The inode of /proc/self/ns/user in the machine's own user namespace (PROC_USER_INIT_INO
/// of the kernel).
const INITIAL_USER_NAMESPACE: &str = "user:[4026531837]";

/// Tells if this process is root in a user namespace alone, and not of the machine.
pub(super) fn is_in_user_namespace() -> bool {
    fs::read_link("/proc/self/ns/user").is_ok_and(|link| link != Path::new(INITIAL_USER_NAMESPACE))
}

pub(super) fn enter() -> Result<(), Error> {
    match unshare(CloneFlags::CLONE_NEWNS) {
        Ok(()) => {}
        Err(Errno::EPERM) => enter_user_namespace()?,
        Err(error) => return Err(refused("a mount namespace", error)),
    }
    let none = None::<&str>;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none).map_err(|error| refused("private mounts", error))?;
    mount_tmpfs(Path::new(HOME), "mode=0755").map_err(|error| refused("a tmpfs", error))
}

/// Becomes root of a user namespace that has one user, who is the one of this process.
fn enter_user_namespace() -> Result<(), Error> {
    let (uid, gid) = (geteuid(), getegid());
    let namespaces = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS;
    unshare(namespaces).map_err(|error| refused("a user namespace", error))?;
    // Root without rights may not map itself.
    let write = |path: &str, text: &str| {
        fs::write(path, text).map_err(|error| refused("to map a user", error))
    };
    // The kernel wants that before an ordinary user may map a group.
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", &format!("0 {gid} 1"))
}

/// Says what the kernel does not allow, and what would help.
pub(super) fn refused(what: &str, error: impl Into<io::Error>) -> Error {
    let error = error.into();
    Error::NotThere(format!(
        "the kernel refuses {what} ({error}): run this as root (in a container: a privileged \
         one), or allow user namespaces (sysctl user.max_user_namespaces, \
         kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)"
    ))
}

/// Mounts an empty tmpfs.
pub(super) fn mount_tmpfs(at: &Path, options: &str) -> nix::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some(options))
}
