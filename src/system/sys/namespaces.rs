//! Mounts and namespaces: the calls that make a view of a root and put a process in it.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use nix::sched::CloneFlags;

/// Forks: starts a child of this process in new namespaces, the kinds of which are
/// `namespaces`. The child does `work` and ends; its exit code is what `work` returns.
///
/// # Errors
/// The kernel's: EPERM, ENOSPC if there are too many namespaces, EAGAIN.
pub fn fork_into(namespaces: CloneFlags, work: impl FnOnce() -> i32) -> io::Result<u32> {
    /// Ends the child also if it panics: it must never go on as the parent does.
    struct End(i32);
    impl Drop for End {
        fn drop(&mut self) {
            // SAFETY: takes an integer, and ends this process at once.
            unsafe { libc::_exit(self.0) }
        }
    }

    let flags = libc::c_long::from(namespaces.bits() | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and with no stack given this is fork: the child has a copy
    // of the memory of its own. The caller has no other thread that could hold a lock.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if pid == 0 {
        let mut end = End(libc::EXIT_FAILURE);
        end.0 = work();
        drop(end);
    }
    u32::try_from(pid).map_err(|_| io::Error::last_os_error())
}

/// Makes a copy of the mount at `path` (open_tree, Linux 5.2). The copy is attached nowhere.
///
/// # Errors
/// The kernel's: EPERM, EINVAL if mounts below it must not be uncovered.
pub fn clone_mount(path: &CStr, which: Mounts) -> io::Result<OwnedFd> {
    let recursive = match which {
        Mounts::This => 0,
        Mounts::AllBelow => libc::AT_RECURSIVE.cast_unsigned(),
    };
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | recursive;
    // SAFETY: `path` ends in NUL.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    match RawFd::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor for us alone.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The mounts that a change is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounts {
    /// The one that is named.
    This,
    /// That one and all below it.
    AllBelow,
}

