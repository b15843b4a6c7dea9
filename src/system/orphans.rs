//! Reaping orphans: processes whose parents have ended become children of PID 1, also
//! of a container's. Unless it reaps them, they stay as zombies and use up process ids.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::system::sys;

/// Becomes readable when a child of this process may have ended, an orphan included.
#[derive(Debug)]
pub struct Orphans(SignalFd);

impl Orphans {
    /// Watches for orphans, if this process is PID 1; otherwise returns `None`.
    ///
    /// Blocks SIGCHLD in the calling thread. Call it before there are other threads.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn of_pid_1() -> io::Result<Option<Orphans>> {
        if std::process::id() != 1 {
            return Ok(None);
        }
        let set = SigSet::from(Signal::SIGCHLD);
        set.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Some(Orphans(SignalFd::with_flags(&set, flags)?)))
    }

    /// Reaps every child that has ended, up to `step`, whose exit code the loop waits
    /// for.
    pub fn reap(&self, step: Option<u32>) {
        while let Ok(Some(_)) = self.0.read_signal() {}
        while let Ok(Some(pid)) = sys::exited_child(None) {
            // It may come before others in the kernel's list. Those are reaped later.
            if Some(pid) == step {
                return;
            }
            let Ok(pid) = i32::try_from(pid) else { return };
            // The exit code of an orphan is of no use.
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        }
    }
}

impl AsFd for Orphans {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
