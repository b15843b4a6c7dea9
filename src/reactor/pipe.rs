//! The reading end of one of the child's streams.

use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;

use mio::unix::pipe::{self, Receiver};
use mio::{Interest, Poll, Token};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::fstat;

use super::{Event, Stream};

/// The least that one system call asks for: half of what the pipe holds, and no less
/// than the largest packet (a page, which is 64 KiB on some machines).
///
/// A child may have put its end into packet mode (O_DIRECT). Each read brings one
/// packet then, and what does not fit is lost.
const LEAST_READ: usize = 64 << 10;

/// The size that a pipe is given, if the system permits. With no more than one read
/// takes, the step would wait each time until this process has read and has woken it:
/// a fifth more time for big writes.
const PIPE_SIZE: i32 = 128 << 10;

/// The largest limit that counts. A pipe holds at most this much unless root raised
/// /proc/sys/fs/pipe-max-size, so a larger limit would only cost memory.
const LARGEST_LIMIT: usize = 1 << 20;

/// A buffer for one system call: room for several reads of the limit's
/// size, one after another.
///
/// A pipe gives all that it holds to one large read, cut here at the limit, as it
/// would give it to as many small ones: the same chunks for one system call.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// The most bytes of one [`Event::Read`].
    limit: usize,
}

impl Buffer {
    /// A buffer for reads of at most `limit` bytes.
    pub(super) fn new(limit: NonZeroUsize) -> io::Result<Buffer> {
        let limit = limit.get().min(LARGEST_LIMIT);
        // Whole reads, or the last one would be cut at a place that is not the limit.
        let size = LEAST_READ.next_multiple_of(limit);
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size)?;
        bytes.resize(size, 0);
        Ok(Buffer { bytes, limit })
    }
}

/// The reading end of one stream.
#[derive(Debug)]
pub(super) struct Pipe {
    stream: Stream,
    /// Its name in the loop's events.
    pub(super) token: Token,
    /// `None` when the stream has ended.
    receiver: Option<Receiver>,
    /// Tells if a read may bring something: set by any event, taken back only by
    /// EAGAIN. epoll tells of each change once.
    pub(super) ready: bool,
    /// Its number in /proc.
    pub(super) inode: u64,
}

impl Pipe {
    /// A pipe whose reading end is in the loop, and its writing end for a child.
    pub(super) fn new(stream: Stream, token: Token, poll: &Poll) -> io::Result<(Pipe, Stdio)> {
        let (writer, mut receiver) = pipe::new()?;
        // The child's programs expect to block. The reading end, which is this
        // process's alone, stays as it is.
        writer.set_nonblocking(false)?;
        // An ordinary user may have used up the size that is left for pipes.
        let _ = fcntl(writer.as_fd(), FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
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
        buffer: &mut Buffer,
        on_event: &mut impl FnMut(Event<'_>),
    ) -> usize {
        let Some(receiver) = &mut self.receiver else {
            return 0;
        };
        match receiver.read(&mut buffer.bytes) {
            Ok(0) => self.end(on_event),
            Ok(len) => {
                let read = buffer.bytes.get(..len).unwrap_or(b"");
                for chunk in read.chunks(buffer.limit) {
                    on_event(Event::Read(self.stream, chunk));
                }
                if len < buffer.bytes.len() {
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
        buffer: &mut Buffer,
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
