//! The loop: a child's two pipes and its pidfd in, events out.
//!
//! One mio (epoll) loop, on the calling thread. It knows nothing of what the
//! bytes mean or where they go.
//!
//! # What it promises
//! - Each [`Event::Read`] is what one `read` returned, at most
//!   [`Options::buffer_limit`] bytes, handed on at once.
//! - Nothing is lost and nothing comes twice: a stream ends where `read` says so
//!   (it returned 0), never because an event hinted at it.
//! - A chatty stream cannot starve the other one, nor the child's exit, nor a
//!   cancellation: reads per wake are bounded and taken in turn.
//! - The run ends when three separate facts have come: both streams' ends and
//!   the child's exit.
//! - No allocation per read.

mod pipe;

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::cancel::Cancellation;
use crate::holders::{self, Holder};
use crate::sys;
use pipe::Pipe;

/// The reference's read size (contract §5).
pub const DEFAULT_BUFFER_LIMIT: NonZeroUsize = match NonZeroUsize::new(8192) {
    Some(limit) => limit,
    None => NonZeroUsize::MIN,
};

/// Reads taken from each stream before epoll is asked again: enough to make its
/// cost vanish, few enough that an exit or a cancellation is seen soon.
const READS_PER_WAKE: usize = 16;

/// The largest read buffer. A pipe holds at most this much unless root raised
/// /proc/sys/fs/pipe-max-size, so a larger limit would only cost memory.
const LARGEST_BUFFER: usize = 1 << 20;

/// How often a child without a pidfd is asked after.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

const CHILD: Token = Token(2);
const CANCEL: Token = Token(3);

/// One of a child's two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

impl Stream {
    fn token(self) -> Token {
        match self {
            Stream::Stdout => Token(0),
            Stream::Stderr => Token(1),
        }
    }
}

/// Something that happened, in the order in which the loop saw it.
#[derive(Debug)]
pub enum Event<'a> {
    /// One read of a stream brought these bytes, never none.
    Read(Stream, &'a [u8]),
    /// A read failed, which ends the stream.
    ReadError(Stream, io::Error),
    /// The stream is at its end. Comes once for each stream that was not
    /// given up, also behind a `ReadError`.
    End(Stream),
    /// The run was cancelled; comes once. What follows is [`OnCancel`].
    Cancelled,
    /// The child exited [`Options::held_notice`] ago and these processes keep
    /// its output open; comes at most once. Empty where /proc does not tell.
    Held(&'a [Holder]),
    /// The wait for the end of these streams is over: what is still written
    /// there is lost. Comes at most once, right before the run ends.
    GivenUp(&'a [Holder]),
}

/// What a cancellation does to the child.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnCancel {
    /// Nothing: it finishes, and so does its output.
    #[default]
    LetFinish,
    /// SIGTERM at once, SIGKILL when `grace` has passed and something of it is
    /// left, and no more waiting for its output when `grace` has passed again.
    ///
    /// The signals go to the child's process group where it leads one
    /// ([`Options::own_group`]), else to the child alone.
    Terminate {
        /// How long it has to end by itself.
        grace: Duration,
    },
}

/// How the loop learns of the child's exit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watch {
    /// By a pidfd; as `Poll` where the kernel has none to give.
    #[default]
    Pidfd,
    /// By asking every 10 ms.
    Poll,
}

/// How a run goes.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most bytes of one read (`SKYHOOK_AGENT_BUFFER_LIMIT`).
    pub buffer_limit: NonZeroUsize,
    /// How long after the child's exit [`Event::Held`] comes.
    pub held_notice: Duration,
    /// How long after the child's exit the streams are waited for; `None`: until
    /// they end (`SKYHOOK_AGENT_DRAIN_TIMEOUT`).
    pub drain_timeout: Option<Duration>,
    /// What ends the run from outside.
    pub cancellation: Option<Rc<Cancellation>>,
    /// What it does to the child.
    pub on_cancel: OnCancel,
    /// Whether the child leads a process group of its own: a signal to the
    /// agent's group then passes it by, and `Terminate` reaches its
    /// descendants. Not for a child that shall read from a terminal.
    pub own_group: bool,
    /// How the child's exit is learnt of.
    pub watch: Watch,
}

