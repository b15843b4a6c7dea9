//! The streams of a stage: what its agent says, and its channel.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::commands::rehearse::channel::{Event, GO_ON, events};
use crate::error::Error;
use crate::system::cancel::Cancellation;

/// The time in which what an agent said that has ended is read.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// The most reads of one stream before the others have their turn.
const MOST_READS: usize = 64;

/// One of the two streams of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// What was said, in the order in which it was read.
pub(super) type Said = Vec<(Stream, Vec<u8>)>;

/// What came over the channel.
#[derive(Debug)]
pub(super) enum Received {
    Events(Vec<Event>),
    /// What sent it is not the agent.
    Nonsense,
}

/// The streams. One that has ended is gone.
#[derive(Debug)]
pub(super) struct Streams {
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    channel: Option<UnixStream>,
    received: Vec<u8>,
}

impl Streams {
    /// Takes the streams of a child, and this end of its channel.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn of(child: &mut Child, channel: UnixStream) -> io::Result<Streams> {
        // A step that has taken over the agent may read no answer: none is waited for.
        channel.set_nonblocking(true)?;
        Ok(Streams {
            stdout: child.stdout.take().map(OwnedFd::from),
            stderr: child.stderr.take().map(OwnedFd::from),
            channel: Some(channel),
            received: Vec::new(),
        })
    }

    /// Waits until there is something to read, also of `more`, the rehearsal is cancelled, or
    /// this time has passed.
    pub(super) fn wait(
        &self,
        wait: Duration,
        more: Option<BorrowedFd<'_>>,
        cancellation: &Cancellation,
    ) -> Result<(), Error> {
        let text = [&self.stdout, &self.stderr].into_iter().flatten();
        let channel = self.channel.iter().map(AsFd::as_fd);
        let mut fds: Vec<PollFd<'_>> = text.map(AsFd::as_fd).chain(channel).map(input).collect();
        // All have ended, and the agent does in a moment.
        let wait = match fds.is_empty() {
            true => wait.min(Duration::from_millis(1)),
            false => wait,
        };
        fds.extend(more.map(input));
        fds.push(input(cancellation.as_fd()));
        wait_for(&mut fds, wait)
    }

    /// Reads what the agent has said, as much as is there.
    pub(super) fn said(&mut self) -> Result<Said, Error> {
        let mut said = Vec::new();
        for (stream, slot) in [
            (Stream::Stdout, &mut self.stdout),
            (Stream::Stderr, &mut self.stderr),
        ] {
            for _ in 0..MOST_READS {
                let Some(fd) = slot else {
                    break;
                };
                if !is_ready(fd.as_fd())? {
                    break;
                }
                let mut buffer = vec![0; 16 * 1024];
                match nix::unistd::read(fd.as_fd(), &mut buffer) {
                    Ok(0) | Err(_) => *slot = None,
                    Ok(len) => {
                        buffer.truncate(len);
                        said.push((stream, buffer));
                    }
                }
            }
        }
        Ok(said)
    }

    /// Reads to the end what an agent said that has ended.
    pub(super) fn rest(&mut self) -> Result<Said, Error> {
        let mut rest = Vec::new();
        let until = Instant::now() + LAST_WAIT;
        while (self.stdout.is_some() || self.stderr.is_some()) && Instant::now() < until {
            rest.extend(self.said()?);
        }
        Ok(rest)
    }

    /// Reads what has come over the channel.
    pub(super) fn events(&mut self) -> Result<Received, Error> {
        let none = Received::Events(Vec::new());
        let Some(channel) = &mut self.channel else {
            return Ok(none);
        };
        if !is_ready(channel.as_fd())? {
            return Ok(none);
        }
        let mut buffer = [0; 4096];
        match channel.read(&mut buffer) {
            Ok(0) | Err(_) => {
                self.channel = None;
                return Ok(none);
            }
            Ok(len) => self.received.extend(buffer.iter().take(len)),
        }
        Ok(match events(&mut self.received) {
            Ok(events) => Received::Events(events),
            Err(_) => {
                self.channel = None;
                Received::Nonsense
            }
        })
    }

    /// Lets the stage go on.
    pub(super) fn answer(&self) {
        if let Some(channel) = &self.channel {
            // If the agent has ended, that is seen elsewhere.
            let _ = nix::unistd::write(channel.as_fd(), GO_ON);
        }
    }
}

fn input(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(fd, PollFlags::POLLIN)
}

fn is_ready(fd: BorrowedFd<'_>) -> Result<bool, Error> {
    Ok(!poll_for(fd, Duration::ZERO)?.is_empty())
}

/// Waits for a descriptor, and tells what it is ready for: nothing if this time has passed.
pub(super) fn poll_for(fd: BorrowedFd<'_>, wait: Duration) -> Result<PollFlags, Error> {
    let mut fds = [input(fd)];
    wait_for(&mut fds, wait)?;
    let [fd] = fds;
    Ok(fd.revents().unwrap_or(PollFlags::empty()))
}

fn wait_for(fds: &mut [PollFd<'_>], wait: Duration) -> Result<(), Error> {
    // A part of a millisecond counts as one, or this would not wait at all.
    let millis = wait.as_micros().div_ceil(1000);
    let millis = u16::try_from(millis).unwrap_or(u16::MAX);
    match poll(fds, PollTimeout::from(millis)) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(Error::io("wait for", "a stage", error)),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn an_answer_that_is_not_read_is_not_waited_for() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut child = Command::new("true").stdin(Stdio::null()).spawn().unwrap();
        let streams = Streams::of(&mut child, ours).unwrap();
        for _ in 0..100_000 {
            streams.answer();
        }
        drop(theirs);
        child.wait().unwrap();
    }
}
