//! One run of the agent in the view: it is started, followed, and ended if need be.

use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::channel::{Event, What};
use super::processes::Namespace;
use super::report::{Step, StepOutcome};
use crate::error::Error;
use crate::system::cancel::Cancellation;
use crate::system::sys::seccomp::{self, Arrival};
use crate::view::View;
use last_said::LastSaid;
use notices::Notices;
use streams::{Received, Stream, Streams};
pub(super) use terms::{After, Cut, Ended, Follower, Run, Why};

mod last_said;
mod notices;
mod streams;
mod terms;

/// The time from SIGTERM to SIGKILL, as when a pod is ended.
const GRACE: Duration = Duration::from_secs(3);

/// The time that a killed agent has to be gone.
const LAST_WAIT: Duration = Duration::from_secs(10);

/// The longest time between two looks at the clock.
const TICK: Duration = Duration::from_millis(100);

/// The same while a reboot can be asked for, which is seen by looking.
const SHORT_TICK: Duration = Duration::from_millis(10);

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
    for (stream, bytes) in running.streams.rest()? {
        running.take(stream, &bytes, follower)?;
    }
    // The agent may have been killed in the middle of it.
    running.end_step(StepOutcome::Failed, None);
    Ok(Ended {
        status,
        why: running.ending.map_or(Why::ByItself, |(why, _)| why),
        time: running.since.elapsed(),
        steps: mem::take(&mut running.steps),
        changes: mem::take(&mut running.changes),
        uncounted: running.uncounted.take(),
        said: running.said.take(),
    })
}

/// A stage that runs.
struct Running {
    child: Child,
    namespace: Namespace,
    streams: Streams,
    notices: Notices,
    since: Instant,
    steps: Vec<Step>,
    changes: Vec<u64>,
    uncounted: Option<io::Error>,
    /// The start of the step that runs.
    step_since: Option<Instant>,
    /// How many have started.
    started: usize,
    cut_at: Option<Instant>,
    /// Why it is ended, and when it is killed.
    ending: Option<(Why, Instant)>,
    said: LastSaid,
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
        let arrival = run
            .reports()
            .map(|reports| seccomp::report_before_exec(command.as_std(), reports))
            .transpose()
            .map_err(|error| Error::io("make", "a socket", error))?;
        let since = Instant::now();
        let mut child = command.spawn()?;
        // The command has the other end of the channel, whose end is the stage's.
        drop(command);
        let (listener, uncounted) = match arrival.map(Arrival::listener) {
            Some(Ok(listener)) => (Some(listener), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        let streams = Streams::of(&mut child, ours);
        let streams = streams.map_err(|error| Error::io("follow", "a stage", error));
        let followed = streams.and_then(|streams| Ok((streams, Namespace::of(child.id())?)));
        let (streams, namespace) = followed.inspect_err(|_| {
            let _ = child.kill();
            let _ = child.wait();
        })?;
        Ok(Running {
            streams,
            notices: Notices::of(listener, child.id()),
            child,
            namespace,
            since,
            steps: Vec::new(),
            changes: Vec::new(),
            uncounted,
            step_since: None,
            started: 0,
            cut_at: None,
            ending: None,
            said: LastSaid::default(),
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
            self.streams
                .wait(wait, self.notices.as_fd(), cancellation)?;
            if self.notices.answer()? {
                if self.ending.is_none() {
                    self.end(Why::Cut);
                }
                self.notices.let_go()?;
            }
            self.take_said(follower)?;
            match self.streams.events()? {
                Received::Events(events) => {
                    for event in events {
                        // What was said before it happened.
                        self.take_said(follower)?;
                        self.note(&event);
                        follower.event(&event, view)?;
                        self.answer(&event, run);
                    }
                }
                Received::Nonsense => self.ending = Some((Why::NotTheAgent, Instant::now())),
            }
        }
    }

    /// Ends the stage if its time is over, and kills it if it was told to end.
    fn end_if_due(&mut self, run: &Run, now: Instant) -> Result<(), Error> {
        if let Some((_, kill_at)) = self.ending {
            if now >= kill_at + LAST_WAIT {
                let error = io::Error::other("it was killed, and is still there");
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
        self.end(why);
        Ok(())
    }

    /// Tells all to end, as when a pod is ended.
    fn end(&mut self, why: Why) {
        self.cut_at = None;
        self.ending = Some((why, Instant::now() + GRACE));
        self.namespace.signal(Signal::SIGTERM);
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
            // The agent may wait for an answer.
            if self
                .notices
                .wait_and_answer(Duration::from_millis(10))
                .is_err()
            {
                return;
            }
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
                    let error = io::Error::other("it was killed, and is still there");
                    return Err(Error::io("wait for", "a stage", error));
                }
                None => {
                    let _ = self.child.kill();
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    fn take_said(&mut self, follower: &mut dyn Follower) -> Result<(), Error> {
        for (stream, bytes) in self.streams.said()? {
            self.take(stream, &bytes, follower)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        stream: Stream,
        bytes: &[u8],
        follower: &mut dyn Follower,
    ) -> Result<(), Error> {
        // Before the first step, stdout has the banner.
        if stream == Stream::Stderr || !self.steps.is_empty() {
            self.said.add(stream, bytes);
        }
        follower.said(bytes)
    }

    /// Keeps what happened.
    fn note(&mut self, event: &Event) {
        let step = |path: &str, outcome| Step {
            path: path.to_owned(),
            outcome,
            code: None,
            seconds: 0.0,
        };
        match event.event {
            What::Skips => self.steps.push(step(&event.step, StepOutcome::Skipped)),
            What::Begins => {
                self.said = LastSaid::default();
                self.started += 1;
                // Unless it says otherwise.
                self.steps.push(step(&event.step, StepOutcome::Failed));
            }
            What::Ended => {
                let outcome = event.outcome.unwrap_or(StepOutcome::Failed);
                self.end_step(outcome, event.code);
            }
        }
    }

    /// Keeps how the step ended that runs.
    fn end_step(&mut self, outcome: StepOutcome, code: Option<i32>) {
        self.cut_at = None;
        let Some(since) = self.step_since.take() else {
            return;
        };
        self.changes.push(self.notices.end());
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
        if event.event == What::Begins {
            let now = Instant::now();
            self.step_since = Some(now);
            let cut = run
                .cut
                .filter(|cut| self.ending.is_none() && cut.step + 1 == self.started);
            let (cut_at, cut_after) = match cut.map(|cut| cut.after) {
                Some(After::Time(time)) => (Some(now + time), None),
                Some(After::Changes(changes)) => (None, Some(changes)),
                None => (None, None),
            };
            self.cut_at = cut_at;
            self.notices.begin(cut_after);
        }
        self.streams.answer();
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
