//! One run of the agent in the view: it is started, followed, and ended if need be.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::channel::{Event, GO_ON, events};
use super::processes::Namespace;
use super::report::{Step, StepOutcome};
use crate::error::Error;
use crate::system::cancel::Cancellation;
use crate::view::View;

/// The time from SIGTERM to SIGKILL, as when a pod is ended.
const GRACE: Duration = Duration::from_secs(3);

/// The time that a killed agent has to be gone, and its output read.
const LAST_WAIT: Duration = Duration::from_secs(10);

/// The longest time between two looks at the clock.
const TICK: Duration = Duration::from_millis(100);

/// The same while a reboot can be asked for, which is seen by looking.
const SHORT_TICK: Duration = Duration::from_millis(10);

/// The most bytes of output that are kept for a person to read.
const MOST_SAID: usize = 16 * 1024;

/// What to run.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// The words after the hidden command.
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    /// The time that it may take.
    pub(super) limit: Duration,
    pub(super) cut: Option<Cut>,
    /// Tells if it is an interrupt, which can ask for a reboot.
    pub(super) is_interrupt: bool,
}

/// When to cut the stage off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// The step, counted from 0 among those that start.
    pub(super) step: usize,
    /// The time from the start of that step.
    pub(super) after: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) why: Why,
    pub(super) time: Duration,
    pub(super) steps: Vec<Step>,
    /// The last of what was said: by the last step, or by the agent if there was none.
    pub(super) said: Vec<u8>,
}

/// Why a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    ByItself,
    OutOfTime,
    Cut,
    /// It waited for the reboot that it had asked for.
    Reboot,
    /// Whoever sent events is not the agent.
    NotTheAgent,
}

/// Follows a stage.
pub(super) trait Follower {
    /// Something happened. The stage waits.
    fn event(&mut self, event: &Event, view: &mut View) -> Result<(), Error>;

    /// Something was said.
    fn said(&mut self, bytes: &[u8]) -> Result<(), Error>;

    /// Time has passed.
    fn tick(&mut self) -> Result<(), Error>;

    /// Tells if the stage has asked for a reboot.
    fn is_reboot_asked_for(&mut self, view: &mut View) -> Result<bool, Error>;
}

