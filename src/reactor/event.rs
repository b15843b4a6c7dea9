//! The options that go into the loop, and the events that come out.

use std::io;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::settings::DEFAULT_BUFFER_LIMIT;
use crate::system::cancel::Cancellation;
use crate::system::orphans::Orphans;
use crate::system::pipe_writers::PipeWriter;

/// One of a child's two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// Something that happened, in the order in which the loop saw it.
#[derive(Debug)]
pub enum Event<'a> {
    /// One read of a stream brought these bytes, never none and at most
    /// [`Options::buffer_limit`].
    Read(Stream, &'a [u8]),
    /// No more is at hand: reads that were kept back, to be written together,
    /// are written now. Comes after every system call that read less than it could,
    /// and before the loop waits for anything; not at the end of the run.
    Idle,
    /// A read failed, which ends the stream.
    ReadError(Stream, io::Error),
    /// The stream is at its end. Comes once for each stream that was not
    /// given up, after a `ReadError` too.
    End(Stream),
    /// The run was cancelled; comes once. The child finishes all the same, and so
    /// does its output.
    Cancelled,
    /// Both streams have been silent for this long. Comes each time that
    /// [`Options::silence_notice`] has passed again.
    Silent(Duration),
    /// [`Options::time_limit`] is over, and the child's group was sent this signal:
    /// SIGTERM, and SIGKILL if something of it is still there [`GRACE`] later.
    OutOfTime(Signal),
    /// The child exited [`Options::held_notice`] ago and these processes keep
    /// its output open; comes at most once. Empty if /proc does not tell.
    PipesHeldOpen(&'a [PipeWriter]),
    /// The wait for the end of these streams is over: what is still written
    /// there is lost. Comes at most once, right before the run ends.
    GivenUp(&'a [PipeWriter]),
}

/// The way in which the loop learns of the child's exit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watch {
    /// By a pidfd; as `Poll` if the kernel has none to give.
    #[default]
    Pidfd,
    /// By asking every 10 ms.
    Poll,
}

/// The time from SIGTERM to SIGKILL for a child that is out of time, and from there to
/// the end of the wait for its output.
pub const GRACE: Duration = Duration::from_secs(5);

/// The options of a run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most bytes of one read (`SKYHOOK_AGENT_BUFFER_LIMIT`).
    pub buffer_limit: NonZeroUsize,
    /// The time from the child's exit to [`Event::PipesHeldOpen`].
    pub held_notice: Duration,
    /// The time after the child's exit for which the streams are waited for; `None`:
    /// until they end (`SKYHOOK_AGENT_DRAIN_TIMEOUT`).
    pub drain_timeout: Option<Duration>,
    /// The time of silence after which [`Event::Silent`] comes; `None`: never.
    pub silence_notice: Option<Duration>,
    /// The time for the child and its output; `None`: no limit. The child must lead a
    /// group of its own.
    pub time_limit: Option<Duration>,
    /// Tells if a cancellation interrupts the child, as Ctrl-C does one of the agent's
    /// own group.
    pub interrupts: bool,
    /// The signals that cancel the run.
    pub cancellation: Option<Rc<Cancellation>>,
    /// Tells if the child leads a process group of its own: a signal to the agent's
    /// group does not reach it then. Not for a child that reads from a terminal.
    pub own_group: bool,
    /// The way in which the loop learns of the child's exit.
    pub watch: Watch,
    /// The orphans that this process has to reap, if it is PID 1.
    pub orphans: Option<Rc<Orphans>>,
}

impl Default for Options {
    /// 8192 bytes, a notice after 10 s, no time-out, no cancellation.
    fn default() -> Options {
        Options {
            buffer_limit: DEFAULT_BUFFER_LIMIT,
            held_notice: Duration::from_secs(10),
            drain_timeout: None,
            silence_notice: None,
            time_limit: None,
            interrupts: false,
            cancellation: None,
            own_group: true,
            watch: Watch::Pidfd,
            orphans: None,
        }
    }
}
