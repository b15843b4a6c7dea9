//! The few calls that nix does not wrap. The only module with unsafe code.

#![allow(unsafe_code)]

pub mod namespaces;
pub mod seccomp;

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A descriptor that becomes readable when the process `pid` has exited
/// (pidfd_open, Linux 5.3).
///
/// # Errors
/// The kernel's: ENOSYS before 5.3, EPERM under some seccomp profiles, ESRCH
/// for no such process, EMFILE.
pub fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(pid), 0) };
    match RawFd::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor for us alone.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends a signal to the process of a pidfd, and to no other that has its number by now
/// (pidfd_send_signal, Linux 5.1).
///
/// # Errors
/// The kernel's: ESRCH if it has ended, EPERM.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: libc::c_int) -> io::Result<()> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: pidfd_send_signal takes integers and, in place of a siginfo, null.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            no_info,
            0,
        )
    };
    match sent {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A child of this process that has exited and waits to be reaped, which it goes
/// on doing: the process `pid`, or any if that is `None`. `Ok(None)`: no such
/// child has exited yet.
///
/// Not nix's waitid: it turns the signal that ended a child into its `Signal`, which
/// has no real-time signals, and fails with EINVAL for a child that one of them ended.
/// That child would never count as having exited.
///
/// # Errors
/// The kernel's: ECHILD if there is no such child at all.
pub fn exited_child(pid: Option<u32>) -> io::Result<Option<u32>> {
    let (kind, id) = pid.map_or((libc::P_ALL, 0), |pid| (libc::P_PID, pid));
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    loop {
        // SAFETY: siginfo_t is plain data for which all zeroes is a value.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: `info` is a live local that the kernel fills in.
        if unsafe { libc::waitid(kind, id, &raw mut info, flags) } == 0 {
            // SAFETY: waitid fills in this member, or leaves the zero.
            let pid = unsafe { info.si_pid() };
            return Ok(u32::try_from(pid).ok().filter(|pid| *pid != 0));
        }
        let error = io::Error::last_os_error();
        // Not to be taken for "not yet": a pidfd tells of an exit only once.
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Locks `fd` (flock) if no other process has it locked, and tells if it did. Never
/// waits. Closing the descriptor releases the lock.
///
/// Not nix's lock: that one panics if its release fails, which can happen on a file
/// system of the network.
///
/// # Errors
/// The kernel's.
pub fn try_lock(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: flock takes two integers and touches no memory of ours.
    if unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.kind() {
        io::ErrorKind::WouldBlock => Ok(false),
        _ => Err(error),
    }
}

/// The most bytes of an extended attribute's value, and of the list of their names:
/// the kernel's XATTR_SIZE_MAX and XATTR_LIST_MAX.
const XATTR_MAX: usize = 65536;

/// Lists the names of a file's extended attributes, each with a NUL after it.
///
/// # Errors
/// The kernel's: EOPNOTSUPP if the file system has none.
pub fn list_xattrs(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    // SAFETY: with a size of 0 the call writes nothing.
    let len = unsafe { libc::flistxattr(fd.as_raw_fd(), std::ptr::null_mut(), 0) };
    // Most files have none: then nothing is allocated.
    if len == 0 {
        return Ok(Vec::new());
    }
    fill(len, |buffer| {
        let start = buffer.as_mut_ptr().cast();
        // SAFETY: the kernel writes at most `len` bytes from `start`, which are ours.
        unsafe { libc::flistxattr(fd.as_raw_fd(), start, buffer.len()) }
    })
}

/// Reads one of a file's extended attributes.
///
/// # Errors
/// The kernel's: ENODATA if there is none of that name.
pub fn get_xattr(fd: BorrowedFd<'_>, name: &CStr) -> io::Result<Vec<u8>> {
    // SAFETY: `name` ends in NUL; with a size of 0 the call writes nothing.
    let len = unsafe { libc::fgetxattr(fd.as_raw_fd(), name.as_ptr(), std::ptr::null_mut(), 0) };
    fill(len, |buffer| {
        let start = buffer.as_mut_ptr().cast();
        // SAFETY: as above, and the kernel writes at most `len` bytes from `start`.
        unsafe { libc::fgetxattr(fd.as_raw_fd(), name.as_ptr(), start, buffer.len()) }
    })
}

/// Calls `read` with room for as much as there can be, unless the call that asked for
/// the `len` has failed.
fn fill(len: isize, read: impl FnOnce(&mut [u8]) -> isize) -> io::Result<Vec<u8>> {
    if len < 0 {
        return Err(io::Error::last_os_error());
    }
    // Not `len`: another process may have made it longer by now.
    let mut buffer = vec![0; XATTR_MAX];
    match usize::try_from(read(&mut buffer)) {
        Ok(len) => {
            buffer.truncate(len);
            Ok(buffer)
        }
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Sets one of a file's extended attributes.
///
/// # Errors
/// The kernel's: EOPNOTSUPP if the file system has none, EPERM for want of a
/// privilege.
pub fn set_xattr(fd: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> io::Result<()> {
    let start = value.as_ptr().cast();
    // SAFETY: `name` ends in NUL, and the kernel reads the bytes of `value`.
    match unsafe { libc::fsetxattr(fd.as_raw_fd(), name.as_ptr(), start, value.len(), 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Seconds east of UTC in the local time zone (`TZ`, else /etc/localtime) at
/// `unix_time`, in seconds since the epoch; `None` if libc has no answer.
///
/// The zone is loaded at the first call and kept: later calls touch no file.
#[must_use]
pub fn local_offset(unix_time: i64) -> Option<i32> {
    let unix_time: libc::time_t = unix_time;
    // SAFETY: `tm` is plain data for which all zeroes is a value.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals of the right types. libc reads
    // TZ here; nothing in this program writes the environment.
    let filled = unsafe { libc::localtime_r(&raw const unix_time, &raw mut tm) };
    if filled.is_null() {
        return None;
    }
    i32::try_from(tm.tm_gmtoff).ok()
}

/// Sets every signal that can be set to its default disposition.
pub fn default_signals() {
    for signal in 1..=64 {
        set_signal(signal, libc::SIG_DFL);
    }
}

/// Throws away what is pending of a signal, be it blocked, and sets it to its
/// default disposition.
pub fn discard_pending(signal: libc::c_int) {
    // To be ignored is what throws it away.
    set_signal(signal, libc::SIG_IGN);
    set_signal(signal, libc::SIG_DFL);
}

/// Sets up the signals of a process that runs children and writes files.
///
/// SIGCHLD gets its default, whatever the parent did: if it is ignored, the
/// kernel throws exit codes away. SIGXFSZ is ignored, so that a log past a limit
/// of file size is a write that fails, and not the end of the agent. (SIGPIPE is
/// ignored by the runtime.)
pub fn set_up_signals() {
    set_signal(libc::SIGCHLD, libc::SIG_DFL);
    set_signal(libc::SIGXFSZ, libc::SIG_IGN);
}

/// Has the signals that a person or Kubernetes ends a process with end this one at once,
/// also if it is PID 1 of a container, where they would do nothing otherwise. What the
/// process is doing does not matter: it may be waiting for a reader.
///
/// A signal that is ignored stays ignored.
pub fn end_at_once_on_signals() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        if is_ignored(signal) {
            continue;
        }
        // SAFETY: sigaction is plain data for which all zeroes is a value.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        let handler: extern "C" fn(libc::c_int) = end;
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_RESETHAND | libc::SA_NODEFER;
        // SAFETY: `action` is a live local, and its handler only calls what a handler may
        // call. The old action is not asked for.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
}

/// Ends the process as the signal would: its default disposition is set again by now.
extern "C" fn end(signal: libc::c_int) {
    // SAFETY: both may be called in a handler, and take integers. The first returns only
    // in PID 1.
    unsafe {
        libc::raise(signal);
        libc::_exit(128 + signal)
    }
}

/// Tells if this process ignores `signal`, as one started by nohup does SIGHUP.
#[must_use]
pub fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: `old` is plain data for which all zeroes is a value.
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: with no new action the call only fills in `old`, a live local.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut old) };
    asked == 0 && old.sa_sigaction == libc::SIG_IGN
}

/// Sets a signal to SIG_DFL or SIG_IGN.
fn set_signal(signal: libc::c_int, disposition: libc::sighandler_t) {
    // The kernel's own struct sigaction: the disposition, then no flags and no
    // mask. Four words are enough for it on every architecture.
    let action = [disposition, 0, 0, 0];
    // Not libc's sigaction: that refuses signals 32 and 33, which it keeps to
    // itself, and posix_spawn has its children ignore them.
    // SAFETY: the kernel reads `action`, a live local, and is given nowhere to
    // write. No handler is installed. SIGKILL and SIGSTOP give EINVAL, which is
    // as well.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            action.as_ptr(),
            std::ptr::null::<usize>(),
            size_of::<u64>(),
        )
    };
}

/// Marks every descriptor above 2 close-on-exec (close_range, Linux 5.11; one
/// by one from /proc/self/fd if the kernel refuses).
///
/// Nothing is closed before the exec, so no owner is left with a dead descriptor.
///
/// # Errors
/// If the kernel has no such call and /proc/self/fd cannot be read.
pub fn cloexec_above_stderr() -> io::Result<()> {
    // SAFETY: with CLOSE_RANGE_CLOEXEC the call sets a flag and closes nothing.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3 as libc::c_uint,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if done == 0 {
        return Ok(());
    }
    for entry in fs::read_dir("/proc/self/fd")? {
        let Some(fd) = entry?.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        if fd > 2 {
            // SAFETY: F_SETFD on a number changes a flag or gives EBADF.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_process_that_does_not_exist_has_no_pidfd() {
        let error = pidfd_open(u32::MAX >> 1).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
    }

    #[test]
    fn a_signal_by_pidfd_ends_its_process_and_then_finds_none() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pidfd = pidfd_open(child.id()).unwrap();
        pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL).unwrap();
        child.wait().unwrap();
        let error = pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
    }

    #[test]
    fn a_time_out_of_range_has_no_offset() {
        assert_eq!(local_offset(i64::MAX), None);
    }
}