/// Runs a stage. When this returns, no process of the view is left except its init.
///
/// # Errors
/// If the stage cannot be started or followed, or the rehearsal is cancelled.
pub(super) fn run(
    run: &Run,
    view: &mut View,
    cancellation: &Cancellation,
    follower: &mut dyn Follower,
) -> Result<Ended, Error> {
    let mut running = Running::start(run, view)?;
    let ended = running.follow(run, view, cancellation, follower);
    // Also after an error. As with a container: when its first process ends, all do.
    running.namespace.kill();
    let status = running.wait()?;
    ended?;
    let mut output = Vec::new();
    running.read_rest(&mut output);
    for (stream, bytes) in output {
        running.take(stream, &bytes, follower)?;
    }
    // The agent may have been killed in the middle of it.
    running.end_step(StepOutcome::Failed, None);
    Ok(Ended {
        status,
        why: running.ending.map_or(Why::ByItself, |(why, _)| why),
        time: running.since.elapsed(),
        steps: std::mem::take(&mut running.steps),
        said: std::mem::take(&mut running.said),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

/// A stage that runs.
struct Running {
    child: Child,
    namespace: Namespace,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    channel: Option<UnixStream>,
    received: Vec<u8>,
    since: Instant,
    steps: Vec<Step>,
    /// The start of the step that runs.
    step_since: Option<Instant>,
    /// How many have started.
    started: usize,
    cut_at: Option<Instant>,
    /// Why it is ended, and when it is killed.
    ending: Option<(Why, Instant)>,
    said: Vec<u8>,
}

impl Running {
    fn start(run: &Run, view: &View) -> Result<Running, Error> {
        let (ours, theirs) =
            UnixStream::pair().map_err(|error| Error::io("make", "a socket", error))?;
        let mut command = view.command();
        command.arg(super::channel::STAGE);
        for argument in &run.arguments {
            command.arg(argument);
        }
        command
            .as_std()
            .envs(run.environment.iter().map(|(name, value)| (name, value)))
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let since = Instant::now();
        let mut child = command.spawn()?;
        // The command has the other end of the channel, whose end is the stage's.
        drop(command);
        let namespace = Namespace::of(child.id());
        let namespace = namespace.inspect_err(|_| {
            let _ = child.kill();
            let _ = child.wait();
        })?;
        Ok(Running {
            stdout: child.stdout.take().map(OwnedFd::from),
            stderr: child.stderr.take().map(OwnedFd::from),
            channel: Some(ours),
            child,
            namespace,
            received: Vec::new(),
            since,
            steps: Vec::new(),
            step_since: None,
            started: 0,
            cut_at: None,
            ending: None,
            said: Vec::new(),
        })
    }

    /// Follows the stage until its agent has ended.
    fn follow(
        &mut self,
        run: &Run,
        view: &mut View,
        cancellation: &Cancellation,
        follower: &mut dyn Follower,
    ) -> Result<(), Error> {
        let tick = if run.is_interrupt { SHORT_TICK } else { TICK };
        loop {
            if self.has_ended()? {
                return Ok(());
            }
            if cancellation.is_cancelled() {
                self.end_gently();
                return Err(Error::Cancelled);
            }
            let now = Instant::now();
            self.end_if_due(run, now)?;
            if run.is_interrupt && self.ending.is_none() && follower.is_reboot_asked_for(view)? {
                self.ending = Some((Why::Reboot, now + GRACE));
                self.signal(Signal::SIGTERM);
            }
            follower.tick()?;
            let deadlines = [self.cut_at, self.ending.map(|(_, kill_at)| kill_at)];
            let next = deadlines.into_iter().flatten().min();
            let wait = next.map_or(tick, |next| next.saturating_duration_since(now).min(tick));
            self.wait_for_input(wait, cancellation)?;
            let mut output = Vec::new();
            self.read_available(&mut output)?;
            for (stream, bytes) in output {
                self.take(stream, &bytes, follower)?;
            }
            self.read_channel(run, view, follower)?;
        }
    }

    /// Ends the stage if its time is over, and kills it if it was told to end.
    fn end_if_due(&mut self, run: &Run, now: Instant) -> Result<(), Error> {
        if let Some((_, kill_at)) = self.ending {
            if now >= kill_at + LAST_WAIT {
                let error = std::io::Error::other("it was killed, and is still there");
                return Err(Error::io("end", "a stage", error));
            }
            if now >= kill_at {
                // The agent too: it is a process of the view.
                self.namespace.kill();
            }
            return Ok(());
        }
        let why = match self.cut_at {
            Some(cut_at) if now >= cut_at => Why::Cut,
            _ if now >= self.since + run.limit => Why::OutOfTime,
            _ => return Ok(()),
        };
        self.cut_at = None;
        self.ending = Some((why, now + GRACE));
        self.namespace.signal(Signal::SIGTERM);
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        // It may have ended; it is not waited for yet, so the id is its own.
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Asks all to end, and gives them a moment.
    fn end_gently(&mut self) {
        self.namespace.signal(Signal::SIGTERM);
        let until = Instant::now() + Duration::from_millis(500);
        while Instant::now() < until && !self.has_ended().unwrap_or(true) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn has_ended(&mut self) -> Result<bool, Error> {
        let status = self.child.try_wait();
        let status = status.map_err(|error| Error::io("wait for", "a stage", error))?;
        Ok(status.is_some())
    }

    /// Waits for the end of an agent that has ended or was killed.
    fn wait(&mut self) -> Result<ExitStatus, Error> {
        let until = Instant::now() + LAST_WAIT;
        loop {
            let status = self.child.try_wait();
            match status.map_err(|error| Error::io("wait for", "a stage", error))? {
                Some(status) => return Ok(status),
                None if Instant::now() > until => {
                    let error = std::io::Error::other("it was killed, and is still there");
                    return Err(Error::io("wait for", "a stage", error));
                }
                None => {
                    let _ = self.child.kill();
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    fn wait_for_input(&self, wait: Duration, cancellation: &Cancellation) -> Result<(), Error> {
        let mut fds: Vec<PollFd<'_>> = self.inputs().map(|fd| input(fd)).collect();
        // All have ended, and the agent does in a moment.
        let wait = match fds.is_empty() {
            true => wait.min(Duration::from_millis(1)),
            false => wait,
        };
        fds.push(input(cancellation.as_fd()));
        wait_for(&mut fds, wait)
    }

    fn inputs(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let streams = [&self.stdout, &self.stderr];
        let streams = streams.into_iter().flatten().map(AsFd::as_fd);
        streams.chain(self.channel.iter().map(AsFd::as_fd))
    }

    /// Reads what the agent has said, as much as is there.
    fn read_available(&mut self, output: &mut Vec<(Stream, Vec<u8>)>) -> Result<(), Error> {
        for (stream, slot) in [
            (Stream::Stdout, &mut self.stdout),
            (Stream::Stderr, &mut self.stderr),
        ] {
            // Bounded: an agent that says more is read again later.
            for _ in 0..64 {
                let Some(fd) = slot else {
                    break;
                };
                let mut fds = [input(fd.as_fd())];
                wait_for(&mut fds, Duration::ZERO)?;
                if !fds.iter().any(|fd| fd.any().unwrap_or_default()) {
                    break;
                }
                let mut buffer = vec![0; 16 * 1024];
                match nix::unistd::read(fd.as_fd(), &mut buffer) {
                    Ok(0) | Err(_) => *slot = None,
                    Ok(len) => {
                        buffer.truncate(len);
                        output.push((stream, buffer));
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads to the end what an agent said that has ended.
    fn read_rest(&mut self, output: &mut Vec<(Stream, Vec<u8>)>) {
        let until = Instant::now() + Duration::from_secs(1);
        while (self.stdout.is_some() || self.stderr.is_some()) && Instant::now() < until {
            if self.read_available(output).is_err() {
                return;
            }
        }
    }

    fn take(
        &mut self,
        stream: Stream,
        bytes: &[u8],
        follower: &mut dyn Follower,
    ) -> Result<(), Error> {
        // Before the first step, stdout has the banner.
        if stream == Stream::Stderr || !self.steps.is_empty() {
            self.said.extend_from_slice(bytes);
        }
        if self.said.len() > 2 * MOST_SAID {
            self.said.drain(..self.said.len() - MOST_SAID);
        }
        follower.said(bytes)
    }

    /// Reads events, and lets the stage go on.
    fn read_channel(
        &mut self,
        run: &Run,
        view: &mut View,
        follower: &mut dyn Follower,
    ) -> Result<(), Error> {
        let Some(channel) = &mut self.channel else {
            return Ok(());
        };
        let mut fds = [input(channel.as_fd())];
        wait_for(&mut fds, Duration::ZERO)?;
        if !fds.iter().any(|fd| fd.any().unwrap_or_default()) {
            return Ok(());
        }
        let mut buffer = [0; 4096];
        match channel.read(&mut buffer) {
            Ok(0) | Err(_) => {
                self.channel = None;
                return Ok(());
            }
            Ok(len) => self.received.extend(buffer.iter().take(len)),
        }
        let Ok(events) = events(&mut self.received) else {
            self.ending = Some((Why::NotTheAgent, Instant::now()));
            self.channel = None;
            return Ok(());
        };
        for event in events {
            // What was said before it happened.
            let mut output = Vec::new();
            self.read_available(&mut output)?;
            for (stream, bytes) in output {
                self.take(stream, &bytes, follower)?;
            }
            self.note(&event);
            follower.event(&event, view)?;
            self.answer(&event, run);
        }
        Ok(())
    }

    /// Keeps what happened.
    fn note(&mut self, event: &Event) {
        let step = |path: &str, outcome| Step {
            path: path.to_owned(),
            outcome,
            code: None,
            seconds: 0.0,
        };
        match event {
            Event::Skips { step: path } => self.steps.push(step(path, StepOutcome::Skipped)),
            Event::Begins { step: path } => {
                self.said.clear();
                self.started += 1;
                // Unless it says otherwise.
                self.steps.push(step(path, StepOutcome::Failed));
            }
            Event::Ended { outcome, code, .. } => {
                self.end_step(*outcome, *code);
            }
        }
    }

    /// Keeps how the step ended that runs.
    fn end_step(&mut self, outcome: StepOutcome, code: Option<i32>) {
        self.cut_at = None;
        let Some(since) = self.step_since.take() else {
            return;
        };
        let outcome = match self.ending {
            _ if outcome == StepOutcome::Succeeded => outcome,
            Some((Why::Cut, _)) => StepOutcome::Cut,
            Some((Why::OutOfTime, _)) => StepOutcome::OutOfTime,
            _ => outcome,
        };
        if let Some(step) = self.steps.last_mut() {
            step.outcome = outcome;
            step.code = code;
            step.seconds = since.elapsed().as_secs_f64();
        }
    }

    /// Lets the stage go on. A step that begins begins now.
    fn answer(&mut self, event: &Event, run: &Run) {
        if let Event::Begins { .. } = event {
            let now = Instant::now();
            self.step_since = Some(now);
            self.cut_at = run
                .cut
                .filter(|cut| self.ending.is_none() && cut.step + 1 == self.started)
                .map(|cut| now + cut.after);
        }
        if let Some(channel) = &mut self.channel {
            // If the agent has ended, that is seen elsewhere.
            let _ = nix::unistd::write(channel.as_fd(), GO_ON);
        }
    }
}

impl Drop for Running {
    /// A stage that could not be followed to its end ends here.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a process ended: its exit code, or `-signum`.
pub(super) fn code(status: ExitStatus) -> i32 {
    let signal = status.signal().map(|signal| -signal);
    status.code().or(signal).unwrap_or(-1)
}

fn input(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(fd, PollFlags::POLLIN)
}

fn wait_for(fds: &mut [PollFd<'_>], wait: Duration) -> Result<(), Error> {
    // A part of a millisecond counts as one, or this would not wait at all.
    let millis = wait.as_micros().div_ceil(1000);
    let millis = u16::try_from(millis).unwrap_or(u16::MAX);
    match poll(fds, PollTimeout::from(millis)) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(Error::io("wait for", "a stage", error)),
    }
}
