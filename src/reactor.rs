//! The loop: a child's two pipes and its pidfd in, events out.
//!
//! One mio (epoll) loop, on the calling thread. It knows nothing of what the
//! bytes mean or where they go.
//!
//! # What it promises
//! - Each [`Event::Read`] is what one read of at most [`Options::buffer_limit`] bytes
//!   would have brought, handed on at once. One system call does for several of them.
//!   An [`Event::Idle`] follows before the loop waits for anything.
//! - Nothing is lost and nothing comes twice: a stream ends where `read` says so
//!   (it returned 0), never because an event hinted at it.
//! - A chatty stream cannot starve the other one, nor the child's exit, nor a
//!   cancellation: reads per wake are bounded and taken in turn.
//! - The run ends when three separate facts have come: both streams' ends and
//!   the child's exit.
//! - No allocation per read.

mod event;
mod pipe;

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::system::pipe_writers::{self, PipeWriter};
use crate::system::sys;
pub use event::{Event, GRACE, Options, Stream, Watch};
use pipe::{Buffer, Pipe};

/// System calls that read from each stream before epoll is asked again: enough to
/// make its cost vanish, few enough that an exit or a cancellation is seen soon.
const READS_PER_WAKE: usize = 8;

/// The time between two looks at a child without a pidfd.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

const STDOUT: Token = Token(0);
const STDERR: Token = Token(1);
const CHILD: Token = Token(2);
const CANCEL: Token = Token(3);
const ORPHANS: Token = Token(4);

/// A running child with its output in the loop.
#[derive(Debug)]
pub struct Reactor {
    poll: Poll,
    events: Events,
    buffer: Buffer,
    pipes: [Pipe; 2],
    child: Child,
    pidfd: Option<OwnedFd>,
    options: Options,
    /// The time at which the child's exit was seen. It is reaped last of all, except by PID 1:
    /// until then its process id cannot be given to another process.
    exited: Option<Instant>,
    /// The time at which [`Event::PipesHeldOpen`] is due.
    held_at: Option<Instant>,
    cancelled: bool,
    /// The time from which the streams of an exited child are not waited for.
    give_up_at: Option<Instant>,
    /// The time since which no stream has brought anything.
    silent_since: Instant,
    /// The time at which [`Event::Silent`] is due.
    silent_at: Option<Instant>,
    /// The time at which the child is out of time, and the signal that it gets then.
    limit: Option<(Instant, Signal)>,
}

