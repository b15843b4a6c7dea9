//! Ending a run from outside: another thread, or a signal.
//!
//! A cancellation is a descriptor that becomes readable once and stays so: an
//! event loop can wait for it, and every later command still sees it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::system::sys;

/// The side that looks whether a run has been cancelled.
#[derive(Debug)]
pub struct Cancellation(Source);

#[derive(Debug)]
enum Source {
    Canceller(Arc<EventFd>),
    Signals(SignalFd),
}

/// The side that cancels. It may go to other threads.
#[derive(Clone, Debug)]
pub struct Canceller(Arc<EventFd>);

impl Cancellation {
    /// A cancellation and the handle that brings it about.
    ///
    /// # Errors
    /// Where the system has no descriptor left.
    pub fn new() -> io::Result<(Canceller, Cancellation)> {
        let event = Arc::new(EventFd::from_flags(
            EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK,
        )?);
        Ok((
            Canceller(Arc::clone(&event)),
            Cancellation(Source::Canceller(event)),
        ))
    }

    /// A cancellation that any of `signals` brings about, but for those that the
    /// process was started to ignore.
    ///
    /// Blocks them in the calling thread, for good, and in the children it
    /// starts until they unblock them (chroot-exec does). Call it before there
    /// are other threads: one that does not block them would get them instead.
    ///
    /// # Errors
    /// Where the system has no descriptor left.
    pub fn on_signals(signals: &[Signal]) -> io::Result<Cancellation> {
        let heeded = signals.iter().copied();
        let set: SigSet = heeded.filter(|s| !sys::is_ignored(*s as i32)).collect();
        set.thread_block()?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Cancellation(Source::Signals(fd)))
    }

    /// Whether the run has been cancelled. Once true, always true: nothing is
    /// ever read from the descriptor.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(ready) if ready > 0)
    }
}

impl AsFd for Cancellation {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Source::Canceller(event) => event.as_fd(),
            Source::Signals(signals) => signals.as_fd(),
        }
    }
}

impl Canceller {
    /// Cancels. Doing it again changes nothing.
    pub fn cancel(&self) {
        // The only failure left is a full counter, which is cancelled already.
        let _ = self.0.write(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_cancelled_from_any_thread() {
        let (canceller, cancellation) = Cancellation::new().unwrap();
        assert!(!cancellation.is_cancelled());
        std::thread::spawn(move || {
            canceller.cancel();
            canceller.cancel();
        })
        .join()
        .unwrap();
        assert!(cancellation.is_cancelled());
        assert!(cancellation.is_cancelled());
    }
}
