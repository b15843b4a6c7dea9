//! Cancelling a run by a signal.
//!
//! A cancellation is a descriptor that becomes readable once and stays so: an
//! event loop can wait for it, and every later command still sees it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::system::sys;

/// Tells if a run has been cancelled.
#[derive(Debug)]
pub struct Cancellation(SignalFd);

impl Cancellation {
    /// A cancellation by any of `signals`, except those that the process was started
    /// to ignore.
    ///
    /// Blocks them in the calling thread, for good, and in the children it
    /// starts until they unblock them (chroot-exec does). Call it before there
    /// are other threads: one that does not block them would get them instead.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn on_signals(signals: &[Signal]) -> io::Result<Cancellation> {
        let heeded = signals.iter().copied();
        let set: SigSet = heeded.filter(|s| !sys::is_ignored(*s as i32)).collect();
        set.thread_block()?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Cancellation(fd))
    }

    /// Tells if the run has been cancelled. Once true, always true: nothing is
    /// ever read from the descriptor.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// Lets `time` pass, at most a minute, or less if the run is cancelled. Returns
    /// whether it has been cancelled.
    #[must_use]
    pub fn wait(&self, time: Duration) -> bool {
        let millis = u16::try_from(time.as_millis()).unwrap_or(u16::MAX);
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut fds, PollTimeout::from(millis)), Ok(ready) if ready > 0)
    }
}

impl AsFd for Cancellation {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