impl Reactor {
    /// Starts `command` with both output streams in a loop of its own.
    ///
    /// The command's stdout and stderr are set here. All that can fail is done before the child exists.
    ///
    /// # Errors
    /// If the system has no descriptor, memory or process left, or the program cannot be
    /// started. There is no child then.
    pub fn spawn(mut command: Command, options: Options) -> io::Result<Reactor> {
        let poll = Poll::new()?;
        let buffer = Buffer::new(options.buffer_limit)?;
        let (stdout, stdout_writer) = Pipe::new(Stream::Stdout, STDOUT, &poll)?;
        let (stderr, stderr_writer) = Pipe::new(Stream::Stderr, STDERR, &poll)?;
        if let Some(cancellation) = &options.cancellation {
            watch(&poll, cancellation.as_fd(), CANCEL)?;
        }

        if let Some(orphans) = &options.orphans {
            watch(&poll, orphans.as_fd(), ORPHANS)?;
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
        let now = Instant::now();
        let after = |time: Option<Duration>| time.and_then(|time| now.checked_add(time));
        Ok(Reactor {
            silent_since: now,
            silent_at: after(options.silence_notice),
            limit: after(options.time_limit).map(|at| (at, Signal::SIGTERM)),
            poll,
            events: Events::with_capacity(8),
            buffer,
            pipes: [stdout, stderr],
            child,
            pidfd,
            options,
            exited: None,
            held_at: None,
            cancelled: false,
            give_up_at: None,
        })
    }

    /// Runs until the child has exited and its streams have ended or were given
    /// up, telling `on_event` of everything as it happens. Reaps the child.
    ///
    /// # Errors
    /// If epoll fails, or something else in this process has reaped the child. A child
    /// that still runs is killed then, so that it does not run unwatched.
    pub fn run(mut self, mut on_event: impl FnMut(Event<'_>)) -> io::Result<ExitStatus> {
        let outcome = self.event_loop(&mut on_event);
        if outcome.is_err() && matches!(self.has_exited(), Ok(false)) {
            self.kill();
        }
        let status = self.child.wait();
        if let Some(orphans) = &self.options.orphans {
            // Those that ended since.
            orphans.reap(None);
        }
        outcome?;
        status
    }

    fn event_loop(&mut self, on_event: &mut impl FnMut(Event<'_>)) -> io::Result<()> {
        loop {
            if self.silent_at.is_some() && self.any_ready() {
                self.silent_since = Instant::now();
                self.expect_silence(self.silent_since);
            }
            for _ in 0..READS_PER_WAKE {
                for pipe in self.pipes.iter_mut().filter(|pipe| pipe.ready) {
                    pipe.read_once(&mut self.buffer, on_event);
                }
                if !self.any_ready() {
                    break;
                }
            }
            on_event(Event::Idle);
            if self.pidfd.is_none() {
                self.check_exit()?;
            }
            if self.is_drained() || self.fire_timers(on_event).is_break() {
                return Ok(());
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
        let (mut child, mut cancel, mut orphans) = (false, false, false);
        for event in &self.events {
            match event.token() {
                CHILD => child = true,
                CANCEL => cancel = true,
                ORPHANS => orphans = true,
                token => {
                    // Readable, hung up or an error: a read tells which.
                    for pipe in &mut self.pipes {
                        pipe.ready |= pipe.is_open() && pipe.token == token;
                    }
                }
            }
        }
        if child {
            self.check_exit()?;
        }
        if cancel {
            self.check_cancellation(on_event);
        }
        if orphans && let Some(orphans) = &self.options.orphans {
            let running = self.exited.is_none().then(|| self.child.id());
            orphans.reap(running);
        }
        Ok(())
    }

    /// The time for which epoll may wait: none while a stream is ready, not past the next
    /// deadline, for ever if there is none.
    fn timeout(&self) -> Option<Duration> {
        if self.any_ready() {
            return Some(Duration::ZERO);
        }
        let limit_at = self.limit.map(|(at, _)| at);
        let timers = [self.held_at, self.give_up_at, self.silent_at, limit_at];
        let next = timers.into_iter().flatten().min();
        let next = next.map(|at| at.saturating_duration_since(Instant::now()));
        if self.pidfd.is_none() && self.exited.is_none() {
            return Some(next.map_or(POLL_INTERVAL, |next| next.min(POLL_INTERVAL)));
        }
        next
    }

    /// Does what is due by now. Breaks when the wait for the streams is over.
    fn fire_timers(&mut self, on_event: &mut impl FnMut(Event<'_>)) -> ControlFlow<()> {
        if self.exited.is_none() && self.silent_at.is_none() && self.limit.is_none() {
            return ControlFlow::Continue(());
        }
        let now = Instant::now();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if is_due(self.silent_at) {
            self.expect_silence(now);
            on_event(Event::Silent(now.duration_since(self.silent_since)));
        }
        if let Some((at, signal)) = self.limit
            && at <= now
        {
            self.end_child(signal, now, on_event);
        }
        if self.exited.is_none() {
            return ControlFlow::Continue(());
        }
        if is_due(self.give_up_at) {
            for pipe in &mut self.pipes {
                pipe.read_what_is_there(&mut self.buffer, on_event);
            }
            if !self.is_drained() {
                on_event(Event::GivenUp(&self.pipe_writers()));
            }
            return ControlFlow::Break(());
        }
        if is_due(self.held_at) {
            let writers = self.pipe_writers();
            // No writer is left, and there is still something to read: it is the
            // sinks that are slow. Ask again later.
            let is_behind = writers.is_empty() && self.any_ready();
            self.held_at = now
                .checked_add(self.options.held_notice)
                .filter(|_| is_behind);
            if !is_behind {
                on_event(Event::PipesHeldOpen(&writers));
            }
        }
        ControlFlow::Continue(())
    }

    /// Tells if the child has exited. It is not reaped.
    fn has_exited(&self) -> io::Result<bool> {
        Ok(sys::exited_child(Some(self.child.id()))?.is_some())
    }

    fn check_exit(&mut self) -> io::Result<()> {
        if self.exited.is_none() && self.has_exited()? {
            let now = Instant::now();
            self.exited = Some(now);
            if self.options.orphans.is_some() {
                // It would come before the orphans in the kernel's list for as long as its
                // output is held open. The child keeps the status.
                self.child.wait()?;
            }
            let timeout = self.options.drain_timeout;
            let drained_by = timeout.and_then(|timeout| now.checked_add(timeout));
            self.give_up_at = [self.give_up_at, drained_by].into_iter().flatten().min();
            self.held_at = now.checked_add(self.options.held_notice);
        }
        Ok(())
    }

    fn check_cancellation(&mut self, on_event: &mut impl FnMut(Event<'_>)) {
        let cancellation = self.options.cancellation.as_ref();
        if !self.cancelled && cancellation.is_some_and(|c| c.is_cancelled()) {
            self.cancelled = true;
            on_event(Event::Cancelled);
            if self.options.interrupts {
                self.signal_group(Signal::SIGINT);
            }
        }
    }

    /// Sets the time at which the silence has lasted for another while.
    fn expect_silence(&mut self, now: Instant) {
        let notice = self.options.silence_notice;
        self.silent_at = notice.and_then(|notice| now.checked_add(notice));
    }

    /// Ends a child that is out of time, with its group.
    fn end_child(&mut self, signal: Signal, now: Instant, on_event: &mut impl FnMut(Event<'_>)) {
        self.signal_group(signal);
        on_event(Event::OutOfTime(signal));
        let next = now.checked_add(GRACE);
        if signal == Signal::SIGKILL {
            self.limit = None;
            // What has left the group may hold the output.
            self.give_up_at = [self.give_up_at, next].into_iter().flatten().min();
        } else {
            self.limit = next.map(|at| (at, Signal::SIGKILL));
        }
    }

    /// Signals the group of the child, which leads it.
    fn signal_group(&self, signal: Signal) {
        // A child that was reaped may have given its number to another.
        let is_reaped = self.exited.is_some() && self.options.orphans.is_some();
        if is_reaped || !self.options.own_group {
            return;
        }
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // The only failure left is that the group has just ended.
            let _ = killpg(Pid::from_raw(pid), signal);
        }
    }

    fn any_ready(&self) -> bool {
        self.pipes.iter().any(|pipe| pipe.ready)
    }

    fn is_drained(&self) -> bool {
        self.exited.is_some() && !self.pipes.iter().any(Pipe::is_open)
    }

    fn pipe_writers(&self) -> Vec<PipeWriter> {
        let open = self.pipes.iter().filter(|pipe| pipe.is_open());
        pipe_writers::of_pipes(&open.map(|pipe| pipe.inode).collect::<Vec<_>>())
    }

    /// Kills the child, with its process group if it leads one.
    fn kill(&self) {
        let Ok(pid) = i32::try_from(self.child.id()).map(Pid::from_raw) else {
            return;
        };
        // The only failure left is that it has just exited.
        let _ = if self.options.own_group {
            killpg(pid, Signal::SIGKILL)
        } else {
            kill(pid, Signal::SIGKILL)
        };
    }
}

fn watch(poll: &Poll, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
    poll.registry()
        .register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)
}