/// Makes a mount read-only (mount_setattr, Linux 5.12).
///
/// # Errors
/// The kernel's: ENOSYS before 5.12.
pub fn make_read_only(mount: BorrowedFd<'_>, which: Mounts) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = match which {
        Mounts::This => libc::AT_EMPTY_PATH,
        Mounts::AllBelow => libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
    };
    // SAFETY: the path ends in NUL, and the kernel reads `attributes`, a live local of the
    // size that it is told.
    let changed = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    match changed {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets the loopback device of this network namespace up.
///
/// # Errors
/// The kernel's: EPERM.
pub fn set_loopback_up() -> io::Result<()> {
    // SAFETY: takes three integers and touches no memory of ours.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us alone.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: ifreq is plain data for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let up = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or_default();
    request.ifr_ifru.ifru_flags = up;
    // SAFETY: the kernel reads `request`, a live local of the type for this request.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has this process be one that only its user namespace's superiors may look into: no
/// ptrace, and nothing of /proc/PID that leads to its files.
pub fn hide_from_ptrace() {
    // SAFETY: takes integers and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
}

/// Closes all descriptors but one. For a process that uses no other from then on, and closes
/// none: not even by dropping its owner.
///
/// # Errors
/// ENOSYS before Linux 5.9.
pub fn close_all_but(fd: BorrowedFd<'_>) -> io::Result<()> {
    let kept = libc::c_uint::try_from(fd.as_raw_fd()).unwrap_or_default();
    let close = |first: libc::c_uint, last: libc::c_uint| -> io::Result<()> {
        if first > last {
            return Ok(());
        }
        // SAFETY: the process is the init of a view: it ends without using, or closing, any
        // other descriptor.
        match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    if let Some(last) = kept.checked_sub(1) {
        close(0, last)?;
    }
    close(kept.saturating_add(1), libc::c_uint::MAX)
}

/// Has the kernel reap the children of this process.
pub fn reap_children_unseen() {
    super::set_signal(libc::SIGCHLD, libc::SIG_IGN);
}

/// What a command enters before it is executed.
#[derive(Debug)]
pub struct Joining {
    /// Namespaces, in the order in which they are entered.
    pub namespaces: Arc<[(OwnedFd, CloneFlags)]>,
    /// A directory of the view that becomes the root.
    pub root: Option<&'static CStr>,
    /// If it leaves the terminal of this process.
    pub leaves_terminal: bool,
}

/// Has `command` enter namespaces before it is executed.
pub fn join_before_exec(command: &mut Command, joining: Joining) {
    let work = move || joining.enter();
    // SAFETY: the closure runs in a child that may have copies of locks that other threads
    // held. It makes system calls alone, and allocates nothing.
    unsafe { command.pre_exec(work) };
}

impl Joining {
    /// Runs between fork and exec: system calls alone.
    fn enter(&self) -> io::Result<()> {
        // First of all. After the last setns a process of the view could look into this
        // one, which has descriptors of the real root until it executes.
        hide_from_ptrace();
        if self.leaves_terminal {
            // So no step can type into the terminal of the person who rehearses.
            // SAFETY: takes nothing and touches no memory of ours.
            checked(unsafe { libc::setsid() })?;
        }
        // The groups of a container. An ordinary user cannot leave the own ones. Not libc's
        // function: that has all threads do it.
        // SAFETY: with a length of 0 nothing is read.
        unsafe { libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()) };
        // A core dump may start a program of the machine, in its namespaces. 1 is the limit
        // that forbids that also (man 5 core: 0 does not).
        let limit = libc::rlimit {
            rlim_cur: 1,
            rlim_max: 1,
        };
        // SAFETY: the kernel reads `limit`, a live local.
        let _ = unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const limit) };
        for (namespace, kind) in self.namespaces.iter() {
            // SAFETY: takes integers and touches no memory of ours.
            checked(unsafe { libc::setns(namespace.as_raw_fd(), kind.bits()) })?;
        }
        // A keyring of its own, so that the keys of this session are not at hand. A kernel
        // may have no keyrings.
        // SAFETY: joins a new session keyring if there is no name.
        unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, 0) };
        if let Some(root) = self.root {
            // SAFETY: `root` ends in NUL.
            checked(unsafe { libc::chroot(root.as_ptr()) })?;
        }
        // SAFETY: the path ends in NUL; umask takes an integer.
        unsafe {
            libc::umask(0o022);
            checked(libc::chdir(c"/".as_ptr()))
        }
    }
}

/// Has `command` close its descriptors above 2 right before it is executed, after all that
/// it was told to do before. Keeps pipes and sockets, which lead to this process alone: by
/// one of them the standard library tells that it cannot execute.
///
/// The kernel would close them, too. But it gives the memory of the new program to the view
/// first, and from then on a process of the view can look into this one, which has
/// descriptors of the real root.
pub fn close_before_exec(command: &mut Command) {
    let work = || {
        close_files();
        Ok(())
    };
    // SAFETY: the closure makes system calls alone, and allocates nothing.
    unsafe { command.pre_exec(work) };
}

fn close_files() {
    // A process that rehearses has some hundred.
    const LOOKED_AT: libc::c_int = 4096;
    let mut stat = std::mem::MaybeUninit::<libc::stat>::zeroed();
    for fd in libc::STDERR_FILENO + 1..LOOKED_AT {
        // SAFETY: the kernel writes to `stat`, a live local, which is valid as zeros, too.
        let mode = unsafe {
            if libc::fstat(fd, stat.as_mut_ptr()) != 0 {
                continue;
            }
            stat.assume_init_ref().st_mode
        };
        if !matches!(mode & libc::S_IFMT, libc::S_IFIFO | libc::S_IFSOCK) {
            // SAFETY: this process is about to execute, and uses none of its descriptors.
            unsafe { libc::close(fd) };
        }
    }
}

fn checked(result: libc::c_int) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