impl Default for Options {
    /// 8192 bytes, a notice after 10 s, no time-out, no cancellation.
    fn default() -> Options {
        Options {
            buffer_limit: DEFAULT_BUFFER_LIMIT,
            held_notice: Duration::from_secs(10),
            drain_timeout: None,
            cancellation: None,
            on_cancel: OnCancel::LetFinish,
            own_group: true,
            watch: Watch::Pidfd,
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    /// The child's own end.
    pub status: ExitStatus,
    /// Why the loop stopped.
    pub reason: Reason,
}

/// Why the loop stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The child has exited and both streams are at their end.
    Drained,
    /// The child has exited, and a stream was given up before its end.
    GivenUp,
}

/// A running child with its output in the loop.
#[derive(Debug)]
pub struct Reactor {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    pipes: [Pipe; 2],
    child: Child,
    pidfd: Option<OwnedFd>,
    options: Options,
    /// When the child's exit was seen. It is reaped last of all: until then its
    /// process id cannot be given to a process that a signal would hit.
    exited: Option<Instant>,
    held_said: bool,
    cancelled: bool,
    /// When SIGKILL follows SIGTERM.
    kill_at: Option<Instant>,
    /// When the streams of an exited child are waited for no longer.
    give_up_at: Option<Instant>,
}

impl Reactor {
    /// Starts `command` with both output streams in a loop of its own.
    ///
    /// The command's stdout and stderr are set here; everything else about it
    /// stands. All that can fail is done before the child exists.
    ///
    /// # Errors
    /// Where the system has no descriptor, memory or process left, or the
    /// program cannot be started: there is no child then.
    pub fn spawn(mut command: Command, options: Options) -> io::Result<Reactor> {
        let poll = Poll::new()?;
        let mut buffer = Vec::new();
        let size = options.buffer_limit.get().min(LARGEST_BUFFER);
        buffer.try_reserve_exact(size)?;
        buffer.resize(size, 0);

        let (stdout, stdout_writer) = Pipe::new(Stream::Stdout, &poll)?;
        let (stderr, stderr_writer) = Pipe::new(Stream::Stderr, &poll)?;
        if let Some(cancellation) = &options.cancellation {
            watch(&poll, cancellation.as_fd(), CANCEL)?;
        }

        command.stdout(stdout_writer).stderr(stderr_writer);
        if options.own_group {
            command.process_group(0);
        }
        let child = command.spawn()?;
        // The command holds our copies of the writing ends; with them open no
        // stream would ever end.
        drop(command);

        let pidfd = match options.watch {
            Watch::Pidfd => sys::pidfd_open(child.id())
                .and_then(|pidfd| watch(&poll, pidfd.as_fd(), CHILD).map(|()| pidfd))
                .ok(),
            Watch::Poll => None,
        };
        Ok(Reactor {
            poll,
            events: Events::with_capacity(8),
            buffer,
            pipes: [stdout, stderr],
            child,
            pidfd,
            options,
            exited: None,
            held_said: false,
            cancelled: false,
            kill_at: None,
            give_up_at: None,
        })
    }

