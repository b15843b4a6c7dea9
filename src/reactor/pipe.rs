//! The reading end of one of the child's streams.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;

use mio::unix::pipe::{self, Receiver};
use mio::{Interest, Poll, Token};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::fstat;

use super::{Event, Stream};

/// The reading end of one stream.
#[derive(Debug)]
pub(super) struct Pipe {
    stream: Stream,
    /// What the loop's events call it.
    pub(super) token: Token,
    /// `None` when the stream has ended.
    receiver: Option<Receiver>,
    /// Whether a read may bring something: set by any event, taken back only by
    /// EAGAIN. epoll tells of each change once.
    pub(super) ready: bool,
    /// What /proc calls the pipe.
    pub(super) inode: u64,
}

impl Pipe {
    /// A pipe whose reading end is in the loop, and its writing end for a child.
    pub(super) fn new(stream: Stream, token: Token, poll: &Poll) -> io::Result<(Pipe, Stdio)> {
        let (writer, mut receiver) = pipe::new()?;
        // The child's programs expect to block. The reading end, which is this
        // process's alone, stays as it is.
        writer.set_nonblocking(false)?;
        poll.registry()
            .register(&mut receiver, token, Interest::READABLE)?;
        let inode = fstat(&receiver)?.st_ino;
        let pipe = Pipe {
            stream,
            token,
            receiver: Some(receiver),
            ready: false,
            inode,
        };
        Ok((pipe, OwnedFd::from(writer).into()))
    }

    pub(super) fn is_open(&self) -> bool {
        self.receiver.is_some()
    }

    /// Reads once and tells what came of it. Returns how many bytes that was.
    pub(super) fn read_once(
        &mut self,
        buffer: &mut [u8],
        on_event: &mut impl FnMut(Event<'_>),
    ) -> usize {
        let Some(receiver) = &mut self.receiver else {
            return 0;
        };
        match receiver.read(buffer) {
            Ok(0) => self.end(on_event),
            Ok(len) => {
                on_event(Event::Read(self.stream, buffer.get(..len).unwrap_or(b"")));
                if len < buffer.len() {
                    on_event(Event::Idle);
                }
                return len;
            }
            // Some process still holds the pipe, or it would have been an end.
            // Trying again before epoll says so would burn a core until it lets
            // go: conmon once did, whenever a grandchild held a container's pipe.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                on_event(Event::ReadError(self.stream, error));
                self.end(on_event);
            }
        }
        0
    }

    fn end(&mut self, on_event: &mut impl FnMut(Event<'_>)) {
        self.receiver = None;
        self.ready = false;
        on_event(Event::End(self.stream));
    }

    /// Reads what the pipe holds by now, and no more: a process that keeps it open
    /// may write for ever, but all that an exited child wrote is in there.
    pub(super) fn read_what_is_there(
        &mut self,
        buffer: &mut [u8],
        on_event: &mut impl FnMut(Event<'_>),
    ) {
        let Some(receiver) = &self.receiver else {
            return;
        };
        let capacity = fcntl(receiver.as_fd(), FcntlArg::F_GETPIPE_SZ).unwrap_or(0);
        // One more than it can hold, to see the end after a full pipe.
        let mut left = usize::try_from(capacity).unwrap_or(0).saturating_add(1);
        self.ready = true;
        while self.ready && left > 0 {
            left = left.saturating_sub(self.read_once(buffer, on_event));
        }
        self.ready = false;
    }
}
