//! Reaping orphans: what PID 1 of a container owes to processes that others left
//! behind. They would stay as zombies otherwise, and use up process ids.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::system::sys;

/// Tells when a child of this process may have ended, whoever started it.
#[derive(Debug)]
pub struct Orphans(SignalFd);

impl Orphans {
    /// Where this process is PID 1, the orphans it has to reap; else `None`.
    ///
    /// Blocks SIGCHLD in the calling thread. To be called before there are other
    /// threads.
    ///
    /// # Errors
    /// Where the system has no descriptor left.
    pub fn of_pid_1() -> io::Result<Option<Orphans>> {
        if std::process::id() != 1 {
            return Ok(None);
        }
        let set = SigSet::from(Signal::SIGCHLD);
        set.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Some(Orphans(SignalFd::with_flags(&set, flags)?)))
    }

    /// Reaps every child that has ended, up to `step`, whose exit code somebody
    /// else waits for.
    pub fn reap(&self, step: Option<u32>) {
        while let Ok(Some(_)) = self.0.read_signal() {}
        while let Ok(Some(pid)) = sys::exited_child(None) {
            // It may stand in front of others, for whom there is time afterwards.
            if Some(pid) == step {
                return;
            }
            let Ok(pid) = i32::try_from(pid) else { return };
            // How it ended is nobody's business any more.
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        }
    }
}

impl AsFd for Orphans {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