    /// The child's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs until the child has exited and its streams have ended or were given
    /// up, telling `on_event` of everything as it happens. Reaps the child.
    ///
    /// # Errors
    /// Where epoll fails, or something else in this process has reaped the
    /// child. A child that still runs is killed then: better than leaving it
    /// behind unwatched.
    pub fn run(mut self, mut on_event: impl FnMut(Event<'_>)) -> io::Result<Stop> {
        let outcome = self.turn(&mut on_event);
        if outcome.is_err() && matches!(has_exited(self.child.id()), Ok(false)) {
            self.signal(Signal::SIGKILL);
        }
        let status = self.child.wait();
        Ok(Stop {
            reason: outcome?,
            status: status?,
        })
    }

    fn turn(&mut self, on_event: &mut impl FnMut(Event<'_>)) -> io::Result<Reason> {
        loop {
            for _ in 0..READS_PER_WAKE {
                for pipe in self.pipes.iter_mut().filter(|pipe| pipe.ready) {
                    pipe.read_once(&mut self.buffer, on_event);
                }
                if !self.any_ready() {
                    break;
                }
            }
            if self.pidfd.is_none() {
                self.look_for_exit()?;
            }
            if self.is_drained() {
                return Ok(Reason::Drained);
            }
            if self.meet_deadlines(on_event) {
                return Ok(if self.is_drained() {
                    Reason::Drained
                } else {
                    Reason::GivenUp
                });
            }
            self.wait(on_event)?;
        }
    }

    /// Waits for something to happen, but not past the next deadline, and notes
    /// what did.
    fn wait(&mut self, on_event: &mut impl FnMut(Event<'_>)) -> io::Result<()> {
        let timeout = self.timeout();
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            done => done?,
        }
        // An event is a hint and may be spurious; only what it points at counts.
        let (mut child, mut cancel) = (false, false);
        for event in &self.events {
            match event.token() {
                CHILD => child = true,
                CANCEL => cancel = true,
                token => {
                    // Readable, hung up or an error: a read tells which.
                    for pipe in &mut self.pipes {
                        pipe.ready |= pipe.is_open() && pipe.stream.token() == token;
                    }
                }
            }
        }
        if child {
            self.look_for_exit()?;
        }
        if cancel {
            self.look_for_cancellation(on_event);
        }
        Ok(())
    }

    /// How long epoll may wait: not at all while a stream is ready, not past the
    /// next deadline, for ever where there is none.
    fn timeout(&self) -> Option<Duration> {
        if self.any_ready() {
            return Some(Duration::ZERO);
        }
        let held_at = self.held_at();
        let deadlines = [self.kill_at, held_at, self.exited.and(self.give_up_at)];
        let next = deadlines.into_iter().flatten().min();
        let next = next.map(|at| at.saturating_duration_since(Instant::now()));
        if self.pidfd.is_none() && self.exited.is_none() {
            return Some(next.map_or(POLL_INTERVAL, |next| next.min(POLL_INTERVAL)));
        }
        next
    }

    /// Does what is due. True when the streams are to be waited for no longer.
    fn meet_deadlines(&mut self, on_event: &mut impl FnMut(Event<'_>)) -> bool {
        if self.exited.is_none() && self.kill_at.is_none() {
            return false;
        }
        let now = Instant::now();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.kill_at) {
            self.kill_at = None;
            self.signal(Signal::SIGKILL);
            self.give_up_at = earliest(self.give_up_at, now.checked_add(self.grace()));
        }
        if is_due(self.exited.and(self.give_up_at)) {
            for pipe in &mut self.pipes {
                pipe.read_what_is_there(&mut self.buffer, on_event);
            }
            if !self.is_drained() {
                on_event(Event::GivenUp(&self.holders()));
            }
            return true;
        }
        if is_due(self.held_at()) {
            self.held_said = true;
            on_event(Event::Held(&self.holders()));
        }
        false
    }

    fn look_for_exit(&mut self) -> io::Result<()> {
        if self.exited.is_none() && has_exited(self.child.id())? {
            let now = Instant::now();
            self.exited = Some(now);
            let timeout = self.options.drain_timeout;
            let give_up_at = timeout.and_then(|timeout| now.checked_add(timeout));
            self.give_up_at = earliest(self.give_up_at, give_up_at);
        }
        Ok(())
    }

    fn look_for_cancellation(&mut self, on_event: &mut impl FnMut(Event<'_>)) {
        let cancellation = self.options.cancellation.as_ref();
        if self.cancelled || !cancellation.is_some_and(|c| c.is_cancelled()) {
            return;
        }
        self.cancelled = true;
        on_event(Event::Cancelled);
        if let OnCancel::Terminate { grace } = self.options.on_cancel {
            self.signal(Signal::SIGTERM);
            self.kill_at = Instant::now().checked_add(grace);
        }
    }

    fn grace(&self) -> Duration {
        match self.options.on_cancel {
            OnCancel::LetFinish => Duration::ZERO,
            OnCancel::Terminate { grace } => grace,
        }
    }

    fn any_ready(&self) -> bool {
        self.pipes.iter().any(|pipe| pipe.ready)
    }

    fn is_drained(&self) -> bool {
        self.exited.is_some() && !self.pipes.iter().any(Pipe::is_open)
    }

    /// When it is time to say who holds the streams.
    fn held_at(&self) -> Option<Instant> {
        let exited = self.exited.filter(|_| !self.held_said)?;
        exited.checked_add(self.options.held_notice)
    }

    fn holders(&self) -> Vec<Holder> {
        let open = self.pipes.iter().filter(|pipe| pipe.is_open());
        holders::of_pipes(&open.map(|pipe| pipe.inode).collect::<Vec<_>>())
    }

    /// Signals the child, with its process group where it leads one. It has not
    /// been reaped, so nobody else can have its id.
    fn signal(&self, signal: Signal) {
        let Ok(pid) = i32::try_from(self.child.id()).map(Pid::from_raw) else {
            return;
        };
        // The only failure left is that nothing of it is left to signal.
        let _ = if self.options.own_group {
            killpg(pid, signal)
        } else {
            kill(pid, signal)
        };
    }
}

fn watch(poll: &Poll, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
    poll.registry()
        .register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    [a, b].into_iter().flatten().min()
}

/// Whether the child has exited; it stays there to be reaped.
fn has_exited(pid: u32) -> io::Result<bool> {
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    match waitid(Id::Pid(Pid::from_raw(pid)), flags) {
        Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => Ok(false),
        // EINVAL: killed by a real-time signal, which nix has no name for.
        Ok(_) | Err(Errno::EINVAL) => Ok(true),
        Err(error) => Err(error.into()),
    }
}
